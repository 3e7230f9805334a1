"""One app file, every way to it: over each kind of listener, inside TLS and HTTP/2, by the uwsgi protocol, behind each
proxy and through routes. The application, examples/through.py, is the same everywhere, and so is what comes of it; what
a way changes of the facts that it sees stands in the `facts` of its access.

What one way alone does stands in its own tests: test_behind_proxies.py, test_routes_everywhere.py and others.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from end_to_end.http_wire import read_answer
from proxies.ways import WAYS
from proxies.ways import Way as ProxyWay
from support import uwsgi_client
from support.certificates import Pair, context
from support.http2_client import Http2Client
from support.proxy_servers import CLIENT, HOST, Proxy
from support.raw_client import BINARY, PING, PONG, TEXT, Frame, RawClient, accept_value, handshake_request
from support.runners import Runner, every_read_path
from support.server import TIMEOUT_S, Server

APP = str(Path(__file__).parents[2] / "examples/through.py")

TRUST = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "unix")

MEGABYTE = os.urandom(2**20)

#: Percent-encoded: a space, a character of two bytes, a slash, and what a query may hold.
PATH, PATH_INFO, QUERY = "/a%20b/%C3%BC%2Fc", "/a b/ü/c", "q=%20&z=%C3%BC&room"

pytestmark = every_read_path


class Access:
    """One way to the application. `facts` are the variables that depend on it."""

    def __init__(self, dial: Callable[[], socket.socket], **facts: str | None) -> None:
        self._dial = dial
        self.facts = {
            "REMOTE_ADDR": CLIENT, "wsgi.url_scheme": "http", "HTTPS": None, "SERVER_PROTOCOL": "HTTP/1.1", **facts,
        }  # fmt: skip

    def fetch(self, target: str, method: str = "GET", body: bytes = b"") -> Any:
        """The page for one request."""
        head = f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        with RawClient(self._dial()) as client:
            client.send_bytes(head.encode() + body)
            answer = read_answer(client, method)
        assert (answer.status, answer.is_complete) == (200, True), answer
        return json.loads(answer.body)

    def upgrade(self, target: str) -> RawClient:
        """An open WebSocket."""
        return shaken(RawClient(self._dial()), lambda key: handshake_request(HOST, target, key=key))


class Http2Access(Access):
    """WebSockets inside HTTP/2 (RFC 8441); each has a connection, which it keeps."""

    def __init__(self, dial: Callable[[], socket.socket], **facts: str | None) -> None:
        super().__init__(dial, **{"SERVER_PROTOCOL": "HTTP/2", **facts})

    def _connect(self) -> Http2Client:
        client = Http2Client(self._dial())
        client.authority = HOST
        return client

    def fetch(self, target: str, method: str = "GET", body: bytes = b"") -> Any:
        with self._connect() as client:
            stream = client.request(target, method=method, body=body or None)
            assert stream.status == 200, stream.headers
            return json.loads(stream.body())

    def upgrade(self, target: str) -> RawClient:
        return self._connect().websocket(target)


class UwsgiAccess(Access):
    """The uwsgi protocol, as a server in front speaks it."""

    def fetch(self, target: str, method: str = "GET", body: bytes = b"") -> Any:
        told = self._told(uwsgi_client.variables(target, method=method), CONTENT_LENGTH=str(len(body)))
        with RawClient(self._dial()) as client:
            client.send_bytes(uwsgi_client.packet(told) + body)
            answer = read_answer(client, method)
        assert (answer.status, answer.is_complete) == (200, True), answer
        return json.loads(answer.body)

    def upgrade(self, target: str) -> RawClient:
        def opening(key: str) -> bytes:
            return uwsgi_client.packet(self._told(uwsgi_client.handshake(target, key=key)))

        return shaken(RawClient(self._dial()), opening)

    def _told(self, variables: uwsgi_client.Variables, **more: str) -> list[tuple[str, str]]:
        told = {**dict(variables), "REMOTE_ADDR": CLIENT, "HTTP_HOST": HOST, **more}
        # Whoever is in front has decoded it.
        return [*{**told, "PATH_INFO": unquote(told["PATH_INFO"], "latin-1")}.items()]


def shaken(client: RawClient, opening: Callable[[str], bytes]) -> RawClient:
    """Complete the handshake that `opening` makes for a key."""
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    client.send_bytes(opening(key))
    response = client.read_response()
    assert response.status == 101, (response, bytes(client.buffer))
    assert response.header("Sec-WebSocket-Accept") == accept_value(key)
    return client


def dial(address: tuple[str, int] | str) -> socket.socket:
    """A connection of a client that is not on 127.0.0.1, where proxies and routes come from."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_S)
        connection.connect(address)
        return connection
    return socket.create_connection(address, timeout=TIMEOUT_S, source_address=(CLIENT, 0))


