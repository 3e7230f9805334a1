"""The tables that look at answers and at the end of a request (`--error-route`, `--final-route`, compat §5.1), the line
in the log of a request that never reaches the application, and the idle limit of proxied WebSockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from end_to_end.http_wire import Answer, read_answer, request
from support import certificates
from support.backend import backend, read_head
from support.certificates import Pair
from support.http2_client import Http2Client
from support.raw_client import RawClient
from support.runners import DEFAULT, RUNNERS
from support.server import APPS, Server
from support.uwsgi_client import ask, packet, variables

HANDSHAKE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    """`server(*rules)`: the app with routes, each `option=value`."""
    running = []

    def begin(*rules: str, more: tuple[str, ...] = (), **how: tuple[str, ...]) -> Server:
        options = [f"--{rule}" for rule in rules]
        running.append(Server.start("routed.py", *DEFAULT.options, *options, *more, **how))
        return running[-1]

    yield begin
    for one in reversed(running):
        one.stop()


def fetch(server: Server, path: str, *lines: str, method: str = "GET") -> Answer:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, path, *lines, "Connection: close", method=method))
        return read_answer(client, method)


def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


# -- the table of errors


def test_a_rule_gives_another_answer_than_the_application_whoever_gave_the_first(server):
    here = server(
        "route=^/secret return:403",
        f"route=^/dead http:{dead()}",
        "error-route-status=^404 redirect:/sorry?was=${uwsgi[status]}",
        "error-route-status=^403 break:401 Who Are You",
        "error-route-status=^502 return:503",
        "error-route-status=^2 addheader:X-Seen: ${uwsgi[status]}",
    )
    missing = fetch(here, "/missing")
    assert (missing.status, missing.header("Location"), missing.body) == (302, "/sorry?was=404", b"")
    secret = fetch(here, "/secret")
    assert (secret.status, secret.head.reason) == (401, "Who Are You")
    assert (fetch(here, "/dead").status, fetch(here, "/dead").body) == (503, b"Service Unavailable")
    assert fetch(here, "/").header("X-Seen") == "200"


def test_a_body_of_the_application_s_is_swallowed_and_the_connection_goes_on(server):
    here = server("error-route=^/stream return:418")
    with RawClient(here.connect()) as client:
        for _ in range(2):
            client.send_bytes(request(here, "/stream"))
            assert read_answer(client).status == 418
        client.send_bytes(request(here, "/"))
        assert read_answer(client).status == 200
    assert not [line for line in here.lines if "error:" in line]


def test_the_table_of_responses_sees_what_the_table_of_errors_has_made(server):
    here = server(
        "error-route-status=^404 return:410",
        "response-route-status=^404 addheader:X-Table: wrong",
        "response-route-status=^410 addheader:X-Table: right",
    )
    assert fetch(here, "/missing").header("X-Table") == "right"


def test_break_without_a_status_closes_without_an_answer(server):
    here = server("error-route-status=^404 break:")
    with RawClient(here.connect()) as client:
        client.send_bytes(request(here, "/missing"))
        assert client.read_rest() == b""
    assert fetch(here, "/").status == 200


def test_a_handshake_can_be_answered_otherwise(server):
    here = server("error-route-status=^101 return:403")
    with RawClient(here.connect()) as client:
        client.send_bytes(request(here, "/ws", *HANDSHAKE))
        assert client.read_response().status == 403
    assert fetch(here, "/").status == 200


def test_answers_are_replaced_over_tls_inside_http_2_and_behind_the_uwsgi_protocol(server, pair: Pair, trusting):
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--https", f"127.0.0.1:0,{pair.https}")
    rules = ("error-route-status=^404 redirect:/sorry", "error-route=^/stream return:410")
    here = server(*rules, listen=listen)
    with Http2Client.connect(here) as client:
        stream = client.request("/missing")
        assert (stream.status, stream.header("location"), stream.body()) == (302, "/sorry", b"")
        stream = client.request("/stream")
        assert (stream.status, stream.body()) == (410, b"Gone")
    with RawClient(certificates.connect(here, trusting, listener=2)) as client:
        client.send_bytes(request(here, "/missing", "Connection: close"))
        assert read_answer(client).status == 302
    assert ask(here, packet(variables("/missing")), listener=1).startswith(b"HTTP/1.1 302 ")


# -- the last table


def test_the_last_table_tells_when_a_request_is_over_and_what_its_line_shall_say(server):
    here = server(
        "final-route-status=^404 logvar:kind=missing",
        "final-route=^/quiet donotlog:",
        "final-route-run=log:over: ${PATH_INFO} ${uwsgi[status]} by ${uwsgi[wid]}",
        "response-route-status=^200 logvar:told=yes",
    )
    for path in ("/missing", "/quiet", "/"):
        fetch(here, path)
    here.wait_for_line("over: /missing 404 by 1$")
    here.wait_for_line("over: /quiet 200 by 1$")
    here.wait_for_line(r'request: .*"GET /missing HTTP/1.1" 404, .*, kind="missing"$')
    here.wait_for_line(r'request: .*"GET / HTTP/1.1" 200, .*, told="yes"$')
    assert not [line for line in here.lines if "request:" in line and "/quiet" in line]


def test_a_websocket_of_the_application_is_over_when_its_session_is(server):
    here = server("final-route-run=logvar:over=${uwsgi[status]}", "final-route-run=log:over")
    client = RawClient.upgrade(here, "/ws")
    client.send_text("still open")
    assert client.read_data().payload == b"still open"
    assert not [line for line in here.lines if line.endswith(": over")]
    client.send_close(1000)
    client.close()
    here.wait_for_line(r'session: .*"/ws" 101, .*, over="101"$')
    here.wait_for_line(": over$")


@pytest.mark.parametrize("model", RUNNERS, ids=lambda model: model.name)
def test_every_model_shows_its_answers_and_ends_to_the_rules(model):
    rules = ("--error-route-status", "^404 return:410", "--error-route", "^/stream return:418",
             "--final-route-run", "logvar:over=${uwsgi[status]}")  # fmt: skip
    with Server.start("routed.py", *model.options, *rules) as here:
        for path, status in (("/missing", 410), ("/stream", 418), ("/", 200)):
            assert fetch(here, path).status == status
            here.wait_for_line(rf'request: .*"GET {path} HTTP/1.1" {status}, .*, over="{status}"$')
        assert " 410, 4 bytes in " in line_of(here, "/missing")  # not those of the application
        if model.name != "generators":  # there this application cannot wait for messages
            client = RawClient.upgrade(here, "/ws")
            client.send_text("text")
            assert client.read_data().payload == b"text"
            client.close_in_order()
            here.wait_for_line(r'session: .*"/ws" 101, .*, over="101"$')


# -- lines in the log


def line_of(server: Server, path: str) -> str:
    return server.wait_for_line(rf'request: (127\.0\.0\.1 "\w+ {path} .*)$')[1]


def test_requests_that_never_reach_the_application_have_their_line(server, tmp_path):
    (tmp_path / "page.txt").write_text("x" * 100_000)

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 201 Made\r\nContent-Length: 7\r\n\r\nproxied")

    with backend(serve) as other:
        here = server(
            f"route=^/there http:{other.address}",
            f"route=^/dead http:{dead()}",
            "route=^/named logvar:kind=special",
            "route=^/named return:403",
            "route=^/quiet donotlog:",
            "route=^/quiet return:403",
            "route=^/cut break:",
            more=("--static-map", f"/files={tmp_path}"),
        )
        for path in ("/files/page.txt", "/there?q=1", "/dead", "/named", "/quiet"):
            fetch(here, path)
        fetch(here, "/files/page.txt?head", method="HEAD")
        with RawClient(here.connect()) as client:
            client.send_bytes(request(here, "/cut"))
            client.read_rest()
    assert " 200, 100000 bytes in " in line_of(here, r"/files/page\.txt")
    assert '"HEAD /files/page.txt?head HTTP/1.1" 200, 0 bytes in ' in line_of(here, r"/files/page\.txt\?head")
    assert '"GET /there?q=1 HTTP/1.1" 201, 7 bytes in ' in line_of(here, r"/there\?q=1")
    assert " 502, " in line_of(here, "/dead")
    assert line_of(here, "/named").endswith(', kind="special"')
    assert " 0, 0 bytes in " in line_of(here, "/cut")
    assert not [line for line in here.lines if "request:" in line and "/quiet" in line]
    # One each.
    assert len([line for line in here.lines if "request:" in line]) == 6


def test_a_proxied_websocket_has_its_line_when_it_has_ended(server):
    behind = server()
    here = server(f"route=^/there http:{behind.host_header}")
    client = RawClient.upgrade(here, "/there")
    client.send_text("x" * 1000)
    client.read_data()
    assert not [line for line in here.lines if "request:" in line]
    client.send_close(1000)
    client.read_close()
    client.close()
    # The echo with its head of four bytes, and the Close.
    assert " 101, 1008 bytes in " in line_of(here, "/there")


def test_lines_come_from_http_2_tls_and_the_uwsgi_protocol_alike(server, tmp_path, pair: Pair, trusting):
    (tmp_path / "page.txt").write_text("x" * 100_000)
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--https", f"127.0.0.1:0,{pair.https}")
    here = server("route=^/no return:403", more=("--static-map", f"/files={tmp_path}"), listen=listen)
    with Http2Client.connect(here) as client:
        for path, size in (("/no?h2", 9), ("/files/page.txt?h2", 100_000)):
            assert len(client.request(path).body()) == size
    with RawClient(certificates.connect(here, trusting, listener=2)) as client:
        client.send_bytes(request(here, "/files/page.txt?tls", "Connection: close"))
        assert len(read_answer(client).body) == 100_000
    ask(here, packet(variables("/no?uwsgi")), listener=1)
    here.wait_for_line(r'request: 127\.0\.0\.1 "GET /no\?h2 HTTP/2" 403, 9 bytes in ')
    here.wait_for_line(r'request: 127\.0\.0\.1 "GET /files/page\.txt\?h2 HTTP/2" 200, 100000 bytes in ')
    here.wait_for_line(r'request: 127\.0\.0\.1 "GET /files/page\.txt\?tls HTTP/1\.1" 200, 100000 bytes in ')
    here.wait_for_line(r'request: 192\.0\.2\.\d+ "GET /no\?uwsgi HTTP/1\.1" 403, 9 bytes in ')


def test_nothing_that_a_client_sends_forges_a_line_and_disable_logging_has_none(server):
    here = server("route-run=return:403", listen=("--socket", "127.0.0.1:0"))
    ask(here, packet(variables('/"\xff\\')))
    here.wait_for_line(r'"GET /\\"\\xff\\\\ HTTP/1.1" 403')
    silent = server("route=^/no return:403", "final-route-run=log:over", more=("--disable-logging",))
    assert fetch(silent, "/no").status == 403
    silent.wait_for_line(": over$")
    assert not [line for line in silent.lines if "request:" in line]


def test_lines_that_a_flood_has_lost_are_counted(tmp_path):
    switch = tmp_path / "switch"
    switch.write_bytes(b"\0")
    count = 10_000  # more than wait for an interpreter that the application holds
    with Server.start("holding.py", *DEFAULT.options, "--route", "^/no return:403") as here:
        holder = RawClient(here.connect())
        holder.send_bytes(request(here, f"/?{switch}"))
        here.wait_for_line("holding")
        with RawClient(here.connect()) as client:
            for _ in range(count // 100):
                client.send_bytes(request(here, "/no") * 100)
                for _ in range(100):
                    assert read_answer(client).status == 403
        with switch.open("r+b") as file:
            file.write(b"\1")
        missing = int(here.wait_for_line(r"warning: (\d+) lines of the log are missing")[1])
        assert read_answer(holder).status == 200
        holder.close()
        here.wait_for_lines('"GET /no HTTP/1.1" 403', count - missing)


# -- the idle limit


def test_a_silent_tunnel_is_closed_when_an_idle_limit_is_set(server):
    behind = server(more=("--websockets-ping-freq", "0"))
    here = server(f"route=^/there http:{behind.host_header}", more=("--route-idle-timeout", "1"))
    client = RawClient.upgrade(here, "/there")
    client.send_text("first")
    assert client.read_data().payload == b"first"
    assert client.read_rest() == b""
    client.close()
    here.wait_for_line("the http server at .*: a proxied connection was silent for 1 s and is closed")


def test_pings_of_the_server_behind_keep_a_tunnel_open(server):
    behind = server(more=("--websockets-ping-freq", "0.3", "--websockets-pong-tolerance", "20"))
    here = server(f"route=^/there http:{behind.host_header}", more=("--route-idle-timeout", "2"))
    client = RawClient.upgrade(here, "/there")
    # Pings, and pongs unasked: a few seconds of them.
    for _ in range(25):
        came = client.read_frame()
        if came.opcode == 9:
            client.send(10, came.payload)
        else:
            assert came.opcode == 10
    client.send_text("still here")
    assert client.read_data().payload == b"still here"
    client.close()


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("error-route-run=http:127.0.0.1:1", "no meaning once there is a response"),
        ("final-route-run=addheader:X: y", "no meaning once the response has gone out"),
        ("final-route=^/ nosuch:x", "there is no action"),
        ("error-route=( last:", "regular expression"),
        ("final-route-run=log:${uwsgi[moon]}", r"is not known.*uwsgi\[uuid\]"),
        ("route-idle-timeout=-1", "--route-idle-timeout was given '-1'"),
    ],
)
def test_what_cannot_be_stops_the_start_with_a_sentence(option, why):
    server = Server.launch("--wsgi-file", str(APPS / "routed.py"), "--http", "127.0.0.1:0", f"--{option}")
    assert server.wait_for_end() != 0
    server.wait_for_line(why)
