"""WebSockets end to end with a real client (the `websockets` library) and both APIs: echo, types,
subprotocols, many at once.

The conformance tests hold the wire to the RFC; here whole programs talk to each other, as users will run
them.
"""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.raw_client import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, RawClient, frame
from support.runners import every_read_path, every_runner, one_runner
from support.server import TIMEOUT_S, Server
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytestmark = every_read_path

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("sockets.py")


@pytest.fixture(params=["echo_uwsgi.py", "sockets.py"])
def echo(request: pytest.FixtureRequest, serve: Callable[..., Server]) -> Server:
    """An echo by each API, at /echo."""
    return serve(request.param)


@pytest.fixture
def client(echo: Server) -> Iterator[ClientConnection]:
    with dial(echo, "/echo") as connection:
        yield connection


def dial(server: Server, path: str, **how: object) -> ClientConnection:
    how = {
        "open_timeout": TIMEOUT_S,
        "close_timeout": TIMEOUT_S,
        "max_size": None,
        "compression": None,
        **how,
    }
    return connect(server.url(path), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("message", ["", "hello", "κόσμε \U0001f600", "x" * 125, "x" * 126, "x" * 65536])
def test_text_comes_back(client: ClientConnection, message: str) -> None:
    client.send(message)
    assert client.recv(TIMEOUT_S) == message


def test_a_mebibyte_comes_back(client: ClientConnection) -> None:
    message = "abcdefgh" * (2**20 // 8)
    client.send(message)
    assert client.recv(TIMEOUT_S) == message


@one_runner
def test_a_client_that_offers_compression_is_served_without(echo: Server) -> None:
    with dial(echo, "/echo", compression="deflate") as client:
        client.send("hello")
        assert client.recv(TIMEOUT_S) == "hello"


def test_a_message_in_fragments_comes_back_whole(client: ClientConnection) -> None:
    client.send(["one ", "two ", "three"])
    assert client.recv(TIMEOUT_S) == "one two three"


def test_a_ping_of_the_client_is_answered(client: ClientConnection) -> None:
    assert client.ping("payload").wait(TIMEOUT_S)


def test_a_client_that_closes_gets_its_code_back(client: ClientConnection) -> None:
    client.close(4001, "bye")
    assert client.close_code == 4001


def test_a_thousand_messages_keep_their_order(client: ClientConnection) -> None:
    for number in range(1000):
        client.send(str(number))
    assert [client.recv(TIMEOUT_S) for _ in range(1000)] == [str(number) for number in range(1000)]


@one_runner
def test_the_example_echo_serves_its_page_and_its_socket(serve: Callable[..., Server]) -> None:
    server = serve(str(EXAMPLES / "echo.py"))
    with urllib.request.urlopen(server.url("/", "http"), timeout=TIMEOUT_S) as page:
        assert b"new WebSocket" in page.read()
    with dial(server, "/", origin=server.url("", "http")) as client:
        client.send("hello")
        assert client.recv(TIMEOUT_S) == "hello"


def test_the_apps_types_are_the_clients_types(server: Server) -> None:
    with dial(server, "/types") as client:
        client.send("text")
        assert client.recv(TIMEOUT_S) == "str 4"
        client.send("é")
        assert client.recv(TIMEOUT_S) == "str 1"
        client.send(b"\xff\xfe")
        assert client.recv(TIMEOUT_S) == "bytes 2"
        client.send(b"")
        assert client.recv(TIMEOUT_S) == "bytes 0"


def test_str_goes_as_text_and_bytes_like_objects_as_binary(server: Server, token: str) -> None:
    with dial(server, f"/sends_types?{token}") as client:
        received = [client.recv(TIMEOUT_S) for _ in range(5)]
    assert received == ["text é", b"\x00\xff", b"array", b"view", "still usable"]
    notes = server.note(token)
    assert notes["none"]["raised"] == notes["number"]["raised"] == "TypeError"
    assert notes["lone"]["raised"] == "UnicodeEncodeError"


@one_runner
@pytest.mark.parametrize(
    ("offer", "chosen"), [(["chat.v1"], "chat.v1"), (["chat.v1", "chat.v2"], "chat.v2"), (None, None)]
)
def test_a_subprotocol_is_agreed_on(server: Server, offer: list[str] | None, chosen: str | None) -> None:
    with dial(server, "/speaks", subprotocols=offer) as client:
        assert client.subprotocol == chosen
        assert client.recv(TIMEOUT_S) == repr(chosen)


@one_runner
def test_a_page_of_a_foreign_origin_gets_403(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(server, "/echo", origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    assert b"--websockets-origin" not in refused.value.response.body


@every_runner
def test_an_app_may_wait_for_a_limited_time(server: Server) -> None:
    with dial(server, "/times_out") as client:
        assert client.recv(TIMEOUT_S) == "None"
        assert client.recv(TIMEOUT_S) == "None"
        client.send("at last")
        assert client.recv(TIMEOUT_S) == "'at last'"


@every_runner
def test_iteration_of_the_client_ends_when_the_app_returns(server: Server) -> None:
    with dial(server, "/speaks") as client:
        assert list(client) == ["None"]
        with pytest.raises(ConnectionClosedOK):
            client.recv(TIMEOUT_S)


@every_runner
def test_what_one_says_in_a_chat_all_hear(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(dial(server, "/chat")) for _ in range(10)]
        for client in clients:
            assert client.recv(TIMEOUT_S) == "joined"
        for number, client in enumerate(clients):
            client.send(f"I am {number}")
            for other in clients:
                assert other.recv(TIMEOUT_S) == f"I am {number}"


@every_runner
def test_threads_of_the_app_send_whole_messages_in_their_own_order(server: Server) -> None:
    with dial(server, "/threads") as client:
        received = [client.recv(TIMEOUT_S).split() for _ in range(1000)]
        client.send("enough")
    for number in range(10):
        assert [int(count) for who, count in received if int(who) == number] == list(range(100))


@every_runner
def test_a_greenlet_of_the_app_may_send(server: Server) -> None:
    with dial(server, "/greenlets") as client:
        assert client.recv(TIMEOUT_S) == "from a child"
        assert client.recv(TIMEOUT_S) == "from the task"


def test_an_app_may_ping(server: Server, upgrade: Callable[..., RawClient], token: str) -> None:
    client = upgrade(server, f"/pings?{token}")
    assert client.read_frame() == Frame(PING, b"")
    assert client.read_frame() == Frame(PING, b"own payload")
    assert server.note(token)["long"]["raised"] == "ValueError"


@every_runner
def test_100_clients_at_once_get_their_own_answers(echo: Server) -> None:
    def talk(number: int) -> bool:
        with dial(echo, "/echo") as client:
            for count in range(20):
                client.send(f"{number}/{count}")
                assert client.recv(TIMEOUT_S) == f"{number}/{count}"
        return True

    with ThreadPoolExecutor(100) as pool:
        assert all(pool.map(talk, range(100)))


@pytest.mark.parametrize("size", [40, 3000, 70_000])
def test_fragments_interleaved_on_100_connections_arrive_whole_each_on_its_own(
    echo: Server, upgrade: Callable[..., RawClient], size: int
) -> None:
    clients = [upgrade(echo, "/echo") for _ in range(100)]
    parts = 4
    texts = [f"<{number}>".encode().ljust(size, b"%d" % (number % 10)) for number in range(100)]
    step = size // parts
    for part in range(parts):
        for client, text in zip(clients, texts):
            piece = text[part * step : (part + 1) * step if part < parts - 1 else size]
            client.send(TEXT if part == 0 else CONTINUATION, piece, fin=part == parts - 1)
            if part == 1:
                client.send(PING, b"between")
    for client, text in zip(clients, texts):
        assert client.read_frame() == Frame(PONG, b"between")
        assert client.read_frame() == Frame(TEXT, text)
    for client in clients:
        client.close_in_order()


def test_fragments_cut_anywhere_and_interleaved_arrive_whole(server: Server, upgrade: Callable[..., RawClient]) -> None:
    # Unlike above, the segments end inside headers, masks and payloads, elsewhere on each connection.
    clients = [upgrade(server, "/echo") for _ in range(100)]
    payloads = [os.urandom(500 + number) for number in range(100)]
    streams = [
        frame(BINARY, data[:200], fin=False) + frame(CONTINUATION, data[200:330], fin=False)
        + frame(CONTINUATION, data[330:])
        for data in payloads
    ]  # fmt: skip
    longest = max(map(len, streams))
    for at in range(0, longest, 37):
        for number, (client, stream) in enumerate(zip(clients, streams)):
            start = at + number % 37 if at else 0
            client.send_bytes(stream[start : at + 37 + number % 37])
    for client, data in zip(clients, payloads):
        assert client.read_frame() == Frame(BINARY, data)
