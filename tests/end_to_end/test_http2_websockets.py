"""WebSockets inside HTTP/2 (RFC 8441): the same applications, the same rules, several on one connection.

`RawClient` speaks over a stream as over TCP, so what is expected here is what test_websocket_ends.py and the
conformance tests expect there. An application sees a handshake of RFC 6455 that nobody sent.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.http2_client import Http2Client, Stream
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
    fragments,
    frame,
)
from support.runners import every_read_path, one_runner
from support.server import Server

pytestmark = every_read_path

EXAMPLES = Path(__file__).parents[2] / "examples"
CANCEL = 8


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("sockets.py")


@pytest.fixture
def client(server: Server) -> Iterator[Http2Client]:
    with Http2Client.connect(server) as client:
        yield client


def echoes(ws: RawClient, text: bytes) -> None:
    ws.send_text(text)
    assert ws.read_data() == Frame(TEXT, text)


# -- the handshake


@one_runner
def test_the_server_offers_extended_connect(client: Http2Client) -> None:
    client.read_until(lambda: client.has_settings)
    assert client.h2.remote_settings.enable_connect_protocol == 1


@pytest.mark.parametrize("app", ["echo.py", "echo_fairlead.py"])
def test_the_examples_run_unchanged(serve: Callable[..., Server], app: str) -> None:
    with Http2Client.connect(serve(str(EXAMPLES / app))) as client:
        ws = client.websocket("/")
        echoes(ws, b"hello")
        ws.close_in_order()
        assert client.request("/").status == 200, "and a page beside it"


def test_an_application_sees_a_handshake_of_rfc_6455(serve: Callable[..., Server], token: str) -> None:
    server = serve("http2_environ.py")
    with Http2Client.connect(server) as client:
        extra = [
            ("sec-websocket-protocol", "chat.v1"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("sec-websocket-key", "x"),
        ]
        keys = []
        for _ in range(2):
            ws = client.websocket(f"/a%20b?{token}", headers=extra)
            seen = eval(ws.read_data().payload)  # a repr() of strings
            keys.append(seen.pop("HTTP_SEC_WEBSOCKET_KEY"))
            expected = {
                "REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/2", "PATH_INFO": "/a b", "QUERY_STRING": token,
                "HTTP_HOST": client.authority, "HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade",
                "HTTP_SEC_WEBSOCKET_VERSION": "13", "HTTP_SEC_WEBSOCKET_PROTOCOL": "chat.v1", "HTTP_COOKIE": "a=b; c=d",
            }  # fmt: skip
            assert {name: seen.get(name) for name in expected} == expected
            assert not any(":" in name or name.startswith("HTTP_:") for name in seen)
        assert [len(base64.b64decode(key)) for key in keys] == [16, 16]
        assert keys[0] != keys[1]


@one_runner
def test_a_key_of_the_client_s_own_is_answered(serve: Callable[..., Server], token: str) -> None:
    """RFC 8441 §5 has no use for it; Node's `WebSocket` sends one and insists on the answer."""
    with Http2Client.connect(serve("http2_environ.py")) as client:
        key = base64.b64encode(os.urandom(16)).decode()
        stream = client.connect_stream(f"/?{token}", headers=[("sec-websocket-key", key)])
        assert stream.status == 200
        assert stream.header("sec-websocket-accept") == accept_value(key)
        assert not {"upgrade", "connection"} & {name for name, _ in stream.headers}
        seen = eval(RawClient(stream).read_data().payload)  # type: ignore[arg-type]
        assert seen["HTTP_SEC_WEBSOCKET_KEY"] == key


@one_runner
@pytest.mark.parametrize("keys", [["x"], [""], ["AAAA"], ["AAAAAAAAAAAAAAAAAAAAAA=="] * 2])
def test_what_is_no_key_is_neither_answered_nor_refused(server: Server, client: Http2Client, keys: list[str]) -> None:
    stream = client.connect_stream("/echo", headers=[("sec-websocket-key", key) for key in keys])
    assert (stream.status, stream.header("sec-websocket-accept")) == (200, None)
    echoes(RawClient(stream), b"open")  # type: ignore[arg-type]