#: The listeners of the server, in the order in which it names them.
TCP, UNIX, ANNOUNCED, UWSGI, TLS = range(5)

NAMES = (
    "http", "http_socket", "unix", "https", "http2", "https_http2", "uwsgi",
    *(way.name for way in WAYS),
    "route_http", "route_uwsgi", "https_route_http", "https_route_uwsgi",
)  # fmt: skip


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server], runner: Runner, socket_folder: str, pair: Pair) -> Server:
    listen = ("--http", "127.0.0.1:0", "--http", f"{socket_folder}/every-{runner.name}.sock")
    listen += ("--http-socket", "127.0.0.1:0", "--enable-proxy-protocol", "--socket", "127.0.0.1:0")
    return serve(APP, *TRUST, listen=(*listen, "--https", f"127.0.0.1:0,{pair.https}"))


@pytest.fixture(scope="session", params=NAMES)
def access(
    request: pytest.FixtureRequest, serve: Callable[..., Server], server: Server, pair: Pair
) -> Iterator[Access]:
    name: str = request.param
    plain, http2 = context(pair), context(pair)
    http2.set_alpn_protocols(["h2"])
    secure = {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def at(listener: int, of: Server = server, tls: ssl.SSLContext | None = None) -> Callable[[], socket.socket]:
        def connect() -> socket.socket:
            raw = dial(of.addresses[listener])
            return tls.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) if tls else raw

        return connect

    ways = {way.name: way for way in WAYS}
    if name in ways:
        way = ways[name]
        with way.before(server.addresses[way.listener]) as proxy:
            yield behind(proxy, way)
        return
    if "route" in name:
        kind, listener = ("uwsgi", UWSGI) if name.endswith("uwsgi") else ("http", TCP)
        rule = f"{kind}:{':'.join(map(str, server.addresses[listener]))}"
        # Nobody serves there: what comes back has come through the route.
        front = serve(
            "rooms.py", "--route-run", rule, listen=("--http", "127.0.0.1:0", "--https", f"127.0.0.1:0,{pair.https}")
        )
        yield Access(at(1, front, plain), **secure) if name.startswith("https") else Access(at(0, front))
        return
    yield {
        "http": lambda: Access(at(TCP)),
        "http_socket": lambda: Access(at(0, serve(APP, listen=("--http-socket", "127.0.0.1:0")))),
        "unix": lambda: Access(at(UNIX), REMOTE_ADDR=""),
        "https": lambda: Access(at(TLS, tls=plain), **secure),
        "http2": lambda: Http2Access(at(TCP)),
        "https_http2": lambda: Http2Access(at(TLS, tls=http2), **secure),
        "uwsgi": lambda: UwsgiAccess(at(UWSGI)),
    }[name]()


def behind(proxy: Proxy, way: ProxyWay) -> Access:
    return Access(proxy.connect, REMOTE_ADDR=CLIENT if way.tells else "127.0.0.1")


