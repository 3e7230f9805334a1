"""The public API, docs/reference/api.md, given values that it was not made for: the table of what each call raises.

Every error says what is wrong, with the value, and what to do; none is one of the language's that only tells how the
call is written inside. `UnicodeEncodeError` and `UnsupportedOperation` are kinds of ValueError and OSError.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import get
from fairlead.channels import connect
from support.raw_client import RawClient
from support.runners import named
from support.server import Server

NOTHING = ("", "None")
CODES = r"is not a close code that may be sent (RFC 6455 §7.4); use 1000, 1001, 1008, 1011 or 3000-4999"
EMPTY = "a channel's name is not empty"
NAME = "the name of a channel has 1 to 255 bytes of UTF-8"
NO_REQUEST = (
    "the environ has no 'fairlead.request', so it is not of a request that Fairlead serves; pass the one that the "
    "application was called with, or a copy of it"
)
MADE_FROM = "a WebSocket is made from the environ that the application was called with, not from "
SUBPROTOCOLS = "subprotocols are a list of str, such as ['chat'], not "
SECONDS = " is not a number of seconds; give 0 or more"
CLOSED = "this side closed the connection (code 4000, reason 'done')"

#: Row, call: what it raises and its text, or a part of that after an ellipsis; ("", value) for what is fine.
TABLE = {
    "handshakes": {
        "an_empty_environ": ("ValueError", NO_REQUEST),
        "none": ("TypeError", MADE_FROM + "NoneType"),
        "a_list": ("TypeError", MADE_FROM + "list"),
        "an_environ_of_another_server": ("ValueError", NO_REQUEST),
        "a_wrong_request": ("TypeError", MADE_FROM + "str"),
        "subprotocols_str": ("TypeError", SUBPROTOCOLS + "'chat'"),
        "subprotocols_bytes": ("TypeError", SUBPROTOCOLS + "b'chat'"),
        "subprotocols_of_numbers": ("TypeError", SUBPROTOCOLS + "[1]"),
        "subprotocols_a_number": ("TypeError", SUBPROTOCOLS + "1"),
        "async_an_empty_environ": ("ValueError", NO_REQUEST),
        "async_without_asyncio": (
            "RuntimeError",
            "async_websocket needs an asyncio loop; start Fairlead with --asyncio N",
        ),
        "a_plain_request_again": ("HandshakeRefused", "…Upgrade"),
    },
    "sessions": {
        "a_second_handshake": (
            "RuntimeError",
            "a response or a handshake was sent before; one is possible",
        ),
        "close_99999": ("ValueError", f"99999 {CODES}"),
        "close_70000": ("ValueError", f"70000 {CODES}"),
        "close_negative": ("ValueError", f"-1 {CODES}"),
        "close_huge": ("ValueError", f"{2**70} {CODES}"),
        "close_1005": ("ValueError", f"1005 {CODES}"),
        "close_str": ("TypeError", "…'str' object"),
        "close_float": ("TypeError", "…'float' object"),
        "close_none": ("TypeError", "…'NoneType' object"),
        "close_reason_bytes": ("TypeError", "'bytes' object is not an instance of 'str'"),
        "close_reason_none": ("TypeError", "'None' is not an instance of 'str'"),
        "close_reason_surrogate": ("UnicodeEncodeError", "…surrogates not allowed"),
        "send_none": ("TypeError", "a message is str or bytes-like, not NoneType"),
        "send_number": ("TypeError", "a message is str or bytes-like, not int"),
        "send_list": ("TypeError", "a message is str or bytes-like, not list"),
        "send_surrogate": ("UnicodeEncodeError", "…surrogates not allowed"),
        "ping_long": ("ValueError", "a ping carries at most 125 bytes, not 126"),
        "ping_str": ("TypeError", "'str' object is not an instance of 'bytes'"),
        "receive_negative": ("ValueError", f"-1{SECONDS}"),
        "receive_nan": ("ValueError", f"NaN{SECONDS}"),
        "receive_str": ("TypeError", "must be real number, not str"),
        "join_empty": ("ValueError", EMPTY),
        "join_number": ("TypeError", "'int' object is not an instance of 'str'"),
        "join_long": ("ValueError", "a channel's name has at most 255 bytes of UTF-8; this one has 256"),
        "join_control": ("ValueError", "…control character"),
        "join_since_str": ("TypeError", "'str' object cannot be interpreted as an integer"),
        "join_since_float": ("TypeError", "'float' object cannot be interpreted as an integer"),
        "join_slow_consumer": (
            "ValueError",
            'slow_consumer is "close", "drop-newest" or "drop-oldest", not "wait"',
        ),
        "leave_number": ("TypeError", "'int' object is not an instance of 'str'"),
    },
    "after_the_own_close": {
        "send": ("ConnectionClosed", CLOSED),
        "ping": ("ConnectionClosed", CLOSED),
        "join": ("ConnectionClosed", CLOSED),
        "receive": ("ConnectionClosed", CLOSED),
        "close_again": NOTHING,
        "close_again_99999": ("ValueError", f"99999 {CODES}"),
        "leave": ("", "False"),
    },
    "in_channels": {
        "publish_empty_name": ("ValueError", EMPTY),
        "publish_number": ("TypeError", "'int' object is not an instance of 'str'"),
        "publish_none": ("TypeError", "a message is str or bytes-like, not NoneType"),
        "publish_surrogate": ("UnicodeEncodeError", "…surrogates not allowed"),
        "publish_surrogate_name": ("UnicodeEncodeError", "…surrogates not allowed"),
        "publish_too_long": ("ValueError", "…1048577 bytes"),
        "history_negative_limit": ("ValueError", "limit is -1, and it must be 0 or more"),
        "history_str_limit": ("TypeError", "…'str' object"),
        "history_float_limit": ("TypeError", "…'float' object"),
        "history_huge_limit": ("", "[]"),
        "history_str_since": ("TypeError", "'str' object cannot be interpreted as an integer"),
        "history_empty_name": ("ValueError", EMPTY),
        "members_number": ("TypeError", "'int' object is not an instance of 'str'"),
        "members_empty_name": ("ValueError", EMPTY),
        "subscribe_no_limit": ("ValueError", "limit is 0, and it must be 1 or more"),
        "subscribe_negative_limit": ("ValueError", "limit is -1, and it must be 1 or more"),
        "subscribe_str_limit": ("TypeError", "…'str' object"),
        "subscribe_drops": ("ValueError", 'drops is "newest" or "oldest", not "all"'),
        "subscribe_empty_name": ("ValueError", EMPTY),
        "subscription_receive_negative": ("ValueError", f"-1{SECONDS}"),
        "subscription_receive_str": ("TypeError", "must be real number, not str"),
        "closed_receive": ("RuntimeError", "the subscription is closed"),
    },
    "files": {
        "none": ("TypeError", "a file is a path, an open file or a descriptor, not NoneType"),
        "number": ("TypeError", "a file is a path, an open file or a descriptor, not float"),
        "in_memory": ("OSError", "BytesIO is a file without a descriptor; read it and send what you read"),
        "pipe": ("OSError", "…is not a regular file; read it and send what you read"),
        "str_position": ("TypeError", "position is a number of bytes, not str"),
        "float_size": ("TypeError", "size is a number of bytes, not float"),
        "negative_position": ("ValueError", "None bytes from -1 are no part of a file; give 0 or more of both"),
        "negative_size": ("ValueError", "-1 bytes from 0 are no part of a file; give 0 or more of both"),
        "missing": ("FileNotFoundError", "…/nowhere/at/all"),
        "nul": ("ValueError", "…null byte"),
    },
    "coroutines": {
        "send_number": ("TypeError", "a message is str or bytes-like, not int"),
        "send_surrogate": ("UnicodeEncodeError", "…surrogates not allowed"),
        "receive_negative": ("ValueError", f"-1{SECONDS}"),
        "receive_str": ("TypeError", "must be real number, not str"),
        "close_70000": ("ValueError", f"70000 {CODES}"),
        "ping_long": ("ValueError", "a ping carries at most 125 bytes, not 126"),
        "join_empty": ("ValueError", EMPTY),
        "a_second_handshake": ("RuntimeError", "a response or a handshake was sent before; one is possible"),
        "subprotocols_str": ("TypeError", SUBPROTOCOLS + "'chat'"),
        "closes": NOTHING,
        "send_after_the_own_close": ("ConnectionClosed", CLOSED),
        "receive_after_the_own_close": ("ConnectionClosed", CLOSED),
        "ping_after_the_own_close": ("ConnectionClosed", CLOSED),
    },
    "over": {
        "a_request_that_is_over": (
            "RuntimeError",
            "the request is over; complete the handshake while the application runs for it",
        ),
        "no_request": (
            "LookupError",
            "no request is being served here; call this from the application while it runs",
        ),
    },
}


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve("odd_values.py")


def differences(found: dict[str, Any], expected: dict[str, tuple[str, str]]) -> list[str]:
    """The calls of a row that did something else."""
    wrong = [f"{name}: not tried" for name in expected.keys() ^ found.keys()]
    for name in expected.keys() & found.keys():
        raised, text = expected[name]
        is_raised = found[name].get("raised", "")
        said = found[name].get("text", found[name].get("value"))
        is_right = text[1:] in said if text.startswith("…") else text == said
        if is_raised != raised or not is_right:
            wrong.append(f"{name}: {is_raised or 'nothing raised'}: {said}")
    return wrong


@pytest.mark.parametrize("row", ["handshakes", "in_channels", "files"])
def test_odd_values_of_a_plain_request_are_named(server: Server, token: str, row: str) -> None:
    assert get(server, f"/{row}?{token}").status == 200
    assert differences(server.note(token), TABLE[row]) == []


@pytest.mark.parametrize("row", ["sessions", "after_the_own_close"])
def test_odd_values_of_a_websocket_are_named(
    server: Server, upgrade: Callable[..., RawClient], token: str, row: str
) -> None:
    client = upgrade(server, f"/{row}?{token}")
    assert differences(server.note(token), TABLE[row]) == []
    assert client.read_close()[0] == (1000 if row == "sessions" else 4000), "it was usable to its end"


def test_a_request_that_is_over_is_named(server: Server, token: str) -> None:
    get(server, "/keeps")
    get(server, f"/over?{token}")
    assert differences(server.note(token), TABLE["over"]) == []


@pytest.mark.parametrize("runner", named("asyncio"), indirect=True, ids=lambda runner: runner.name)
def test_odd_values_in_a_coroutine_are_named(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    upgrade(serve("odd_values.py"), f"/coroutines?{token}").read_close()
    assert differences(serve("odd_values.py").note(token), TABLE["coroutines"]) == []


@pytest.mark.parametrize(
    ("raised", "text", "call"),
    [
        (ValueError, NAME, lambda remote: remote.publish("", "x")),
        (TypeError, "the name of a channel is str, not int", lambda remote: remote.publish(7, "x")),
        (TypeError, "not NoneType", lambda remote: remote.publish("odd", None)),
        (ValueError, "limit is -1, and it must be 0 or more", lambda remote: remote.history("odd", limit=-1)),
        (TypeError, "limit is a number of messages, not str", lambda remote: remote.history("odd", limit="1")),
        (TypeError, "an offset is a whole number, not str", lambda remote: remote.history("odd", since="1")),
        (TypeError, "an offset is a whole number, not float", lambda remote: remote.subscribe("odd", since=1.5)),
        (TypeError, "the name of a channel is str, not NoneType", lambda remote: remote.members(None)),
        (
            ValueError,
            "-1 is not a number of seconds; give 0 or more",
            lambda remote: remote.subscribe("odd").receive(-1),
        ),
        (TypeError, "is a number of seconds, not str", lambda remote: remote.subscribe("odd").receive("1")),
    ],
)
def test_odd_values_from_outside_are_named(
    serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory, socket_folder: str,
    raised: type[Exception], text: str, call: Callable[[Any], object],
) -> None:  # fmt: skip
    path = str(Path(socket_folder) / "odd")
    serve("odd_values.py", "--channels-socket", path)
    with connect(path) as remote, pytest.raises(raised) as caught:
        call(remote)
    assert text in str(caught.value)
