"""TLS from outside: pages and WebSockets over it, who is greeted with which certificate, what becomes
of those who speak something else, and certificates that change while the server runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest
from support import certificates
from support.certificates import Pair, context, get, shown, upgrade
from support.raw_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    RawClient,
    fragments,
    frame,
    handshake_request,
)
from support.runners import every_read_path
from support.server import TIMEOUT_S, Server
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial
from websockets.exceptions import InvalidStatus

NOWHERE = "127.0.0.1:0"


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server], pair: Pair) -> Server:
    return serve("secure.py", listen=("--https", f"{NOWHERE},{pair.https}"))


class Wss:
    """The `websockets` library's client for asyncio, called from here. Not its client with threads: that reads and
    writes one OpenSSL session from two threads, and loses the answer to some handshakes (3 of 1500, against its own
    server too) when a session ticket arrives while it writes."""

    def __init__(self, server: Server, trusting: ssl.SSLContext, path: str = "/", **how: object) -> None:
        self._loop = asyncio.new_event_loop()
        how = {"compression": None, "max_size": None, "open_timeout": TIMEOUT_S, "ssl": trusting, **how}
        try:
            self._client = self._loop.run_until_complete(self._dial(server.url(path, "wss"), how))
        except BaseException:
            self._loop.close()
            raise

    async def _dial(self, url: str, how: dict[str, object]) -> ClientConnection:
        return await dial(url, **how)  # type: ignore[arg-type]

    def send(self, message: str | bytes) -> None:
        self._loop.run_until_complete(self._client.send(message))

    def recv(self) -> str | bytes:
        return self._loop.run_until_complete(asyncio.wait_for(self._client.recv(), TIMEOUT_S))

    def __enter__(self) -> Wss:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture
def client(server: Server, trusting: ssl.SSLContext) -> Iterator[Wss]:
    with Wss(server, trusting) as made:
        yield made


# -- pages


def test_a_page_over_https_knows_that_it_is_one(server: Server, trusting: ssl.SSLContext) -> None:
    about = shown(server, trusting)
    assert about.pop("REMOTE_PORT").isdigit()
    assert about == {
        "HTTPS": "on",
        "wsgi.url_scheme": "https",
        "SERVER_PORT": str(server.address[1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "UWSGI_ROUTER": "http",
    }


def test_https_socket_looks_like_a_worker_s_own_socket(
    serve: Callable[..., Server], pair: Pair, trusting: ssl.SSLContext
) -> None:
    server = serve("secure.py", listen=("--https-socket", f"{NOWHERE},{pair.https}"))
    about = shown(server, trusting)
    assert about["HTTPS"] == "on"
    assert not {"UWSGI_ROUTER", "REMOTE_PORT"} & set(about)


def test_a_connection_serves_many_requests(server: Server, trusting: ssl.SSLContext) -> None:
    with certificates.connect(server, trusting) as connection:
        for _ in range(20):
            assert get(connection)[0].status == 200


@every_read_path
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_carry_pages_and_websockets(server: Server, pair: Pair, version: ssl.TLSVersion) -> None:
    only = context(pair)
    only.minimum_version = only.maximum_version = version
    assert shown(server, only)["HTTPS"] == "on"
    with Wss(server, only) as client:
        for size in (0, 1, 20_000, 300_000):
            client.send(b"x" * size)
            assert client.recv() == b"x" * size


def test_http_1_1_is_agreed_on(server: Server, pair: Pair) -> None:
    asking = context(pair)
    asking.set_alpn_protocols(["http/1.1"])
    with certificates.connect(server, asking) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


# -- WebSockets


@pytest.mark.parametrize("message", ["", "hello", "κόσμε \U0001f600", b"", b"\x00\xff", "x" * 65536, b"y" * 2**20])
def test_a_message_comes_back_over_wss(client: ClientConnection, message: str | bytes) -> None:
    client.send(message)
    assert client.recv() == message


@every_read_path
def test_messages_behind_the_handshake_are_not_lost(server: Server, trusting: ssl.SSLContext) -> None:
    behind = b"".join(frame(TEXT, f"early {number}") for number in range(3000))
    with upgrade(server, trusting, behind=behind) as client:
        for number in range(3000):
            assert client.read_data().payload == b"early %d" % number


@every_read_path
def test_frames_may_be_cut_into_any_records(server: Server, trusting: ssl.SSLContext) -> None:
    with upgrade(server, trusting) as client:
        client.send_octets(frame(TEXT, "a record for each byte"))
        assert client.read_data() == Frame(TEXT, b"a record for each byte")
        for part in fragments(TEXT, [b"one ", b"two ", b"three"]):
            client.send_bytes(part)
        assert client.read_data() == Frame(TEXT, b"one two three")
        client.send_bytes(frame(BINARY, b"x" * 40_000) + frame(PING, "p") + frame(BINARY, b"last"))
        found = [client.read_frame() for _ in range(3)]
        assert sorted(found) == sorted([Frame(BINARY, b"x" * 40_000), Frame(PONG, b"p"), Frame(BINARY, b"last")])


@every_read_path
def test_a_close_is_answered_and_tls_ends_in_order(server: Server, trusting: ssl.SSLContext) -> None:
    with upgrade(server, trusting) as client:
        client.close_in_order(3001)
    with upgrade(server, trusting, "/leaves") as client:
        assert client.read_close() == (4001, "enough")
        client.send_close(4001)
        client.read_end()


@every_read_path
def test_a_broken_rule_closes_with_its_code(server: Server, trusting: ssl.SSLContext) -> None:
    with upgrade(server, trusting) as client:
        client.send(CONTINUATION, b"of nothing")
        client.expect_failure(1002)


@every_read_path
def test_a_client_that_ends_its_side_of_tls_is_answered_with_the_end_of_ours(
    server: Server, trusting: ssl.SSLContext
) -> None:
    with upgrade(server, trusting) as client:
        client.send_text("last words")
        assert client.read_data().payload == b"last words"
        assert isinstance(client.socket, ssl.SSLSocket)
        client.socket.unwrap().close()  # waits for the server's close_notify


@every_read_path
def test_a_client_that_ends_its_tcp_stream_is_gone(server: Server, trusting: ssl.SSLContext) -> None:
    with upgrade(server, trusting) as client:
        client.send_bytes(frame(TEXT, "last words"))
        client.socket.shutdown(socket.SHUT_WR)
        client.socket = socket.socket(fileno=client.socket.detach())
        client.socket.settimeout(TIMEOUT_S)
        while client.socket.recv(65536):
            pass


@every_read_path
def test_records_that_were_changed_on_the_way_end_the_connection(server: Server, trusting: ssl.SSLContext) -> None:
    mark = server.mark()
    with upgrade(server, trusting) as client:
        raw = socket.socket(fileno=client.socket.detach())
        raw.settimeout(TIMEOUT_S)
        raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        rest = b""
        while data := raw.recv(65536):
            rest += data
        raw.close()
    assert rest  # an alert, which is a record as well
    server.wait_for_line("its TLS records could not be read", mark)


def test_a_page_of_another_origin_is_refused_and_that_of_the_same_is_not(
    server: Server, trusting: ssl.SSLContext
) -> None:
    host = server.host_header
    with Wss(server, trusting, origin=f"https://{host}") as client:
        client.send("same")
        assert client.recv() == "same"
    for other in (f"http://{host}", "https://elsewhere.test"):
        with pytest.raises(InvalidStatus, match="403"):
            Wss(server, trusting, origin=other)


@every_read_path
def test_a_thousand_messages_in_flight_keep_their_order(client: Wss) -> None:
    for number in range(1000):
        client.send(f"{number} " + "x" * (number % 3000))
    for number in range(1000):
        assert client.recv() == f"{number} " + "x" * (number % 3000)


@every_read_path
def test_what_is_published_reaches_members_over_tls_and_without(
    serve: Callable[..., Server], pair: Pair, trusting: ssl.SSLContext
) -> None:
    server = serve("secure.py", listen=("--https", f"{NOWHERE},{pair.https}", "--http", NOWHERE))
    plain, secure = 0, 1  # listeners stand in the order of their options' kinds
    with certificates.connect(server, trusting, listener=secure) as connection:
        over_tls = RawClient(connection)
        over_tls.send_bytes(handshake_request(server.host_header, "/room"))
        assert over_tls.read_response().status == 101
        with RawClient.upgrade(server, "/room", listener=plain) as without:
            for member in (over_tls, without):
                assert member.read_data().payload == b"joined"
            for number in range(200):
                without.send_text(f"{number} " + "x" * 2000)
            for member in (over_tls, without):
                for number in range(200):
                    assert member.read_data().payload == b"%d " % number + b"x" * 2000


@every_read_path
def test_a_client_that_reads_late_misses_nothing(server: Server, trusting: ssl.SSLContext) -> None:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.settimeout(TIMEOUT_S)
    raw.connect(server.address)
    with trusting.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as connection:
        client = RawClient(connection)
        client.send_bytes(handshake_request(server.host_header, "/flood"))
        assert client.read_response().status == 101
        # Another one is served while this one reads nothing.
        with Wss(server, trusting) as other:
            for _ in range(50):
                other.send("x")
                assert other.recv() == "x"
        for number in range(20_000):
            assert client.read_data().payload == b"%08d" % number + b"x" * 1000, number


# -- those who speak something else


def test_http_on_the_port_of_tls_is_told_so(server: Server) -> None:
    mark = server.mark()
    with server.connect() as connection:
        response, body = get(connection)
        assert (response.status, response.header("connection")) == (400, "close")
        assert b"https://" in body
        assert connection.recv(1) == b""
    server.wait_for_line("warning: .* without TLS", mark)


def test_a_broken_hello_gets_an_alert_and_disturbs_nobody(server: Server, client: Wss) -> None:
    no_hello = b"\x16\x03\x01\x00\x05\x63\x00\x00\x01\x00"
    for garbage in (no_hello, b"\x00" * 64, b"\x16\x03\x01\xff\xff", b"\x80\x2e\x01"):
        mark = server.mark()
        with server.connect() as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        if garbage is no_hello:
            server.wait_for_line("warning: .* the TLS handshake failed", mark)
    client.send("still here")
    assert client.recv() == "still here"


def test_a_handshake_that_is_never_finished_ends_in_time(start: Callable[..., Server], pair: Pair) -> None:
    server = start("secure.py", "--http-headers-timeout", "1", listen=("--https", f"{NOWHERE},{pair.https}"))
    began = time.monotonic()
    for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):
        with server.connect() as connection:
            connection.sendall(begun)
            assert connection.recv(1) == b""
    assert time.monotonic() - began < 15


def test_http_to_https_sends_everything_there(serve: Callable[..., Server], pair: Pair) -> None:
    server = serve(
        "secure.py",
        listen=("--http-to-https", f"{NOWHERE},8443", "--http-to-https", NOWHERE, "--https", f"{NOWHERE},{pair.https}"),
    )
    places = []
    for listener in range(1, 3):
        with server.connect(listener) as connection:
            response, _ = get(connection, "/a%20b?c=d", "example.org:8080")
            assert response.status == 301
            places.append(response.header("location"))
    assert places == ["https://example.org:8443/a%20b?c=d", "https://example.org/a%20b?c=d"]


@every_read_path
def test_a_stop_ends_every_tls_connection_in_order(
    start: Callable[..., Server], pair: Pair, trusting: ssl.SSLContext
) -> None:
    server = start("secure.py", listen=("--https", f"{NOWHERE},{pair.https}"))
    with upgrade(server, trusting) as client, certificates.connect(server, trusting) as idle:
        assert get(idle)[0].status == 200
        server.signal(signal.SIGTERM)
        assert idle.recv(1) == b"", "close_notify, or this raises"
        assert client.read_frame().opcode == CLOSE
        client.send_close(1001)
        client.read_end()
    assert server.wait_for_end() == 0