@pytest.fixture
def enter(access: Access) -> Iterator[Callable[..., RawClient]]:
    """`enter(room)`: an open WebSocket that has heard its greeting."""
    clients = []

    def made(room: str, target: str = "/?") -> RawClient:
        clients.append(access.upgrade(f"{target}{room}"))
        clients[-1].greeting = json.loads(clients[-1].read_data().payload)
        return clients[-1]

    yield made
    for client in clients:
        client.close()


def assert_facts(access: Access, seen: dict[str, str]) -> None:
    assert seen["PATH_INFO"].encode("latin-1").decode() == PATH_INFO
    # PEP 3333: what is empty may be left out. A packet of the uwsgi protocol names only what is in it.
    assert (seen["QUERY_STRING"], seen.get("SCRIPT_NAME", ""), seen["HTTP_HOST"]) == (QUERY, "", HOST)
    assert {name: seen.get(name) for name in access.facts} == access.facts


def test_a_page_sees_the_facts_and_its_body(access: Access) -> None:
    seen = access.fetch(f"{PATH}?{QUERY}")
    assert (seen["REQUEST_METHOD"], seen["body"]) == ("GET", "")
    assert_facts(access, seen)
    for body in (b"a=b", os.urandom(100_000)):
        seen = access.fetch(f"{PATH}?{QUERY}", "POST", body)
        assert (seen["REQUEST_METHOD"], seen["body"].encode("latin-1")) == ("POST", body)
        assert_facts(access, seen)


def test_a_websocket_sees_the_same_facts_and_is_greeted_first(access: Access, enter: Callable[..., RawClient]) -> None:
    client = enter("", f"{PATH}?{QUERY}")
    assert_facts(access, client.greeting)
    assert client.greeting["REQUEST_METHOD"] == "GET"


def test_messages_go_both_ways_and_pings_are_answered(enter: Callable[..., RawClient], token: str) -> None:
    client = enter(token)
    for opcode, payload in ((TEXT, "κόσμε".encode()), (BINARY, b"\x00\xff"), (TEXT, b""), (BINARY, MEGABYTE)):
        client.send(opcode, payload)
        assert client.read_data() == Frame(opcode, payload)
    client.send(PING, b"there?")
    assert client.read_frame() == Frame(PONG, b"there?")
    client.send_text("count 100")
    assert [client.read_data().payload for _ in range(100)] == [b"%d" % number for number in range(1, 101)]


def test_two_clients_hear_each_other(enter: Callable[..., RawClient], token: str) -> None:
    one, other = enter(token), enter(token)
    for speaker, text in ((one, b"hello"), (other, b"hello yourself"), (one, b"m" * 60_000)):
        speaker.send_text(b"all " + text)
        assert [client.read_data() for client in (one, other)] == [Frame(TEXT, text)] * 2


@pytest.mark.parametrize("code", [1000, 4999])
def test_a_close_is_known_on_both_sides(enter: Callable[..., RawClient], token: str, code: int) -> None:
    watcher, leaves, sent_away = enter(token), enter(token), enter(token)
    leaves.send_close(code, "enough")
    assert leaves.read_close()[0] == code
    leaves.read_end()
    for client in (watcher, sent_away):
        assert client.read_data() == Frame(TEXT, f"left {code} enough".encode())
    sent_away.send_text(f"close {code} go now")
    assert sent_away.read_close() == (code, "go now")
    sent_away.send_close(code)
    sent_away.read_end()
    assert watcher.read_data() == Frame(TEXT, f"left {code} go now".encode())


def test_a_client_that_vanishes_is_missed(enter: Callable[..., RawClient], token: str) -> None:
    watcher, vanishes = enter(token), enter(token)
    vanishes.close()
    assert watcher.read_data().payload.startswith(b"left 1006")


def test_the_same_goes_for_uwsgi_s_api(access: Access) -> None:
    with access.upgrade("/uwsgi") as client:
        for payload in (b"text", MEGABYTE.hex().encode()[: 2**20]):
            client.send_text(payload)
            assert client.read_data() == Frame(TEXT, payload)
        client.send_close(1000)
        assert client.read_close()[0] == 1000
