"""`connect`, `send`, `recv`, `close`, `is_connected` of the `uwsgi` module: compat §1.4.

On descriptors of the app's own they are plain system calls. The client's socket is the engine's: nothing raw gets onto
it, and what an app tries with its descriptor must neither harm the stream nor the waiting for it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import get
from support.raw_client import TEXT, Frame, RawClient, frame
from support.runners import every_read_path, every_runner, named
from support.server import TIMEOUT_S, Server

NONE = {"type": "NoneType", "value": "None"}
TRUE = {"type": "bool", "value": "True"}
FALSE = {"type": "bool", "value": "False"}


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("uwsgi_descriptors.py", "--socket-timeout", "30")


@pytest.fixture
def ask(server: Server, token: str) -> Callable[..., dict[str, Any]]:
    """What the page of that name notes for a plain request."""

    def ask(name: str, query: str = "") -> dict[str, Any]:
        get(server, f"/{name}?{token}{'&' if query else ''}{query}")
        return server.note(token)

    return ask


@pytest.fixture(params=["tcp", "unix", "abstract"])
def peer(request: pytest.FixtureRequest, tmp_path: Path, token: str) -> Iterator[str]:
    """The address of a server that answers "ping" with "pong" and 10 000 bytes, and ends."""
    if request.param == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    else:
        name = str(tmp_path / "peer") if request.param == "unix" else f"@fairlead-test-{id(tmp_path)}-{token}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name.replace("@", "\0"))
        listener.listen()
        address = name
    listener.settimeout(TIMEOUT_S)

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(TIMEOUT_S)
            assert connection.recv(4, socket.MSG_WAITALL) == b"ping"
            connection.sendall(b"pong")
            assert connection.recv(1) == b"!"  # the app has read "pong"
            connection.sendall(b"x" * 10_000)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield address
    listener.close()
    thread.join(TIMEOUT_S)


def test_row_1_4_connect_send_recv_and_close_are_plain_calls_on_a_descriptor(
    ask: Callable[..., Any], peer: str
) -> None:
    found = ask("talks", peer)
    assert (found["fd"], found["blocks"]) == ("int", True)
    assert found["connected"] == TRUE
    assert found["sent"] == TRUE
    assert found["some"] == {"type": "bytes", "value": "b'po'"}
    assert found["rest"] == {"type": "bytes", "value": "b'ng'"}
    assert 0 < found["large"] <= 4096
    assert found["end"] == NONE
    assert found["closed"] == NONE
    # On a closed descriptor:
    assert found["connected_after"] == FALSE
    assert found["send_after"] == found["recv_after"] == found["close_after"] == NONE


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:1", "127.0.0.1:http", "127.0.0.1:99999", "/nowhere/at/all.sock", "@fairlead-nobody-listens", "..:1"],
)
def test_row_1_4_connect_returns_minus_one_when_it_fails(ask: Callable[..., Any], address: str) -> None:
    assert ask("connects", address)["found"] == {"type": "int", "value": "-1"}


def test_row_1_4_connect_knows_ipv6_and_an_empty_host(ask: Callable[..., Any]) -> None:
    with socket.create_server(("", 0)) as listener:
        assert ask("connects", f":{listener.getsockname()[1]}")["found"]["value"] == "a descriptor"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        assert ask("connects", f"[::1]:{port}")["found"]["value"] == "a descriptor"


WRONG = {
    "connect_bytes": ("TypeError", "connect() argument 1 must be str, not bytes"),
    "connect_nul": ("ValueError", "embedded null character"),
    "connect_surrogate": ("UnicodeEncodeError", None),
    "connect_float": ("TypeError", "'float' object cannot be interpreted as an integer"),
    "connect_keyword": ("TypeError", None),
    "connect_none": ("TypeError", None),
    "send_str": ("TypeError", None),
    "send_array": ("TypeError", None),
    "send_alone_str": ("TypeError", None),
    "send_fd": ("TypeError", None),
    "send_none": ("TypeError", None),
    "recv_float": ("TypeError", None),
    "recv_none": ("TypeError", None),
    "recv_large": ("OverflowError", "signed integer is greater than maximum"),
    "close_str": ("TypeError", None),
    "is_connected_float": ("TypeError", None),
    "disconnect_argument": ("TypeError", None),
}


def test_row_1_2_wrong_arguments_are_the_errors_of_cpythons_parser(ask: Callable[..., Any]) -> None:
    found = ask("wrong_arguments")
    for name, (raised, text) in WRONG.items():
        assert found[name].get("raised") == raised, (name, found[name])
        assert text is None or found[name]["text"] == text, (name, found[name])
    assert found["is_connected_pipe"] == FALSE
    assert found["recv_zero"] == found["recv_negative"] == NONE


def test_row_1_4_send_writes_all_or_says_that_there_was_no_room(ask: Callable[..., Any]) -> None:
    assert ask("does_not_block") == {"more_than_fits": TRUE, "full": NONE}


@every_runner
def test_row_1_2_recv_lets_go_of_the_interpreter_while_it_waits(ask: Callable[..., Any]) -> None:
    assert ask("waits_in_a_thread") == {"found": "[b'at last']"}


# -- the client's descriptor


@every_read_path
def test_row_1_4_raw_send_and_recv_on_the_clients_socket_return_none_and_say_why(server: Server, token: str) -> None:
    since = server.mark()
    answer = get(server, f"/raw_on_the_client?{token}")
    assert (answer.status, answer.body) == (200, b".")
    found = server.note(token)
    assert found["send"] == found["send_fd"] == found["recv"] == NONE
    assert found["connected"] == TRUE
    server.wait_for_line(rf"warning: .*{token}.*uwsgi\.send\(\) cannot use the client's socket", since)
    server.wait_for_line(rf"warning: .*{token}.*uwsgi\.recv\(\) cannot use the client's socket", since)


@every_runner
def test_row_1_4_nothing_raw_gets_into_a_websocket_and_close_of_its_descriptor_is_disconnect(
    server: Server, upgrade: Callable[..., RawClient], token: str
) -> None:
    client = upgrade(server, f"/raw_on_a_websocket?{token}")
    client.send_text("still framed")
    assert client.read_frame() == Frame(TEXT, b"still framed")
    client.send_text("now close")
    assert client.read_rest() == b""
    found = server.note(token)
    assert found["send"] == found["send_fd"] == found["recv"] == found["close"] == NONE
    assert (found["connected"], found["connected_after"]) == (TRUE, FALSE)
    assert found["after"]["text"] == "unable to receive websocket message"


@every_runner
def test_row_1_4_close_of_a_plain_requests_descriptor_cuts_it(server: Server, token: str) -> None:
    with pytest.raises((EOFError, ConnectionResetError)):
        get(server, f"/closes_the_client?{token}")
    found = server.note(token)
    assert (found["close"], found["after"]) == (NONE, FALSE)


@every_runner
@pytest.mark.parametrize(
    ("how", "connected"),
    [(RawClient.abort, FALSE), (RawClient.send_close, TRUE)],
    ids=["reset", "orderly close"],
)
def test_row_1_4_is_connected_notices_a_reset_but_no_orderly_close(
    server: Server,
    upgrade: Callable[..., RawClient],
    token: str,
    how: Callable[[RawClient], None],
    connected: dict[str, str],
) -> None:
    client = upgrade(server, f"/is_connected_at_the_end?{token}")
    assert client.read_data() == Frame(TEXT, b"go")
    how(client)
    found = server.note(token)
    assert found["connected"] == connected
    assert found["recv"]["text"] == "unable to receive websocket message"


#: Generators suspend by `yield`, which is a wait for the same.
GREEN = named("greenlets", "threads", "asyncio", "gevent")

ORDERS = {
    "each message is shown until it is taken": ("ssurpru", "s1 s1 u1 r1 p1 r0 u0"),
    "beside another descriptor": ("orrwou", "o1 r1 r0 w0 o0 u0"),
    "messages that come later": ("srrnsusrnor", "s1 r1 r0 n0 s1 u1 s1 r0 n0 o1 r0"),
    "the own close": ("srcurru", "s1 r1 c1 u1 r1 r!1 u1"),
}


@pytest.mark.parametrize("runner", GREEN, indirect=True, ids=lambda runner: runner.name)
@pytest.mark.parametrize("order", ORDERS)
def test_row_1_4_the_descriptor_is_readable_exactly_while_there_is_something_in_every_order_of_calls(
    server: Server, token: str, order: str
) -> None:
    steps, found = ORDERS[order]
    both = frame(TEXT, b"one") + frame(TEXT, b"two")
    with RawClient.upgrade(server, f"/in_every_order?{token}&{steps}", behind=both) as client:
        for _ in range(steps.count("n")):
            while client.read_data() != Frame(TEXT, b"next"):
                pass
            client.send_text("more")
        assert " ".join(server.note(token)["found"]) == found
