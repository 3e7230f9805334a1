"""The WebSocket calls of the `uwsgi` module, row by row of compat §1.2, §1.3, §2.5 and §9.

What an app sees (bytes, texts, `errno is None`) is uWSGI's; what the wire sees is RFC 6455, and where the two
part (§2.5) the tests name the row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from end_to_end.http_wire import get
from support import uwsgi_client
from support.raw_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    RawClient,
    accept_value,
    close_payload,
    frame,
    handshake_request,
)
from support.runners import every_read_path, every_runner
from support.server import Server

HANDSHAKE = "unable to complete websocket handshake"
RECV = "unable to receive websocket message"
SEND = "unable to send websocket message"
SEND_BINARY = "unable to send websocket binary message"
NO_REQUEST = "you can call uwsgi api function only from the main callable"
NONE = {"type": "NoneType", "value": "None"}


def is_oserror(found: dict[str, Any], text: str) -> bool:
    """Built with one string: `errno is None`, and `str(e)` is the text."""
    assert found == {"raised": "OSError", "text": text, "is_oserror": True, "errno": None}
    return True


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("uwsgi_rows.py")


@pytest.fixture
def open_page(server: Server, upgrade: Callable[..., RawClient], token: str) -> Callable[..., RawClient]:
    return lambda name, **how: upgrade(server, f"/{name}?{token}", **how)


# -- §1.3, websocket_handshake; §9, row 2


@pytest.mark.parametrize("name", ["handshake_0", "handshake_1", "handshake_2"])
def test_row_1_3_handshake_takes_0_to_2_arguments_of_str_or_bytes(
    server: Server, open_page: Callable[..., RawClient], token: str, name: str
) -> None:
    """compat §9, row 2."""
    client = open_page(name)
    assert server.note(token)["result"] == NONE
    client.close_in_order()


@pytest.mark.parametrize("name", ["handshake_3", "handshake_bytes_proto"])
def test_row_1_3_the_third_argument_is_the_subprotocol(open_page: Callable[..., RawClient], name: str) -> None:
    """compat §9, row 2."""
    client = open_page(name, headers=[("Sec-WebSocket-Protocol", "chat.v0, chat.v1")])
    assert client.response.header("Sec-WebSocket-Protocol") == "chat.v1"


def test_row_2_5_14_a_subprotocol_that_was_not_offered_is_not_sent(
    open_page: Callable[..., RawClient],
) -> None:
    client = open_page("handshake_unoffered_proto", headers=[("Sec-WebSocket-Protocol", "chat.v0, chat.v1")])
    assert client.response.header("Sec-WebSocket-Protocol") is None


def test_row_2_5_14_without_proto_the_first_offer_is_taken(open_page: Callable[..., RawClient]) -> None:
    client = open_page("handshake_0", headers=[("Sec-WebSocket-Protocol", "chat.v0, chat.v1")])
    assert client.response.header("Sec-WebSocket-Protocol") == "chat.v0"


def test_row_1_3_handshake_refuses_other_arguments(server: Server, token: str) -> None:
    """compat §9, row 2."""
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, f"/handshake_wrong?{token}"))
        client.read_response()
    assert {name: found["raised"] for name, found in server.note(token).items()} == dict.fromkeys(
        ["none", "origin", "number", "four", "keyword"], "TypeError"
    )


@every_read_path
def test_row_1_3_a_second_handshake_is_an_error(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    """compat §9, row 7."""
    client = open_page("handshake_twice")
    assert client.read_data() == Frame(TEXT, b"first still works")
    assert is_oserror(server.note(token)["second"], HANDSHAKE)


def test_row_1_3_a_handshake_throws_an_unsent_status_away(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("handshake_after_start")
    assert client.response.header("X-Thrown-Away") is None
    assert "raised" not in server.note(token)["late"], "uWSGI raises here; a framework could not end its view"


def test_row_1_3_a_handshake_after_the_headers_is_an_error(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, f"/handshake_after_body?{token}"))
        assert client.read_response().status == 200
        assert client.read_exactly(4) == b"body"
    assert is_oserror(server.note(token)["result"], HANDSHAKE)


BROKEN: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "no key": ({"without": ["Sec-WebSocket-Key"]}, (400,)),
    "bad key": ({"key": "short"}, (400,)),
    "version 8": ({"replace": {"Sec-WebSocket-Version": "8"}}, (426,)),
    "no version": ({"without": ["Sec-WebSocket-Version"]}, (426,)),
    "no upgrade": ({"without": ["Upgrade"]}, (400, 426)),
    "no connection": ({"without": ["Connection"]}, (400, 426)),
    "post": ({"method": "POST"}, (400, 405)),
    "http 1.0": ({"version": "HTTP/1.0"}, (400, 426, 505)),
    "foreign origin": ({"headers": [("Origin", "http://evil.example")]}, (403,)),
}


@pytest.mark.parametrize("why", BROKEN)
@pytest.mark.parametrize("page", ["handshake_refused", "handshake_refused_none", "handshake_refused_raises"])
def test_row_2_5_13_a_broken_handshake_raises_and_is_answered_for_the_app(
    server: Server, token: str, page: str, why: str
) -> None:
    how, statuses = BROKEN[why]
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, f"/{page}?{token}", **how))
        response = client.read_response()
    assert response.status in statuses
    if response.status == 426:
        assert response.header("Sec-WebSocket-Version") == "13"
    assert response.version == "HTTP/1.1" or how.get("version") == "HTTP/1.0"
    if page != "handshake_refused_raises":
        assert is_oserror(server.note(token)["result"], HANDSHAKE)


def test_row_2_5_13_an_apps_own_answer_goes_before_the_refusal(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, f"/handshake_refused_answers?{token}", key="short"))
        assert client.read_response().status == 418


def test_row_2_5_15_the_response_is_the_rfcs(open_page: Callable[..., RawClient], server: Server) -> None:
    response = open_page("handshake_0", headers=[("Origin", f"http://{server.host_header}")]).response
    assert (response.version, response.reason) == ("HTTP/1.1", "Switching Protocols")
    assert response.header("Upgrade") == "websocket"
    assert response.header("Sec-WebSocket-Origin") is None


def test_row_1_3_the_key_argument_replaces_the_clients(server: Server, token: str) -> None:
    key = "AQIDBAUGBwgJCgsMDQ4PEA=="
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, f"/handshake_1?{token}", key=key))
        assert client.read_response().header("Sec-WebSocket-Accept") == accept_value(key)


# -- §1.3, recv and send


@pytest.mark.parametrize("payload", [b"", b"x", b"y" * 125, b"y" * 126, b"z" * 65535, b"z" * 65536])
def test_row_9_1_the_seeds_echo_echoes_every_size(open_page: Callable[..., RawClient], payload: bytes) -> None:
    """compat §9, row 1."""
    client = open_page("echo")
    client.send_text(payload)
    assert client.read_data() == Frame(TEXT, payload)


@every_runner
def test_row_1_3_recv_returns_bytes_for_text_and_binary(open_page: Callable[..., RawClient]) -> None:
    client = open_page("types")
    client.send_text("é")
    assert client.read_data().payload == rb"bytes b'\xc3\xa9'"
    client.send(BINARY, b"\x00\xff")
    assert client.read_data().payload == rb"bytes b'\x00\xff'"
    client.send_text("")
    assert client.read_data().payload == b"bytes b''"


@every_runner
def test_row_1_3_recv_nb_never_waits_and_returns_empty_bytes_for_nothing(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("recv_nb")
    assert client.read_data() == Frame(TEXT, b"go")
    client.send_text("first")
    client.send_text("")
    nothing = {"type": "bytes", "value": "b''"}
    assert server.note(token) == {"nothing": nothing, "first": "b'first'", "empty": "b''", "again": nothing}


@every_read_path
def test_row_1_3_send_makes_text_and_send_binary_binary_of_str_and_bytes(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("sends")
    assert [client.read_data() for _ in range(7)] == [
        Frame(TEXT, "text é".encode()),
        Frame(TEXT, b"bytes"),
        Frame(TEXT, b""),
        Frame(BINARY, b"\x00\xff"),
        Frame(BINARY, "text é".encode()),
        Frame(TEXT, b"array"),
        Frame(BINARY, b"view"),
    ]
    assert server.note(token)["results"] == [NONE] * 7


def test_row_1_2_other_arguments_are_type_errors_and_leave_the_connection_usable(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("sends_wrong")
    assert client.read_data() == Frame(TEXT, b"still usable")
    found = server.note(token)
    for name in ("none", "number", "binary_none", "nothing"):
        assert found[name]["raised"] == "TypeError", name
    assert found["surrogate"]["raised"] == "UnicodeEncodeError"
    # §2.5, row 17: not UnicodeDecodeError
    assert is_oserror(found["not_utf8"], SEND)


def test_row_2_5_17_text_lenient_sends_what_is_no_text_as_binary(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    server = serve("uwsgi_rows.py", "--websocket-text-lenient")
    client = upgrade(server, f"/sends_not_utf8?{token}")
    assert client.read_data() == Frame(BINARY, b"\xff\xfe")
    assert server.note(token)["result"] == NONE
    client.close_in_order()
    client = upgrade(server, f"/echo?{token}")
    client.send(BINARY, b"text")
    assert client.read_data() == Frame(TEXT, b"text")


@every_runner  # generators have a `websocket_recv` of their own
def test_row_1_3_before_the_handshake_every_call_is_an_error_and_the_handshake_still_works(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    """compat §9, row 7."""
    client = open_page("before_handshake")
    assert client.read_data() == Frame(TEXT, b"works after all")
    found = server.note(token)
    assert is_oserror(found["recv"], RECV) and is_oserror(found["recv_nb"], RECV)
    assert is_oserror(found["send"], SEND) and is_oserror(found["send_binary"], SEND_BINARY)


ENDS: dict[str, tuple[bytes | None, int | None]] = {
    "close": (frame(CLOSE, close_payload(1000)), 1000),
    "empty close": (frame(CLOSE), None),
    "bad close code": (frame(CLOSE, close_payload(1005)), 1002),
    "eof": (None, None),
    "1 unmasked": (frame(TEXT, b"x", mask=None), 1002),
    "2 reserved bits": (frame(TEXT, b"x", rsv=4), 1002),
    "3 reserved opcode": (frame(3, b"x"), 1002),
    "4 long control frame": (frame(PING, b"x" * 126), 1002),
    "4 fragmented control frame": (frame(PING, b"x", fin=False), 1002),
    "7 not utf-8": (frame(TEXT, b"\xff"), 1007),
    "9 new message inside a fragmented one": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "10 length not minimal": (frame(TEXT, b"x", form=64), 1002),
    "10 top bit of the length": (frame(TEXT, b"", form=64, length=1 << 63), 1002),
    "11 frame too large": (frame(TEXT, b"", length=2**20 + 1), 1009),
}


@every_read_path
@pytest.mark.parametrize("why", ENDS)
def test_rows_1_3_and_2_5_after_the_end_every_call_raises_its_own_text(
    server: Server, open_page: Callable[..., RawClient], token: str, why: str
) -> None:
    """compat §9, row 7."""
    data, code = ENDS[why]
    client = open_page("after_end")
    if data is None:
        client.close()
    else:
        client.send_bytes(data)
        assert client.read_close()[0] == code
        client.read_end()
    found = server.note(token)
    assert is_oserror(found["first"], RECV)
    assert is_oserror(found["recv"], RECV) and is_oserror(found["recv_nb"], RECV)
    assert is_oserror(found["send"], SEND) and is_oserror(found["send_binary"], SEND_BINARY)
    assert is_oserror(found["handshake"], HANDSHAKE)


def test_row_2_5_5_a_pings_payload_is_echoed(open_page: Callable[..., RawClient]) -> None:
    client = open_page("echo")
    client.send(PING, b"payload")
    assert client.read_frame() == Frame(PONG, b"payload")


@every_read_path
def test_rows_2_5_8_and_9_6_fragments_of_two_connections_never_mix(
    server: Server, upgrade: Callable[..., RawClient]
) -> None:
    """compat §9, row 6."""
    one, two = upgrade(server, "/types"), upgrade(server, "/types")
    one.send(TEXT, b"one-", fin=False)
    two.send(TEXT, b"two-", fin=False)
    one.send(CONTINUATION, b"one-", fin=False)
    one.send(PING, b"between")
    two.send(CONTINUATION, b"two")
    one.send(CONTINUATION, b"one")
    # Whole messages once; never uWSGI's stray b"\0" for a fragment.
    assert two.read_data().payload == b"bytes b'two-two'"
    assert one.read_data().payload == b"bytes b'one-one-one'"


@every_runner
@pytest.mark.parametrize("name", ["returns_list", "returns_str", "returns_bytes", "returns_none", "returns_generator"])
def test_rows_1_7_and_9_9_whatever_is_returned_the_wire_sees_a_close_1000_only(
    open_page: Callable[..., RawClient], name: str
) -> None:
    """compat §9, row 9."""
    client = open_page(name)
    assert client.read_frame() == Frame(CLOSE, close_payload(1000))
    client.send_close(1000)
    assert client.read_rest() == b""


@every_runner
def test_row_9_9_a_generator_app_may_shake_hands_inside(open_page: Callable[..., RawClient]) -> None:
    """compat §9, row 9."""
    client = open_page("is_generator")
    assert client.read_frame() == Frame(TEXT, b"inside")
    assert client.read_frame() == Frame(CLOSE, close_payload(1000))


# -- §1.2 and §1.3, request_context


@every_runner
def test_row_1_3_request_context_names_a_request(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("context")
    assert client.read_data() == Frame(TEXT, b"by keyword")
    assert client.read_data() == Frame(BINARY, b"by keyword")
    client.send_text("round trip")
    assert client.read_data() == Frame(TEXT, b"round trip")
    found = server.note(token)
    assert found["kind"] == ["uwsgi", "RequestContext"]
    for name in ("none", "text", "send_none"):
        assert (found[name]["raised"], found[name]["text"]) == ("TypeError", "Invalid argument!")
    assert found["nb"] == {"type": "bytes", "value": "b''"}


@every_runner
def test_row_1_2_a_thread_of_the_app_finds_its_request_and_one_of_a_pool_needs_the_context(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("context_in_thread")
    assert client.read_data() == Frame(TEXT, b"from a thread")
    assert client.read_data() == Frame(TEXT, b"from a pool")
    found = server.note(token)
    assert [found["thread"]["nb"], found["thread"]["fd"]] == ["bytes", "int"]
    for name, outcome in found["pool"].items():
        assert (outcome["raised"], outcome["text"]) == ("SystemError", NO_REQUEST), name


def test_row_1_2_a_greenlet_of_the_app_finds_its_request(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("context_in_greenlet")
    assert client.read_data() == Frame(TEXT, b"x")
    assert client.read_data() == Frame(TEXT, b"from a greenlet")
    found = server.note(token)
    assert {name: outcome["type"] for name, outcome in found.items()} == {
        "without": "NoneType", "nb": "bytes", "context": "RequestContext", "logvar": "NoneType",
    }  # fmt: skip


def test_row_1_3_a_stale_context_gives_the_usual_texts(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    """compat §9, row 7."""
    open_page("context_kept").read_close()
    get(server, f"/context_stale?{token}-stale")
    found = server.note(f"{token}-stale")
    assert is_oserror(found["recv"], RECV) and is_oserror(found["recv_nb"], RECV)
    assert is_oserror(found["send"], SEND) and is_oserror(found["send_binary"], SEND_BINARY)


@pytest.mark.parametrize("listen", ["--http", "--http-socket"])
@pytest.mark.parametrize("flags", [(), ("--http-websockets",), ("--http-raw-body",)])
def test_row_9_1_the_echo_runs_on_every_kind_of_listener_and_flag(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient], listen: str, flags: tuple[str, ...]
) -> None:
    """compat §9, row 1."""
    server = serve("uwsgi_rows.py", *flags, listen=(listen, "127.0.0.1:0"))
    client = upgrade(server, "/echo")
    client.send_text("hello")
    assert client.read_data() == Frame(TEXT, b"hello")
    client.close_in_order()


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("listen", ["--socket", "--uwsgi-socket"])
def test_row_9_1_the_echo_runs_behind_a_uwsgi_client(serve: Callable[..., Server], listen: str, size: int) -> None:
    """compat §9, row 1."""
    server = serve("uwsgi_rows.py", listen=(listen, "127.0.0.1:0"))
    with uwsgi_client.upgrade(server, "/echo") as client:
        client.send_text(b"x" * size)
        assert client.read_data() == Frame(TEXT, b"x" * size)
        client.close_in_order()