@one_runner
@pytest.mark.parametrize("route", ["http", "uwsgi"])
def test_a_key_is_answered_by_the_server_behind(start: Callable[..., Server], route: str, token: str) -> None:
    """The key that a relay sends on is the client's own, and else one that the front has made up."""
    behind = start("http2_environ.py", listen=("--http" if route == "http" else "--socket", "127.0.0.1:0"))
    front = start("sockets.py", "--route", f"^/ {route}:{behind.address[0]}:{behind.address[1]}")
    key = base64.b64encode(os.urandom(16)).decode()
    with Http2Client.connect(front) as client:
        for headers in ([("sec-websocket-key", key)], []):
            stream = client.connect_stream(f"/?{token}", headers=headers)
            assert stream.status == 200
            assert stream.header("sec-websocket-accept") == (accept_value(key) if headers else None)
            seen = eval(RawClient(stream).read_data().payload)  # type: ignore[arg-type]
            assert (seen["HTTP_SEC_WEBSOCKET_KEY"] == key) == bool(headers)
            assert len(base64.b64decode(seen["HTTP_SEC_WEBSOCKET_KEY"])) == 16


@one_runner
def test_a_subprotocol_is_chosen_and_extra_headers_are_sent(start: Callable[..., Server]) -> None:
    server = start("sockets.py", "--add-header", "X-Extra: yes")
    with Http2Client.connect(server) as client:
        stream = client.connect_stream("/speaks", headers=[("sec-websocket-protocol", "chat.v1, chat.v2")])
        assert stream.status == 200
        assert stream.header("sec-websocket-protocol") == "chat.v2"
        assert stream.header("x-extra") == "yes"
        assert RawClient(stream).read_data() == Frame(TEXT, b"'chat.v2'")  # type: ignore[arg-type]


@one_runner
@pytest.mark.parametrize("protocol", ["connect-udp", "webtransport", "", "websocket2"])
def test_another_protocol_gets_501(server: Server, client: Http2Client, protocol: str) -> None:
    since = server.mark()
    assert client.connect_stream("/echo", protocol=protocol).status == 501
    server.wait_for_line(f'a request was refused with 501: CONNECT with :protocol "{protocol}"', since)
    echoes(client.websocket("/echo"), b"the connection goes on")


@one_runner
def test_a_page_of_another_origin_gets_403(server: Server, client: Http2Client) -> None:
    since = server.mark()
    assert client.connect_stream("/echo", headers=[("origin", "http://elsewhere.example")]).status == 403
    server.wait_for_line(r"127\.0\.0\.1:\d+ /echo.*http://elsewhere.example", since)
    echoes(client.websocket("/echo", headers=[("origin", f"http://{client.authority}")]), b"welcome")


@one_runner
def test_a_handshake_that_is_wrong_gets_its_status(client: Http2Client) -> None:
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/echo"),
              (":authority", client.authority)]  # fmt: skip
    client.read_until(lambda: client.has_settings)
    other = client.open([*pseudo, ("sec-websocket-version", "8")], end=False)
    assert (other.status, other.header("sec-websocket-version")) == (426, "13")
    offered = client.connect_stream("/echo", headers=[("sec-websocket-protocol", "a b")])
    assert offered.status == 400
    assert client.connect_stream("/nothing").status == 404


# -- messages


def test_messages_of_every_kind_are_echoed(client: Http2Client) -> None:
    ws = client.websocket("/echo")
    megabyte = os.urandom(2**20)
    for opcode, payload in [
        (TEXT, "text é".encode()),
        (BINARY, b"\x00\xff"),
        (TEXT, b""),
        (BINARY, b""),
        (BINARY, megabyte),
    ]:
        ws.send(opcode, payload)
        assert ws.read_data() == Frame(opcode, payload)
    for part in fragments(TEXT, [b"one ", b"", b"two ", b"three"]):
        ws.send_bytes(part)
    assert ws.read_data() == Frame(TEXT, b"one two three")
    ws.send_octets(frame(TEXT, b"in single bytes"))
    assert ws.read_data() == Frame(TEXT, b"in single bytes")
    ws.send_bytes(b"".join(frame(TEXT, str(number)) for number in range(1000)))
    assert [ws.read_data().payload for _ in range(1000)] == [str(number).encode() for number in range(1000)]
    ws.close_in_order()


def test_thousands_of_small_frames_are_no_flood(client: Http2Client) -> None:
    """Each message in a DATA frame of its own, without waiting for an answer: h2 counts small frames."""
    ws = client.websocket("/echo")
    for number in range(3000):
        ws.send_text(str(number))
    assert [ws.read_data().payload for _ in range(3000)] == [str(number).encode() for number in range(3000)]


