"""The uwsgi protocol end to end (compat §6): what the application sees, what the wire
says, WebSockets behind a packet, and what is refused.

The client is `support/uwsgi_client.py`, which sends what nginx's `uwsgi_pass` sends.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import Answer, get, read_answer
from support import uwsgi_client
from support.raw_client import BINARY, CLOSE, PING, PONG, TEXT, Frame, RawClient, close_payload, fragments, frame
from support.runners import every_read_path
from support.server import Server
from support.uwsgi_client import ask, handshake, packet, variables

SOCKET = ("--socket", "127.0.0.1:0")


@pytest.fixture(scope="session")
def pages(serve: Callable[..., Server]) -> Server:
    return serve("responses.py", listen=SOCKET)


@pytest.fixture(scope="session")
def sockets(serve: Callable[..., Server]) -> Server:
    return serve("sockets.py", listen=SOCKET)


@pytest.fixture
def dial() -> Iterator[Callable[..., RawClient]]:
    """`uwsgi_client.upgrade`, with clients that are closed after the test."""
    clients: list[RawClient] = []

    def connect(server: Server, path: str, *more: tuple[str, str], **how: Any) -> RawClient:
        clients.append(uwsgi_client.upgrade(server, path, *more, **how))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def answer(server: Server, data: bytes, method: str = "GET", listener: int = 0) -> Answer:
    """The response, behind which the connection has to end."""
    with RawClient(server.connect(listener)) as client:
        client.send_bytes(data)
        found = read_answer(client, method)
        assert client.read_rest() == b"", "one request per connection"
        return found


def environ_of(server: Server, *more: tuple[str, str], modifier1: int = 0, listener: int = 0) -> dict[str, Any]:
    found = answer(server, packet(variables("/environ?a=b", *more), modifier1=modifier1), listener=listener)
    assert found.status == 200, found
    return {key: value for key, (_, value) in json.loads(found.body).items()}


# -- what the application sees


def test_the_environ_is_the_packet_and_what_the_server_says_of_itself(pages: Server) -> None:
    sent = dict(variables("/environ?a=b", ("HTTP_X_ONE", "1"), ("MY_OWN", "é")))
    found = environ_of(pages, ("HTTP_X_ONE", "1"), ("MY_OWN", "é"))
    ours = {key for key in found if "." in key}
    assert {key: value for key, value in found.items() if key not in ours} == sent
    assert {"wsgi.input", "wsgi.errors", "uwsgi.version", "fairlead.request"} <= ours
    assert "UWSGI_ROUTER" not in found and "SCRIPT_NAME" not in found


def test_the_last_of_repeated_variables_counts_and_empty_ones_stay(pages: Server) -> None:
    found = environ_of(pages, ("HTTP_X", "1"), ("HTTP_X", ""), ("EMPTY", ""))
    assert (found["HTTP_X"], found["EMPTY"], found["CONTENT_LENGTH"]) == ("", "", "")


@pytest.mark.parametrize(
    ("more", "scheme"),
    [
        ((), "http"), ((("HTTPS", "on"),), "https"), ((("HTTPS", ""), ("REQUEST_SCHEME", "https")), "https"),
        ((("UWSGI_SCHEME", "https"),), "https"), ((("HTTP_X_FORWARDED_PROTO", "https"),), "http"),
    ],
)  # fmt: skip
def test_the_scheme_is_the_proxys_word(pages: Server, more: tuple[tuple[str, str], ...], scheme: str) -> None:
    assert environ_of(pages, *more)["wsgi.url_scheme"] == scheme


def test_a_packet_cannot_say_what_the_server_says_of_itself(pages: Server) -> None:
    names = ("wsgi.version", "uwsgi.version", "wsgi.input_terminated", "fairlead.request", "x-wsgiorg.fdevent.timeout")
    found = environ_of(pages, *((name, "forged") for name in names), ("my.own", "x"))
    assert "forged" not in found.values() and found["my.own"] == "x"


def test_without_a_path_there_is_an_empty_one(sockets: Server) -> None:
    found = answer(sockets, packet([("REQUEST_METHOD", "GET"), ("UWSGI_APPID", "")]))
    assert (found.head.version, found.body) == ("HTTP/1.0", b"no such page\n"), "said by the application"


def test_modifier_30_takes_script_name_off_the_path(pages: Server) -> None:
    def paths(modifier1: int) -> tuple[str, str]:
        more = (("SCRIPT_NAME", "/app"), ("PATH_INFO", "/app/environ"))
        body = answer(pages, packet(variables("/app/environ", *more), modifier1=modifier1)).body
        found = json.loads(body)
        return found["SCRIPT_NAME"][1], found["PATH_INFO"][1]

    assert paths(30) == ("/app", "/environ")


def test_appid_chooses_a_mounted_application(start: Callable[..., Server], tmp_path: Path) -> None:
    app = tmp_path / "other.py"
    app.write_text("def application(e, s):\n    s('200 OK', [])\n    return [b'other']\n")
    server = start("responses.py", "--mount", f"/other={app}", listen=SOCKET)
    assert answer(server, packet(variables("/hello"))).body == b"hello\n"
    assert answer(server, packet(variables("/other/x"))).body == b"other"
    assert answer(server, packet(variables("/hello", ("UWSGI_APPID", "/other")))).body == b"other"


def test_an_origin_with_the_port_that_the_proxy_left_out_is_the_same(
    sockets: Server, dial: Callable[..., RawClient]
) -> None:
    """Debian's uwsgi_params send nginx's $host, which has no port."""
    dial(sockets, "/echo", ("HTTP_HOST", "front.example"), ("HTTP_ORIGIN", "http://front.example:8099"))


# -- bodies and responses


@every_read_path
@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
def test_a_body_has_its_content_length(pages: Server, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    sent = variables("/body", ("CONTENT_LENGTH", str(size)), ("HTTP_EXPECT", "100-continue"), method="POST")
    assert answer(pages, packet(sent) + body[:size]).body == body[:size]


@every_read_path
def test_a_body_that_breaks_off_is_an_error(pages: Server) -> None:
    with RawClient(pages.connect()) as client:
        client.send_bytes(packet(variables("/body", ("CONTENT_LENGTH", "10"), method="POST")) + b"short")
    pages.wait_for_line("the client has left before the end of its body")


def test_an_unread_body_harms_no_response(pages: Server) -> None:
    sent = variables("/body_ignored", ("CONTENT_LENGTH", "1000000"), method="POST")
    assert answer(pages, packet(sent) + b"x" * 1_000_000).status == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(("path", "body"), [("/generator", b"0,1,2,3,4,"), ("/write", b"written, twice, returned")])
def test_a_body_without_length_ends_with_the_connection(pages: Server, path: str, body: bytes, version: str) -> None:
    found = answer(pages, packet(variables(path, version=version)))
    assert (found.framing, found.body, found.head.version) == ("close", body, f"HTTP/{version}")
    assert found.header("Transfer-Encoding") is None


@every_read_path
def test_a_large_response_is_whole(pages: Server, token: str) -> None:
    found = answer(pages, packet(variables(f"/large?{token}&20000000")))
    assert (len(found.body), found.framing) == (20_000_000, "length")
    assert pages.note(token) == {"sent": 20_000_000}


def test_head_has_no_body(pages: Server) -> None:
    found = answer(pages, packet(variables("/hello", method="HEAD")), "HEAD")
    assert (found.status, found.header("Content-Length")) == (200, "6")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "404 Gone Fishing"])
def test_any_status_comes_through(pages: Server, status: str) -> None:
    found = answer(pages, packet(variables(f"/status?t&{status.replace(' ', '+')}")))
    assert f"{found.head.status} {found.head.reason}" == status
    assert found.body == (b"a body" if status.startswith("404") else b"")


@every_read_path
def test_a_file_is_sent_whole(serve: Callable[..., Server], tmp_path: Path, token: str) -> None:
    server = serve("files.py", listen=SOCKET)
    content = bytes(range(251)) * 20_000
    (tmp_path / "file").write_bytes(content)
    found = answer(server, packet(variables(f"/wrapped?{token}&{tmp_path / 'file'}")))
    assert found.body == content and found.head.version == "HTTP/1.1"
    assert server.note(token)["closed"]


# -- WebSockets


@every_read_path
@pytest.mark.parametrize("app", ["sockets.py", "echo_uwsgi.py"])
def test_text_binary_empty_and_large_messages_come_back(
    serve: Callable[..., Server], dial: Callable[..., RawClient], app: str
) -> None:
    client = dial(serve(app, listen=SOCKET), "/echo")
    assert client.response.version == "HTTP/1.1"
    for size in (0, 1, 125, 126, 65_535, 65_536, 2**20):
        client.send_text(b"x" * size)
        assert client.read_data().payload == b"x" * size
        client.send(BINARY, b"y" * size)
        assert client.read_data().payload == b"y" * size
    for part in fragments(TEXT, [b"one ", b"two ", b"three"]):
        client.send_bytes(part)
    assert client.read_data().payload == b"one two three"
    client.send(PING, b"payload")
    assert client.read_frame() == Frame(PONG, b"payload")
    client.close_in_order(4001)


def test_types_are_kept(sockets: Server, dial: Callable[..., RawClient]) -> None:
    client = dial(sockets, "/echo")
    client.send_text("é")
    client.send(BINARY, b"\x00\xff")
    assert [client.read_data(), client.read_data()] == [Frame(TEXT, "é".encode()), Frame(BINARY, b"\x00\xff")]


@every_read_path
def test_frames_behind_the_packet_belong_to_the_stream(sockets: Server, dial: Callable[..., RawClient]) -> None:
    behind = frame(TEXT, b"first") + frame(BINARY, b"x" * 100_000) + frame(PING, b"p") + frame(TEXT, b"last")
    client = dial(sockets, "/echo", behind=behind)
    assert client.read_frame().payload in (b"first", b"p"), "a pong does not wait for the application"
    found = [client.read_frame().payload for _ in range(3)]
    assert found[-1] == b"last" and b"x" * 100_000 in found


def test_a_handshake_octet_by_octet(sockets: Server) -> None:
    with RawClient(sockets.connect()) as client:
        client.send_octets(packet(handshake("/echo")) + frame(TEXT, b"hello"))
        assert client.read_response().status == 101
        assert client.read_data() == Frame(TEXT, b"hello")


@every_read_path
def test_close_codes_go_both_ways(sockets: Server, dial: Callable[..., RawClient], token: str) -> None:
    client = dial(sockets, f"/closes?{token}&4002,why")
    assert client.read_frame() == Frame(CLOSE, close_payload(4002, b"why"))
    client.send_close(4002)
    client.read_end()
    client = dial(sockets, "/raises")
    client.send_text("now")
    assert client.read_close()[0] == 1011


def test_a_frame_that_breaks_a_rule_closes_with_its_code(sockets: Server, dial: Callable[..., RawClient]) -> None:
    client = dial(sockets, "/echo")
    client.send(TEXT, b"unmasked", mask=None)
    client.expect_failure(1002)


def test_the_origin_is_compared_with_the_host_and_scheme_of_the_packet(
    sockets: Server, dial: Callable[..., RawClient]
) -> None:
    dial(sockets, "/echo", ("HTTP_ORIGIN", "http://front.example:8099"))
    dial(sockets, "/echo", ("HTTP_ORIGIN", "https://front.example:8099"), ("HTTPS", "on"))
    refused = answer(sockets, packet(handshake("/echo", ("HTTP_ORIGIN", "http://evil.example"))))
    assert (refused.status, refused.head.version) == (403, "HTTP/1.1")
    sockets.wait_for_line("192.0.2.7:4711 /echo.*evil.example")


def test_subprotocols_are_chosen_from_the_packet(sockets: Server, dial: Callable[..., RawClient]) -> None:
    client = dial(sockets, "/speaks", ("HTTP_SEC_WEBSOCKET_PROTOCOL", "chat.v1, other"))
    assert client.response.header("Sec-WebSocket-Protocol") == "chat.v1"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ((("HTTP_SEC_WEBSOCKET_VERSION", "12"),), 426), ((("HTTP_SEC_WEBSOCKET_KEY", "short"),), 400),
        ((("SERVER_PROTOCOL", "HTTP/1.0"),), 505), ((("CONTENT_LENGTH", "1"),), 400),
    ],
)  # fmt: skip
def test_a_bad_handshake_is_refused(sockets: Server, more: tuple[tuple[str, str], ...], status: int) -> None:
    assert answer(sockets, packet(handshake("/echo", *more)) + b"x").status == status


# -- the listeners


def test_http_and_the_uwsgi_protocol_are_served_by_the_same_workers(
    start: Callable[..., Server], dial: Callable[..., RawClient]
) -> None:
    server = start("sockets.py", listen=("--http", "127.0.0.1:0", *SOCKET, "--uwsgi-socket", "127.0.0.1:0"))
    places = server.wait_for_line("serving .* at (.*) — ")[1]
    assert [place.partition(":")[0] for place in places.split(" and ")] == ["http", "uwsgi", "uwsgi"]
    pid = get(server, "/pid").body
    assert answer(server, packet(variables("/pid")), listener=1).body == pid
    assert answer(server, packet(variables("/pid")), listener=2).body == pid
    client = dial(server, "/echo", listener=1)
    with RawClient.upgrade(server, "/echo") as other:
        for one in (client, other):
            one.send_text("hello")
            assert one.read_data().payload == b"hello"


def test_the_ports_of_http_do_not_make_a_packet_look_routed(start: Callable[..., Server]) -> None:
    server = start("responses.py", listen=("--http", "127.0.0.1:0", *SOCKET))
    found = environ_of(server, ("SERVER_PORT", str(server.address[1])), listener=1)
    assert "UWSGI_ROUTER" not in found and found["REMOTE_PORT"] == "4711"


def test_protocol_http_makes_socket_another_http_socket(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--protocol", "http", listen=("-s", "127.0.0.1:0", "--uwsgi-socket", "127.0.0.1:0"))
    assert get(server, "/hello").body == b"hello\n"
    assert "UWSGI_ROUTER" not in json.loads(get(server, "/environ").body)
    assert answer(server, packet(variables("/hello")), listener=1).body == b"hello\n"


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_unix_sockets_speak_it_too(
    start: Callable[..., Server], dial: Callable[..., RawClient], tmp_path: Path, kind: str
) -> None:
    address = str(tmp_path / "app.sock") if kind == "path" else f"@{tmp_path}"
    server = start("sockets.py", "--chmod-socket=600", listen=("--http", "127.0.0.1:0", "--socket", address))
    assert f"unix:{address} (uwsgi)" in server.wait_for_line("serving .* at (.*) — ")[1]
    if kind == "path":
        assert (tmp_path / "app.sock").stat().st_mode & 0o777 == 0o600
    else:
        server.addresses[1] = "\0" + address[1:]
    assert answer(server, packet(variables("/pid")), listener=1).body.isdigit()
    client = dial(server, "/echo", listener=1)
    client.send_text("hello")
    assert client.read_data() == Frame(TEXT, b"hello")


def test_several_processes_share_the_connections(start: Callable[..., Server], dial: Callable[..., RawClient]) -> None:
    server = start("sockets.py", "--processes", "3", listen=SOCKET)
    clients = [dial(server, "/worker") for _ in range(60)]
    pids = [client.read_data().payload for client in clients]
    assert len(set(pids)) == 3, "each process serves some"
    for client in clients:
        client.send_text("hello")
        assert client.read_data().payload == b"hello"


@every_read_path
@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 1012), (signal.SIGTERM, 1001)])
def test_a_reload_and_a_stop_close_in_order(
    start: Callable[..., Server], dial: Callable[..., RawClient], number: int, code: int
) -> None:
    server = start("sockets.py", listen=SOCKET)
    before = answer(server, packet(variables("/pid"))).body
    client = dial(server, "/echo")
    server.signal(number)
    assert client.read_close()[0] == code
    client.send_close(code)
    client.read_end()
    if number == signal.SIGHUP:
        assert answer(server, packet(variables("/pid"))).body != before


# -- what is no request


def test_a_ping_is_answered(pages: Server) -> None:
    assert ask(pages, packet(modifier1=100)) == packet(modifier1=100, modifier2=1)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (packet(modifier1=0), r"Empty python request\. skip\."),
        (packet(variables(), modifier1=5), "modifier1 5 and modifier2 0 came, which is not served"),
        (packet(size=40_000), r"invalid request block size: 40000 \(max 32768\)\.\.\.skip; raise --buffer-size"),
        (packet([("K", "")] * 257), r"max vec size reached\. skip this var\..* raise --max-vars"),
        (packet([("", "x")]), "variable number 1 has a key of length 0"),
        (b"\0\x04\0\0\xff\xffab", "the key of the packet's variable number 1 is said to have 65535 bytes"),
        (b"\x16\x03\x01\x02\0\x01", "a TLS handshake came where the uwsgi protocol is spoken; --http"),
    ],
)
def test_what_is_no_packet_is_closed_with_a_line(pages: Server, data: bytes, line: str) -> None:
    since = pages.mark()
    assert ask(pages, data) == b""
    pages.wait_for_line(f"127.0.0.1:[0-9]+: .*{line}", since)
    assert answer(pages, packet(variables("/hello"))).status == 200


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "an HTTP request came where the uwsgi protocol is spoken; --http"),
        (packet([("PATH_INFO", "/")]), "the packet has no REQUEST_METHOD"),
        (packet(variables("/", ("CONTENT_LENGTH", "-5"))), 'CONTENT_LENGTH "-5" is no number of bytes'),
        (packet(variables("/", ("REQUEST_URI", "/\nforged"))), "control byte"),
    ],
)
def test_what_is_no_request_gets_400_and_a_line(pages: Server, data: bytes, line: str) -> None:
    since = pages.mark()
    assert ask(pages, data).startswith(b"HTTP/1.0 400 Bad Request\r\n")
    pages.wait_for_line(line, since)


def test_a_packet_that_breaks_off_is_given_up(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--http-headers-timeout", "1", listen=SOCKET)
    assert ask(server, packet(variables("/hello"))[:50]) == b""
    server.wait_for_line("a uwsgi packet was not complete in time; closed after 50 bytes of it")
    with RawClient(server.connect()) as client:
        client.send_bytes(packet(variables("/hello"))[:60])
    server.wait_for_line("a uwsgi packet ended after 60 bytes, before it was complete")


def test_limits_are_the_operators(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--max-vars", "20", "--buffer-size", "600", listen=SOCKET)
    few = [("HTTP_A", "1")] * 6
    assert answer(server, packet(variables("/hello", *few))).status == 200
    assert ask(server, packet(variables("/hello", *few, ("HTTP_A", "1")))) == b""
    server.wait_for_line("more than 20 variables")
    assert ask(server, packet(variables("/hello", ("HTTP_A", "x" * 600)))) == b""
    server.wait_for_line(r"\(max 600\)")
