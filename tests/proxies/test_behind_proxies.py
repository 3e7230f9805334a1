"""A server behind nginx and HAProxy: what the application sees, and WebSockets in both directions.

The proxies run on the configurations of docs/howto/behind-a-proxy.md. Their time-outs of a minute are seconds here: a
socket that the server pings has to outlive them, and one that it does not ping is cut.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from proxies.ways import HAPROXY_HTTP, HAPROXY_TCP, NGINX, NGINX_UWSGI, WAYS, Way
from support.proxy_servers import CLIENT, HOST, Proxy
from support.raw_client import BINARY, PING, PONG, TEXT, Frame, RawClient, fragments, frame
from support.server import Server

SIZES = (0, 1, 125, 126, 65535, 65536, 2**20)

#: The page's time-outs of an idle WebSocket, and those of the test.
TIMEOUTS = {
    NGINX: [("proxy_read_timeout 60s;", "proxy_read_timeout 2s;")],
    NGINX_UWSGI: [("uwsgi_read_timeout 60s;", "uwsgi_read_timeout 2s;")],
    HAPROXY_HTTP: [("timeout tunnel  60s", "timeout tunnel  2s")],
    HAPROXY_TCP: [("timeout client  60s", "timeout client  2s"), ("timeout server  60s", "timeout server  2s")],
}


@pytest.fixture
def client(proxy: Proxy, upgrade: Callable[..., RawClient]) -> RawClient:
    """An open WebSocket through the proxy."""
    return upgrade(proxy)


def read_page(proxy: Proxy, request: bytes) -> dict[str, Any]:
    """The answer to a request with `Connection: close`."""
    with RawClient(proxy.connect()) as client:
        client.send_bytes(request)
        response = client.read_response()
        assert response.status == 200, response
        body = client.read_rest()
    assert len(body) == int(response.header("Content-Length") or -1)
    return json.loads(body)


def test_a_page_comes_through_with_its_facts(proxy: Proxy, way: Way) -> None:
    head = f"POST /a%20b?q=1 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    seen = read_page(proxy, head.encode() + b"hello")
    environ = seen["environ"]
    assert seen["body"] == "hello"
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/a b", "q=1")
    assert (environ["HTTP_HOST"], environ["SERVER_PROTOCOL"]) == (HOST, "HTTP/1.1")
    assert environ["REMOTE_ADDR"] == (CLIENT if way.tells else "127.0.0.1")
    assert environ["wsgi.url_scheme"] == "http"


# A proxy in TCP mode adds no header, so whoever trusts it trusts its clients: it must not be named.
@pytest.mark.parametrize("way", [way for way in WAYS if way.tells], ids=lambda way: way.name, indirect=True)
def test_what_a_client_forges_does_not_count(proxy: Proxy) -> None:
    forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
    forged += "X-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6;host=evil;proto=https\r\n"
    head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{forged}\r\n"
    environ = read_page(proxy, head.encode())["environ"]
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "http")
    assert (environ["HTTP_HOST"], environ["SERVER_PORT"] == "1") == (HOST, False)


@pytest.mark.parametrize("length", [10, 2**20])
def test_a_body_of_chunks_comes_through(proxy: Proxy, length: int) -> None:
    body = b"x" * length
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    seen = read_page(proxy, head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (length, body))
    assert seen["body"] == body.decode()


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_each_size_go_both_ways(client: RawClient, size: int) -> None:
    for opcode, payload in ((TEXT, b"t" * size), (BINARY, bytes(range(256)) * (size // 256) + b"\xff" * (size % 256))):
        client.send(opcode, payload)
        assert client.read_data() == Frame(opcode, payload)


def test_a_message_of_many_fragments_comes_back_whole(client: RawClient) -> None:
    parts = [bytes([number]) * 1000 for number in range(100)]
    client.send_bytes(b"".join(fragments(BINARY, parts)))
    assert client.read_data() == Frame(BINARY, b"".join(parts))


def test_frames_right_behind_the_handshake_are_not_lost(proxy: Proxy, upgrade: Callable[..., RawClient]) -> None:
    client = upgrade(proxy, behind=frame(TEXT, "a") + frame(BINARY, "b"))
    client.send_text("c")
    assert [client.read_data() for _ in "abc"] == [Frame(TEXT, b"a"), Frame(BINARY, b"b"), Frame(TEXT, b"c")]


def test_many_messages_in_flight_come_back_in_order(client: RawClient) -> None:
    payloads = [b"%d:" % number + b"x" * (number * 37 % 30_000) for number in range(300)]

    def send_all() -> None:
        for payload in payloads:
            client.send(BINARY, payload)

    sender = threading.Thread(target=send_all)
    sender.start()
    try:
        assert all(client.read_data() == Frame(BINARY, payload) for payload in payloads)
    finally:
        sender.join()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_of_the_client_comes_back(client: RawClient, upstream: Server, code: int) -> None:
    mark = upstream.mark()
    client.close_in_order(code)
    upstream.wait_for_line(rf'^.* session: .* "/" 101, .*, closed {code}( ".*")? by client$', since=mark)


@pytest.mark.parametrize("code", [1000, 1001, 3001, 4999])
def test_a_close_of_the_application_arrives(client: RawClient, code: int) -> None:
    client.send_text(f"close {code} because of the test")
    assert client.read_close() == (code, "because of the test")
    client.send_close(code)
    client.read_end()


def test_a_failure_of_the_application_arrives_as_1011(client: RawClient) -> None:
    client.send_text("raise")
    assert client.read_close()[0] == 1011
    client.send_close(1011)
    client.read_end()


def test_a_client_that_vanishes_ends_its_task(client: RawClient, upstream: Server) -> None:
    mark = upstream.mark()
    client.abort()
    upstream.wait_for_line(r'^.* session: .* "/" 101, .*, lost by client: .*$', since=mark)


@pytest.mark.parametrize("offered, chosen", [("chat.v1, chat.v2", "chat.v2"), ("other", None)])
def test_a_subprotocol_is_agreed_on(
    proxy: Proxy, upgrade: Callable[..., RawClient], offered: str, chosen: str | None
) -> None:
    client = upgrade(proxy, headers=[("Sec-WebSocket-Protocol", offered)])
    assert client.response.header("Sec-WebSocket-Protocol") == chosen


def test_a_page_of_the_same_host_may_connect_and_another_may_not(
    proxy: Proxy, upgrade: Callable[..., RawClient]
) -> None:
    upgrade(proxy, headers=[("Origin", f"https://{HOST}")])
    with pytest.raises(AssertionError, match="status=403"):
        upgrade(proxy, headers=[("Origin", "https://evil.example")])


def test_an_idle_socket_lives_by_the_servers_pings_and_is_cut_without_them(
    start: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    pings = ("--websockets-ping-freq", "0.5", "--websockets-pong-tolerance", "10")
    pinging = start("behind_proxies.py", *pings, listen=listen)
    silent = start("behind_proxies.py", "--websockets-ping-freq", "0", listen=listen)
    with contextlib.ExitStack() as stack:
        ways = {
            way: [
                stack.enter_context(way.before(server.addresses[way == NGINX_UWSGI], *replace))
                for server in (pinging, silent)
            ]
            for way, replace in TIMEOUTS.items()
        }
        idle = {way: Idle(upgrade(proxies[0])) for way, proxies in ways.items()}
        # Not a sleep: the proxies themselves show that their time-outs have passed, twice.
        for _ in range(2):
            cut = [upgrade(proxies[1]) for proxies in ways.values()]
            for client in cut:
                assert client.read_rest() == b""
        silent.wait_for_lines(r'^.* session: .* "/" 101, .*, lost by client: .*$', 2 * len(ways))
        for way, one in idle.items():
            assert one.ask("still here") == "still here", way.name
            assert one.pings >= 4, way.name


class Idle:
    """A client that answers pings and sends nothing by itself."""

    def __init__(self, client: RawClient) -> None:
        self.pings = 0
        self._client = client
        self._answer = ""
        self._thread = threading.Thread(target=self._answer_pings)
        self._thread.start()

    def ask(self, text: str) -> str:
        """The echo of one message; the client is no longer idle then."""
        self._client.send_text(text)
        self._thread.join()
        return self._answer

    def _answer_pings(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                found = self._client.read_frame()
                if found.opcode == PING:
                    self.pings += 1
                    self._client.send(PONG, found.payload)
                elif found.opcode != PONG:
                    self._answer = found.payload.decode()
                    return
