"""Internal routes (compat §5): rules before the app, and requests that another server gets.

The other server is Fairlead itself where the two have to understand each other, and a script of bytes where the wire
counts. The front does all of this, so one runner is enough. The file stays whole, as its tests share their servers.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from queue import Queue

import pytest
from end_to_end.http_wire import Answer, chunks, read_answer, request
from support.backend import backend, exactly, read_head, read_packet
from support.pool import Pool
from support.raw_client import RawClient, accept_value, frame
from support.runners import DEFAULT
from support.server import APPS, Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """The servers of this file, most of which stand behind others that send everything there."""
    pool = Pool()
    yield pool
    pool.release(keep=0)


@pytest.fixture
def server(pool: Pool) -> Iterator[Callable[..., Server]]:
    """`server(*rules)`: the app with routes, each `option=value`."""

    def of(*rules: str, more: tuple[str, ...] = (), listen: tuple[str, ...] = ("--http", "127.0.0.1:0")) -> Server:
        options = tuple(f"--{rule}" for rule in rules)
        return pool.server(DEFAULT, "routed.py", (*options, *more), listen)

    yield of
    pool.release()


def fetch(server: Server, data: bytes, method: str = "GET") -> Answer:
    with RawClient(server.connect()) as client:
        client.send_bytes(data)
        return read_answer(client, method)


def environ_of(server: Server, path: str, *lines: str) -> dict[str, str]:
    answer = fetch(server, request(server, path, *lines, "Connection: close"))
    assert answer.status == 200, answer
    found: dict[str, str] = json.loads(answer.body)
    return found


def test_rules_change_answer_and_redirect_before_the_app(server):
    here = server(
        "route=^/old/(.*) rewrite:/new/$1",
        "route=^/new addvar:ROUTED=$0",
        "route=^/secret return:403",
        "route=^/moved redirect:http://example.org${PATH_INFO}",
        "route=^/gone break:410 Gone Away",
        "route-run=addheader:X-Route: ${REQUEST_METHOD}",
        "route-run=delheader:Server",
    )
    told = environ_of(here, "/old/page")
    assert (told["PATH_INFO"], told["ROUTED"], told["REQUEST_URI"]) == ("/new/page", "/new", "/old/page")
    answer = fetch(here, request(here, "/", "Connection: close"))
    assert answer.header("X-Route") == "GET"
    assert answer.header("Server") is None
    secret = fetch(here, request(here, "/secret", "Connection: close"))
    assert (secret.status, secret.body) == (403, b"Forbidden")
    moved = fetch(here, request(here, "/moved", "Connection: close"))
    assert (moved.status, moved.header("Location")) == (302, "http://example.org/moved")
    gone = fetch(here, request(here, "/gone", "Connection: close"))
    assert (gone.status, gone.head.reason, gone.body) == (410, "Gone Away", b"")


def test_the_table_of_responses_adds_what_it_is_told(server):
    here = server("response-route-status=^404 addheader:X-Status: ${uwsgi[status]}")
    assert fetch(here, request(here, "/missing", "Connection: close")).header("X-Status") == "404"
    assert fetch(here, request(here, "/", "Connection: close")).header("X-Status") is None


def test_a_route_decides_about_the_line_in_the_log(server):
    here = server(
        "route=^/quiet donotlog:", "route=^/named logvar:kind=special", "route=^/told log:came to ${PATH_INFO}"
    )
    for path in ("/quiet", "/told", "/named"):
        environ_of(here, path)
    here.wait_for_line(r"GET /named.*kind=special|kind=special.*GET /named|GET /named.*special")
    here.wait_for_line("came to /told")
    assert not [line for line in here.lines if "/quiet" in line]


@pytest.mark.parametrize("kind", ["http", "httpdumb", "proxyhttp"])
def test_requests_reach_the_other_server_and_come_back(server, kind):
    behind = server()
    here = server(f"route=^/there {kind}:{behind.host_header}")
    assert environ_of(here, "/here")["PATH_INFO"] == "/here"
    told = environ_of(here, "/there?q=1", "X-Mine: yes", "Accept: a/b")
    assert (told["PATH_INFO"], told["QUERY_STRING"], told["HTTP_X_MINE"]) == ("/there", "q=1", "yes")
    assert told["HTTP_HOST"] == here.host_header
    if kind == "httpdumb":
        assert "HTTP_X_FORWARDED_FOR" not in told
    else:
        assert (told["HTTP_X_FORWARDED_FOR"], told["HTTP_X_FORWARDED_PROTO"]) == ("127.0.0.1", "http")
    missing = fetch(here, request(here, "/there/missing", "Connection: close"))
    assert (missing.status, missing.body) == (404, b"nothing here\n")
    head = fetch(here, request(here, "/there", "Connection: close", method="HEAD"), method="HEAD")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_bodies_pass_in_both_directions(server, size):
    behind = server()
    here = server(f"route=^/there http:{behind.host_header}")
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    head = request(here, "/there/body", f"Content-Length: {size}", "Connection: close", method="POST")
    answer = fetch(here, head + body)
    assert (answer.status, answer.header("X-App")) == (200, "routed")
    assert answer.body == body
    head = request(here, "/there/body", "Transfer-Encoding: chunked", "Connection: close", method="POST")
    parts = [part for part in (body[: size // 2], body[size // 2 :]) if part]
    assert fetch(here, head + chunks(*parts)).body == body


def test_a_long_response_comes_whole_over_a_connection_that_is_kept(server):
    behind = server()
    here = server(f"route=^/there http:{behind.host_header}")
    client = RawClient(here.connect())
    for _ in range(2):
        client.send_bytes(request(here, "/there/stream"))
        answer = read_answer(client)
        assert answer.is_complete
        assert answer.body == b"".join(b"%06d\n" % number for number in range(20000))
    client.close()


def test_host_and_target_can_be_replaced(server):
    behind = server()
    here = server(f"route=^/there/(.*) http:{behind.host_header},inner.example,/x/$1?y=2")
    told = environ_of(here, "/there/page")
    assert (told["HTTP_HOST"], told["REQUEST_URI"]) == ("inner.example", "/x/page?y=2")


@pytest.mark.parametrize("kind", ["http", "uwsgi"])
def test_a_target_in_absolute_form_is_judged_and_goes_on_as_a_path(server, kind):
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    behind = server(listen=listen)
    host, inner = behind.addresses[["http", "uwsgi"].index(kind)]
    here = server("route-uri=^/admin return:403", f"route=^/there {kind}:{host}:{inner}")

    def ask(target: str) -> Answer:
        head = f"GET {target} HTTP/1.1\r\nHost: ignored.example\r\nConnection: close\r\n\r\n"
        return fetch(here, head.encode())

    assert ask("http://inner.example/admin").status == 403
    told = json.loads(ask("http://inner.example/there/a%20b?c").body)
    assert (told["REQUEST_URI"], told["PATH_INFO"], told["HTTP_HOST"]) == (
        "/there/a%20b?c", "/there/a b", "inner.example"
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/api/a%20b", "/api/%25", "/api/%3Fadmin=1", "/api/%E4%23"])
def test_what_a_rule_has_captured_arrives_as_it_was_sent(server, path):
    behind = server()
    here = server(f"route=^/to(/.*) http:{behind.host_header},,$1", "route=^/moved(/.*) redirect:$1")
    assert environ_of(here, f"/to{path}?q=1")["REQUEST_URI"] == path
    assert fetch(here, request(here, f"/moved{path}", "Connection: close")).header("Location") == path


@pytest.mark.parametrize("kind", ["http", "httpdumb"])
def test_a_client_that_asks_first_is_answered_by_the_other_server(server, kind):
    bodies = []

    def serve(connection: socket.socket) -> None:
        head = read_head(connection)
        assert "expect: 100-continue" in head.lower()
        if "/refused" in head:
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n")
            return
        if "/asked" in head:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies.append(exactly(connection, 4))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with backend(serve) as other:
        here = server(f"route-run={kind}:{other.address}")

        def ask(path: str) -> RawClient:
            client = RawClient(here.connect())
            lines = ("Content-Length: 4", "Expect: 100-continue", "Connection: close")
            client.send_bytes(request(here, path, *lines, method="POST"))
            return client

        with ask("/refused") as client:
            answer = read_answer(client, "POST")
            assert (answer.status, answer.body) == (413, b"no\n")
        for path in ("/asked", "/who-does-not-know-the-question"):
            with ask(path) as client:
                assert client.read_response().status == 100
                client.send_bytes(b"body")
                assert read_answer(client, "POST").status == 200
    assert bodies == [b"body"] * 2


@pytest.mark.parametrize("length", ["Content-Length: 4", "Transfer-Encoding: chunked"])
def test_a_client_that_asks_first_hears_100_once_a_server_of_the_uwsgi_protocol_is_reached(server, length):
    """The protocol has no word for the question, so that the server can only be asked whether it is there."""
    bodies = []

    def serve(connection: socket.socket) -> None:
        first = connection.recv(1, socket.MSG_PEEK)
        if not first:
            return  # only looked at
        _, _, variables = read_packet(connection)
        bodies.append(exactly(connection, int(dict(variables)["CONTENT_LENGTH"])))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with backend(serve) as other:
        here = server(f"route=^/there uwsgi:{other.address}", "route=^/nowhere uwsgi:/no/such.sock")

        def ask(path: str) -> RawClient:
            client = RawClient(here.connect())
            lines = (length, "Expect: 100-continue", "Connection: close")
            client.send_bytes(request(here, path, *lines, method="POST"))
            return client

        with ask("/nowhere") as client:
            assert client.read_response().status == 502
        with ask("/there") as client:
            assert client.read_response().status == 100
            client.send_bytes(b"body" if "Length" in length else chunks(b"bo", b"dy"))
            assert read_answer(client, "POST").status == 200
    assert bodies == [b"body"]


def test_what_a_rule_has_set_goes_to_the_other_server(server):
    behind = server()
    rules = ("seturi:/there/body?x", "setmethod:POST")
    here = server(*(f"route-run={rule}" for rule in rules), f"route=^/there http:{behind.host_header}")
    answer = fetch(here, request(here, "/there", "Content-Length: 2", "Connection: close", method="PUT") + b"ok")
    assert (answer.status, answer.body) == (200, b"ok")


#: What a client writes to pass for somebody else, in each way that a server behind may read.
FORGED = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 6666",
    "X-Forwarded-User: admin",
    "X_Forwarded_Host: evil.example",
    "X.Forwarded.Host: evil.example",
    "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
    "X-Real-IP: 6.6.6.6",
    "True-Client-IP: 6.6.6.6",
    "Proxy: http://evil.example",
    "X_User: admin",
)


@pytest.mark.parametrize("kind", ["http", "uwsgi"])
def test_the_other_server_is_told_who_the_client_is_and_nothing_that_the_client_says_of_itself(server, kind):
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    behind = server(more=("--trusted-proxy", "127.0.0.1"), listen=listen)
    host, inner = behind.addresses[["http", "uwsgi"].index(kind)]
    here = server(f"route=^/there {kind}:{host}:{inner}")
    told = environ_of(here, "/there", *FORGED)
    port = here.host_header.rsplit(":", 1)[1]
    assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert (told["HTTP_HOST"], told["SERVER_PORT"]) == (here.host_header, port)
    said = {name: value for name, value in told.items() if "FORWARDED" in name}
    assert said == {
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "HTTP_X_FORWARDED_PROTO": "http",
        "HTTP_X_FORWARDED_HOST": here.host_header,
        "HTTP_X_FORWARDED_PORT": port,
    }
    for forged in ("6.6.6.6", "evil.example", "admin"):
        assert not [name for name, value in told.items() if forged in value], told


def test_as_they_are_are_the_headers_of_a_client_without_what_only_a_proxy_may_say(server):
    heads = []

    def serve(connection: socket.socket) -> None:
        heads.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    forged = ("X-Mine: yes", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-User: somebody")
    with backend(serve) as other:
        for trust in ((), ("--trusted-proxy", "127.0.0.1")):
            here = server(f"route-run=httpdumb:{other.address}", more=trust)
            assert fetch(here, request(here, "/", *forged, "Connection: close")).status == 204
    stranger, proxy = (head.lower() for head in heads)
    assert "x-mine: yes" in stranger and "x-forwarded" not in stranger
    assert "x-forwarded-for: 203.0.113.7" in proxy and "x-forwarded-user: somebody" in proxy


def test_a_rule_s_own_word_of_a_header_reaches_the_other_server(server):
    behind = server()
    here = server(
        "route-run=addvar:HTTP_X_FORWARDED_USER=rule ${HTTP_X_FORWARDED_USER}",
        "route-run=addvar:HTTP_COOKIE=",
        "route-run=setremoteaddr:203.0.113.9",
        f"route=^/there http:{behind.host_header}",
    )
    told = environ_of(here, "/there", "X-Forwarded-User: theirs", "Cookie: a=b")
    assert told["HTTP_X_FORWARDED_USER"] == "rule theirs"
    assert told["HTTP_X_FORWARDED_FOR"] == "203.0.113.9"
    assert "HTTP_COOKIE" not in told


@pytest.mark.parametrize("kind", ["http", "httpdumb"])
def test_websockets_are_proxied_both_ways(server, kind):
    behind = server()
    here = server(f"route=^/websocket {kind}:{behind.host_header}", more=("--websockets-origin", "*"))
    with connect(here.url("/websocket"), subprotocols=["chat.v1"], max_size=None) as client:
        assert client.subprotocol == "chat.v1"
        for message in ("text", b"binary", "", "x" * 1_000_000):
            client.send(message)
            assert client.recv() == message
        for number in range(500):
            client.send(str(number))
        assert [client.recv() for _ in range(500)] == [str(number) for number in range(500)]
    with connect(here.url("/websocket/close")) as client, pytest.raises(ConnectionClosed) as ended:
        client.recv()
    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (3210, "as asked")


def test_a_routed_websocket_takes_no_slot_of_the_app(server):
    behind = server()
    # Two slots, both taken by WebSockets of the app itself.
    here = server(f"route=^/there http:{behind.host_header}", more=("--async", "2"))
    own = [RawClient.upgrade(here) for _ in range(2)]
    proxied = [RawClient.upgrade(here, "/there") for _ in range(20)]
    for number, client in enumerate([*own, *proxied]):
        client.send_text(str(number))
        assert client.read_data().payload == b"%d" % number
    for client in [*own, *proxied]:
        client.close()


def test_an_idle_tunnel_outlives_the_time_outs_of_http(server):
    behind = server("route-run=log:ready", more=("--websockets-ping-freq", "0"))
    here = server(f"route=^/there http:{behind.host_header}", more=("--http-timeout", "1", "--socket-timeout", "1"))
    client = RawClient.upgrade(here, "/there")
    for _ in range(3):
        # A connection that says nothing is closed after a second: that time passed for the tunnel as well.
        RawClient(here.connect()).read_rest()
    client.send_text("still here")
    assert client.read_data().payload == b"still here"
    client.close()


def test_frames_behind_the_handshake_belong_to_the_websocket(server):
    behind = server()
    here = server(f"route=^/there http:{behind.host_header}")
    client = RawClient.upgrade(here, "/there", behind=frame(1, b"early"))
    assert client.read_data().payload == b"early"
    client.close()


def test_both_ends_of_a_tunnel_end_together(server):
    ended: Queue[bytes] = Queue()

    def serve(connection: socket.socket) -> None:
        key = next(line.split(": ")[1] for line in read_head(connection).split("\r\n") if "ec-websocket-key" in line)
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_value(key).encode() + b"\r\n\r\n" + frame(1, b"first", mask=None)
        )
        ended.put(connection.recv(100))

    with backend(serve) as other:
        here = server(f"route=^/there http:{other.address}")
        client = RawClient.upgrade(here, "/there")
        assert client.read_data().payload == b"first"
        client.abort()
        assert ended.get(timeout=10) == b""


def test_the_uwsgi_protocol_gets_a_packet_and_answers_with_http(server):
    packets = []

    def serve(connection: socket.socket) -> None:
        modifier1, modifier2, variables = read_packet(connection)
        packets.append((modifier1, modifier2, dict(variables)))
        length = int(dict(variables)["CONTENT_LENGTH"] or 0)
        body = exactly(connection, length)
        connection.sendall(b"HTTP/1.1 200 Fine\r\nX-Length: %d\r\n\r\n" % length + body)

    with backend(serve) as other:
        here = server("route-run=addvar:ADDED=by a route", f"route=^/there uwsgi:{other.address},0,7")
        body = b"b" * 100_000
        head = request(
            here, "/there/a%20b?q=1", "Content-Length: 100000", "X-Mine: 1", "Connection: close", method="POST"
        )
        answer = fetch(here, head + body)
        assert (answer.status, answer.head.reason, answer.header("X-Length")) == (200, "Fine", "100000")
        assert answer.body == body
        chunked = request(here, "/there", "Transfer-Encoding: chunked", "Connection: close", method="POST")
        assert fetch(here, chunked + chunks(b"some", b"thing")).body == b"something"
        modifier1, modifier2, told = packets[0]
        assert (modifier1, modifier2) == (0, 7)
        for key, value in {
            "REQUEST_METHOD": "POST",
            "REQUEST_URI": "/there/a%20b?q=1",
            "PATH_INFO": "/there/a b",
            "QUERY_STRING": "q=1",
            "CONTENT_LENGTH": "100000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_SCHEME": "http",
            "SERVER_NAME": "127.0.0.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_X_MINE": "1",
            "HTTP_HOST": here.host_header,
            "ADDED": "by a route",
        }.items():
            assert told[key] == value, key
        assert packets[1][2]["CONTENT_LENGTH"] == "9"


@pytest.mark.parametrize("modifiers", ["", ",0,0"])
def test_the_seed_s_route_proxies_a_websocket_by_the_uwsgi_protocol(server, modifiers):
    def serve(connection: socket.socket) -> None:
        told = dict(read_packet(connection)[2])
        accept = accept_value(told["HTTP_SEC_WEBSOCKET_KEY"]).encode()
        # As uWSGI answers: the version of the request's, then frames in both directions.
        connection.sendall(
            told["SERVER_PROTOCOL"].encode() + b" 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while data := connection.recv(65536):
            # A masked frame of under 126 bytes comes back unmasked.
            first, length, mask = data[0], data[1] & 0x7F, data[2:6]
            text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data[6 : 6 + length]))
            connection.sendall(struct.pack("BB", first, length) + text)
            if first == 0x88:
                return

    with backend(serve) as other:
        here = server(f"route=^/websocket uwsgi:{other.address}{modifiers}")
        with connect(here.url("/websocket")) as client:
            for number in range(10):
                client.send(f"message {number}")
                assert client.recv() == f"message {number}"


def test_a_dead_backend_is_a_502_and_a_line_in_the_log(server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    here = server(f"route=^/there http:127.0.0.1:{port}", "route=^/packet uwsgi:/no/such.sock")
    for path, kind in (("/there", "http"), ("/packet", "uwsgi")):
        answer = fetch(here, request(here, path, "Connection: close"))
        assert answer.status == 502
        here.wait_for_line(f"the {kind} server at .*: cannot be reached")
    client = RawClient(here.connect())
    client.send_bytes(request(here, "/there", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))  # fmt: skip
    assert client.read_response().status == 502
    client.close()
    assert environ_of(here, "/")["PATH_INFO"] == "/"


def test_a_silent_backend_is_a_504_within_the_time_out(server):
    with backend(lambda connection: connection.recv(1) and connection.recv(100_000) and connection.recv(1)) as other:
        here = server(f"route=^/there http:{other.address}", more=("--http-timeout", "1"))
        began = time.monotonic()
        answer = fetch(here, request(here, "/there", "Connection: close"))
        assert answer.status == 504
        assert time.monotonic() - began < 5
        here.wait_for_line(r"the http server at .*: said nothing for 1 s")


def test_a_response_that_breaks_off_is_cut_and_one_that_is_none_is_a_502(server):
    def half(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    def nonsense(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with backend(half) as one, backend(nonsense) as other:
        here = server(f"route=^/half http:{one.address}", f"route=^/none http:{other.address}")
        answer = fetch(here, request(here, "/half", "Connection: close"))
        assert (answer.status, answer.is_complete, answer.body) == (200, False, b"only this")
        assert fetch(here, request(here, "/none", "Connection: close")).status == 502


def test_a_client_that_leaves_ends_the_request_behind(server):
    ends: Queue[OSError] = Queue()

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError as error:
            ends.put(error)

    with backend(serve) as other:
        here = server(f"route=^/there http:{other.address}")
        client = RawClient(here.connect())
        client.send_bytes(request(here, "/there"))
        client.read_exactly(200_000)
        client.abort()
        ends.get(timeout=10)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("route=^/x", "with a blank between them"),
        ("route=(?=x) last:", "regular expression"),
        ("route=^/ nosuch:x", "there is no action"),
        ("route-if=nosuch:x last:", "there is no condition"),
        ("response-route-run=redirect:/", "no meaning"),
        ("route=^/ uwsgi:somewhere", "no address"),
    ],
)
def test_a_rule_that_cannot_be_stops_the_start_with_a_sentence(rule, why):
    server = Server.launch("--wsgi-file", str(APPS / "routed.py"), "--http", "127.0.0.1:0", f"--{rule}")
    server.process.wait(20)
    assert server.process.returncode != 0
    server.wait_for_line(why)
