"""Fairlead as a plain router (`--http-to`, compat §4.2): what comes to --http and --https goes to servers that speak
the uwsgi protocol, each in its turn, and needs no application here."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest
from end_to_end.http_wire import Answer, chunks, read_answer, request
from support import certificates
from support.backend import Backend, backend, exactly, read_packet
from support.http2_client import Http2Client
from support.raw_client import RawClient
from support.runners import DEFAULT
from support.server import APPS, Server
from websockets.sync.client import connect


@pytest.fixture
def router() -> Iterator[Callable[..., Server]]:
    """`router(*options)`: a server without an application, unless the options name one."""
    running = []

    def begin(*options: str, listen: tuple[str, ...] = ("--http", "127.0.0.1:0")) -> Server:
        running.append(Server.launch(*listen, *options))
        running[-1].wait_until_ready()
        return running[-1]

    yield begin
    for one in reversed(running):
        one.stop()


@pytest.fixture
def behind() -> Iterator[Server]:
    """The application, where the uwsgi protocol is spoken."""
    with Server.start("routed.py", *DEFAULT.options, listen=("--socket", "127.0.0.1:0")) as server:
        yield server


def place(server: Server) -> str:
    return f"{server.address[0]}:{server.address[1]}"


def fetch(server: Server, data: bytes, listener: int = 0) -> Answer:
    with RawClient(server.connect(listener)) as client:
        client.send_bytes(data)
        return read_answer(client)


def get(server: Server, path: str = "/", *lines: str, listener: int = 0) -> Answer:
    return fetch(server, request(server, path, *lines, "Connection: close"), listener)


def named(name: str) -> Callable[[socket.socket], None]:
    """A backend that answers with its name."""

    def serve(connection: socket.socket) -> None:
        read_packet(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + name.encode())

    return serve


def unused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_requests_go_by_the_uwsgi_protocol_with_the_router_s_variables_and_modifiers(router):
    packets = []

    def serve(connection: socket.socket) -> None:
        modifier1, modifier2, variables = read_packet(connection)
        told = dict(variables)
        assert len(told) == len(variables), "a variable came twice"
        packets.append((modifier1, modifier2, told))
        body = exactly(connection, int(told["CONTENT_LENGTH"] or 0))
        connection.sendall(b"HTTP/1.1 200 Fine\r\nX-Behind: yes\r\n\r\n" + body)

    with backend(serve) as other:
        here = router("--http-to", other.address, "--http-var", "PLACE=left = right", "--http-var", "HTTP_X_WORD=mine",
                      "--http-modifier1", "5", "--http-modifier2", "7")  # fmt: skip
        head = request(here, "/a%20b?q=1", "Content-Length: 4", "X-Word: theirs", "Connection: close", method="POST")
        answer = fetch(here, head + b"body")
        assert (answer.status, answer.head.reason, answer.header("X-Behind")) == (200, "Fine", "yes")
        assert answer.body == b"body"
        chunked = request(here, "/", "Transfer-Encoding: chunked", "Connection: close", method="POST")
        assert fetch(here, chunked + chunks(b"some", b"thing")).body == b"something"
    modifier1, modifier2, told = packets[0]
    assert (modifier1, modifier2) == (5, 7)
    for key, value in {
        "UWSGI_ROUTER": "http",
        "PLACE": "left = right",
        "HTTP_X_WORD": "mine",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/a%20b?q=1",
        "PATH_INFO": "/a b",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PORT": str(here.address[1]),
    }.items():
        assert told[key] == value, key
    assert told["REMOTE_PORT"].isdigit()


def test_servers_get_requests_in_turn(router):
    with backend(named("one")) as one, backend(named("two")) as two, backend(named("three")) as three:
        here = router("--http-to", one.address, "--http-to", two.address, "--http-to", three.address)
        answers = [get(here).body.decode() for _ in range(6)]
    assert sorted(answers[:3]) == ["one", "three", "two"]
    assert answers[:3] == answers[3:]


def test_a_server_that_is_not_there_is_left_out_and_comes_back(router):
    dead = unused()
    with backend(named("lives")) as other:
        here = router("--http-to", dead, "--http-to", other.address, "--http-gracetime", "1")
        assert [get(here).body for _ in range(4)] == [b"lives"] * 4
        here.wait_for_line(f"the uwsgi server at {dead}: cannot be reached: .*; left out for 1 s")
        host, port = dead.split(":")
        with socket.create_server((host, int(port))) as late:
            late.settimeout(0.05)
            # Not before its time has passed, and then by itself.
            for _ in range(400):
                client = RawClient(here.connect())
                client.send_bytes(request(here, "/", "Connection: close"))
                try:
                    taken, _ = late.accept()
                except TimeoutError:
                    assert read_answer(client).body == b"lives"
                    client.close()
                    continue
                with taken:
                    named("late")(taken)
                assert read_answer(client).body == b"late"
                client.close()
                break
            here.wait_for_line(f"the uwsgi server at {dead} is back")


def test_when_all_are_dead_the_client_gets_502_and_the_first_that_is_back_answers(router):
    first, second = unused(), unused()
    here = router("--http-to", first, "--http-to", second)
    for _ in range(2):
        assert get(here).status == 502
    here.wait_for_line("the uwsgi server at .*: cannot be reached")
    other = Backend(named("back"), port=int(second.split(":")[1]))
    try:
        assert get(here).body == b"back"
    finally:
        other.close()


def test_a_server_that_ends_without_an_answer_is_a_502(router):
    with backend(lambda connection: read_packet(connection) and None) as other:
        here = router("--http-to", other.address)
        assert get(here).status == 502


@pytest.fixture
def everywhere(router, behind, pair) -> Server:
    """Routes in front of it come first; the router has both listeners."""
    listen = ("--http", "127.0.0.1:0", "--https", f"127.0.0.1:0,{pair.https}")
    return router("--http-to", place(behind), "--route", "^/gone return:410", listen=listen)


def test_the_application_behind_sees_the_client_as_behind_uwsgi_s_router(everywhere):
    told = json.loads(get(everywhere, "/page?x=1").body)
    assert (told["UWSGI_ROUTER"], told["REMOTE_ADDR"], told["PATH_INFO"]) == ("http", "127.0.0.1", "/page")
    assert told["REMOTE_PORT"].isdigit()
    assert told["wsgi.url_scheme"] == "http"
    assert get(everywhere, "/missing").status == 404
    assert get(everywhere, "/gone").status == 410


def test_websockets_and_bodies_pass_over_http_1_and_2_with_tls(everywhere, trusting):
    with connect(everywhere.url("/ws"), max_size=None) as client:
        for message in ("text", b"binary", "x" * 300_000):
            client.send(message)
            assert client.recv() == message
    secure = RawClient(certificates.connect(everywhere, trusting, listener=1))
    secure.send_bytes(request(everywhere, "/page", "Connection: close"))
    assert json.loads(read_answer(secure).body)["wsgi.url_scheme"] == "https"
    secure.close()
    with Http2Client.connect(everywhere) as client:
        stream = client.request("/body", method="POST", body=b"b" * 100_000)
        assert (stream.status, stream.body()) == (200, b"b" * 100_000)
        socket_in_stream = client.websocket("/ws")
        socket_in_stream.send_text("inside")
        assert socket_in_stream.read_data().payload == b"inside"
        socket_in_stream.send_close(1000)
        assert socket_in_stream.read_close()[0] == 1000


def test_an_application_beside_it_is_served_at_its_own_addresses_only(router):
    with backend(named("behind")) as other:
        listen = ("--http", "127.0.0.1:0", "--http-socket", "127.0.0.1:0")
        here = router("--http-to", other.address, "--wsgi-file", str(APPS / "routed.py"), listen=listen)
        assert get(here).body == b"behind"
        told = json.loads(get(here, listener=1).body)
        assert "UWSGI_ROUTER" not in told


def test_an_application_that_nothing_leads_to_is_named_at_the_start(router):
    here = router("--http-to", "127.0.0.1:9", "--wsgi-file", str(APPS / "routed.py"))
    here.wait_for_line(r"warning: --http-to takes all .* nothing leads to .*routed\.py")


def test_variables_of_the_router_reach_the_workers_behind_it_here(router):
    listen = ("--http", "127.0.0.1:0", "--http-socket", "127.0.0.1:0")
    app = ("--wsgi-file", str(APPS / "routed.py"), *DEFAULT.options)
    here = router(*app, "--http-var", "PLACE=here", "--route-if", "equal:${PLACE};here addvar:SEEN=yes", listen=listen)
    told = json.loads(get(here, "/").body)
    assert (told["PLACE"], told["SEEN"]) == ("here", "yes")
    assert "PLACE" not in json.loads(get(here, "/", listener=1).body)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--http-to", "somewhere:x"), "--http-to was given 'somewhere:x'"),
        (("--http-to", "127.0.0.1:0"), "nobody listens at port 0"),
        (("--http-to", "127.0.0.1:1", "--http-gracetime", "-1"), "--http-gracetime was given '-1'"),
        (("--http-to", "127.0.0.1:1", "--http-modifier1", "256"), "--http-modifier1 was given '256'"),
        (("--http-to", "127.0.0.1:1", "--http-var", "NAME"), "--http-var was given 'NAME'"),
        (("--http-to", "127.0.0.1:1", "--socket", "127.0.0.1:0"), "there is no application for the other addresses"),
    ],
)
def test_what_cannot_be_stops_the_start_with_a_sentence(options, why):
    server = Server.launch("--http", "127.0.0.1:0", *options)
    assert server.wait_for_end() == 2
    server.wait_for_line(why)


def test_a_router_without_a_listener_of_its_own_is_refused():
    server = Server.launch("--http-socket", "127.0.0.1:0", "--http-to", "127.0.0.1:1", "--wsgi-file",
                           str(APPS / "routed.py"))  # fmt: skip
    assert server.wait_for_end() == 2
    server.wait_for_line("--http-to is for --http and --https, and there is neither")