def test_a_session_that_is_not_read_holds_small_frames_without_harm(
    server: Server, client: Http2Client, tmp_path: Path, token: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ws = client.websocket(f"/reads_late?{token}&{fifo}")
    assert server.note(token)["blocks"]
    for _ in range(6000):
        ws.send_text("x")
    client.ping()
    with open(fifo, "w"):
        pass
    ws.send_close(1000)
    assert ws.read_close()[0] == 1000
    assert server.note(f"{token}-again")["messages"] == 6000


def test_pings_pass_in_both_directions(client: Http2Client) -> None:
    ws = client.websocket("/echo")
    ws.send(PING, b"there?")
    assert ws.read_frame() == Frame(PONG, b"there?")
    pings = client.websocket("/pings")
    assert [pings.read_frame().opcode, pings.read_frame()] == [PING, Frame(PING, b"own payload")]


def test_several_websockets_and_requests_share_a_connection(client: Http2Client) -> None:
    sockets = [client.websocket("/echo") for _ in range(20)]
    for turn in range(3):
        for number, ws in enumerate(sockets):
            ws.send_text(f"{turn} {number}")
        assert client.request("/pid").status == 200
        for number, ws in reversed(list(enumerate(sockets))):
            assert ws.read_data() == Frame(TEXT, f"{turn} {number}".encode())
    for ws in sockets:
        ws.close_in_order()


def test_what_a_channel_brings_reaches_sockets_of_every_kind(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    server = serve("rooms.py")
    plain = upgrade(server, f"/{token}")
    with Http2Client.connect(server) as client:
        members = [client.websocket(f"/{token}") for _ in range(5)]
        for ws in [plain, *members]:
            assert ws.read_data() == Frame(TEXT, b"joined")
        members[0].send_text("to all")
        plain.send_text("from outside")
        for ws in [plain, *members]:
            assert {ws.read_data().payload, ws.read_data().payload} == {b"to all", b"from outside"}


# -- back-pressure


def test_a_client_that_does_not_read_holds_up_its_session_alone(
    server: Server, client: Http2Client, token: str
) -> None:
    slow = client.websocket(f"/sends_much?{token}")
    client.h2.increment_flow_control_window(2**24)  # the stream's window alone holds it up
    client.flush()
    quick = client.websocket("/echo")
    for turn in range(20):
        echoes(quick, str(turn).encode())
    assert len(slow.socket.data) <= 2**16  # type: ignore[attr-defined]
    for number in range(32):
        assert slow.read_data() == Frame(BINARY, bytes([number]) * 2**20)
    assert server.note(token)["done"]


def test_a_session_that_does_not_receive_holds_up_its_client_alone(
    server: Server, client: Http2Client, tmp_path: Path, token: str
) -> None:
    """Under greenlets the whole worker is held up by it, and the front goes on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ws = client.websocket(f"/reads_late?{token}&{fifo}")
    assert server.note(token)["blocks"]
    message = frame(BINARY, bytes(2**16))
    sent = 0
    stream = ws.socket
    client.socket.settimeout(1)
    try:
        for _ in range(200):
            ws.send_bytes(message)
            sent += 1
    except TimeoutError:
        pass
    client.socket.settimeout(20)
    assert sent < 200, "12 MiB were taken for a session that reads nothing"
    client.ping()
    with open(fifo, "w"):
        pass
    stream.close()
    assert server.note(f"{token}-again")["messages"] >= sent - 1


# -- ends


@pytest.mark.parametrize(("path", "code"), [("/returns", 1000), ("/raises", 1011), ("/closes?{token}&4001,why", 4001)])
def test_an_end_by_the_application_is_a_close_and_the_end_of_the_stream(
    client: Http2Client, path: str, code: int, token: str
) -> None:
    ws = client.websocket(path.format(token=token))
    if path == "/raises":
        ws.send_text("go")
    assert ws.read_close()[0] == code
    ws.send_close(code)
    ws.read_end()
    assert ws.socket.wait_for_end() is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("who", ["client", "application"])
def test_no_reset_follows_the_end_of_a_session(server: Server, client: Http2Client, token: str, who: str) -> None:
    """RST_STREAM behind END_STREAM is an answer to a client that still sends (RFC 9113 §8.1); Chromium takes one for a
    lost connection, though it comes behind a Close."""
    ws = client.websocket(f"/ends?{token}" if who == "client" else f"/closes?{token}&4001,why")
    stream: Stream = ws.socket  # type: ignore[assignment]
    if who == "client":
        ws.send_close(1000)
    assert ws.read_close()[0] == (1000 if who == "client" else 4001)
    if who == "application":
        ws.send_close(4001)
    ws.read_end()
    for _ in range(3):
        client.ping()
    assert stream.ended and stream.reset_behind is None
    # What still comes is for nobody, and does not fill the window of the connection.
    for _ in range(20):
        stream.sendall(bytes(16_000))
    stream.end()
    client.ping()
    assert stream.reset_behind is None
    echoes(client.websocket("/echo"), b"the connection goes on")


def test_a_client_that_ends_its_stream_with_its_close_gets_what_was_sent_and_the_answer(
    server: Server, client: Http2Client, token: str
) -> None:
    """As Chromium does."""
    ws = client.websocket(f"/sends_until_closed?{token}")
    stream: Stream = ws.socket  # type: ignore[assignment]
    for _ in range(3):
        assert ws.read_data().opcode == BINARY
    stream.sendall(frame(CLOSE, close_payload(4000)), end=True)
    found = ws.read_data()
    while found.opcode == BINARY:
        found = ws.read_data()
    assert found == Frame(CLOSE, b"\x0f\xa0")
    ws.read_end()
    client.ping()
    assert stream.reset is None and stream.reset_behind is None
    assert server.note(token)["code"] == 4000


@one_runner
def test_a_client_that_never_ends_its_stream_is_reset_in_time(start: Callable[..., Server]) -> None:
    server = start("sockets.py", "--websockets-close-timeout", "1")
    with Http2Client.connect(server) as client:
        ws = client.websocket("/echo")
        stream: Stream = ws.socket  # type: ignore[assignment]
        began = time.monotonic()
        ws.close_in_order()
        client.read_until(lambda: stream.reset_behind is not None)
        assert stream.reset_behind == 0  # NO_ERROR
        assert 0.9 < time.monotonic() - began < 10
        echoes(client.websocket("/echo"), b"the connection goes on")


def test_a_close_by_the_client_reaches_the_application(server: Server, client: Http2Client, token: str) -> None:
    ws = client.websocket(f"/ends?{token}")
    ws.send_text("one")
    ws.send_close(4321, "enough")
    assert ws.read_close()[0] == 4321
    ws.read_end()
    note = server.note(token)
    assert (note["messages"], note["end"]["code"], note["end"]["reason"]) == (["one"], 4321, "enough")


@pytest.mark.parametrize("way", ["reset", "end", "lost"])
def test_a_stream_that_goes_without_a_close_ends_with_1006(
    server: Server, client: Http2Client, token: str, way: str
) -> None:
    other = client.websocket("/echo")
    ws = client.websocket(f"/ends?{token}")
    ws.send_text("one")
    client.ping()
    if way == "reset":
        ws.socket.cancel()  # type: ignore[attr-defined]
    elif way == "end":
        ws.socket.end()  # type: ignore[attr-defined]
    else:
        client.close()
    note = server.note(token)
    assert note["end"]["code"] == 1006 and note["end"]["by"] == "lost"
    if way != "lost":
        echoes(other, b"goes on")


def test_a_broken_frame_is_answered_with_1002(client: Http2Client) -> None:
    ws = client.websocket("/echo")
    ws.send_bytes(frame(CONTINUATION, b"nothing before"))
    ws.expect_failure(1002)
    ws.socket.wait_for_end()  # type: ignore[attr-defined]
    echoes(client.websocket("/echo"), b"the connection goes on")


def test_a_log_line_names_peer_and_path(server: Server, client: Http2Client, token: str) -> None:
    ws = client.websocket(f"/echo?{token}")
    ws.close_in_order()
    server.wait_for_line(rf'session: 127\.0\.0\.1:\d+ "/echo\?{token}" 101, .* closed 1000 by client')


def test_a_silent_client_is_pinged_and_dropped(serve: Callable[..., Server], token: str) -> None:
    server = serve("sockets.py", "--websockets-ping-freq", "0.4", "--websockets-pong-tolerance", "1",
                   "--websockets-pong-freq", "0")  # fmt: skip
    with Http2Client.connect(server) as client:
        ws = client.websocket(f"/ends?{token}")
        assert ws.read_frame().opcode == PING
        assert server.note(token)["end"]["code"] == 1006
        assert ws.socket.wait_for_end() in (None, CANCEL)  # type: ignore[attr-defined]
        assert client.request("/pid").status == 200


def test_a_stop_closes_with_1001_and_a_goaway(start: Callable[..., Server]) -> None:
    server = start("sockets.py")
    with Http2Client.connect(server) as client:
        sockets = [client.websocket("/echo") for _ in range(3)]
        for ws in sockets:
            echoes(ws, b"there")
        server.signal(15)
        for ws in sockets:
            assert ws.read_close()[0] == 1001
            ws.send_close(1001)
            ws.read_end()
            ws.close()
        client.wait_for_close()
        assert client.goaways
    assert server.wait_for_end() == 0
