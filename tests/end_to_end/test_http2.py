"""HTTP/2 with prior knowledge: requests and responses as over HTTP/1.1, and many at once.

The client is the package h2 (support/http2_client.py). Limits and floods are in test_http2_limits.py, the rules that
need no application in crates/front/tests/http2.rs.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.http_wire import get
from support.http2_client import Http2Client, Stream
from support.runners import every_read_path, every_runner
from support.server import Server

ENHANCE_YOUR_CALM, PROTOCOL_ERROR = 11, 1


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("responses.py")


@pytest.fixture
def client(server: Server) -> Iterator[Http2Client]:
    with Http2Client.connect(server) as client:
        yield client


def environ(stream: Stream) -> dict[str, str]:
    return {name: value for name, (kind, value) in json.loads(stream.body()).items() if kind == "str"}


# -- requests


def test_an_application_sees_a_request_as_over_http_1_1(client: Http2Client, token: str) -> None:
    seen = environ(
        client.request(
            f"/environ/a%20b?{token}",
            headers=[("x-one", "1"), ("x-one", "2"), ("cookie", "a=b"), ("cookie", "c=d"), ("te", "trailers")],
        )
    )
    expected = {
        "REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/2", "REQUEST_URI": f"/environ/a%20b?{token}",
        "PATH_INFO": "/environ/a b", "QUERY_STRING": token, "HTTP_HOST": client.authority, "HTTP_X_ONE": "1, 2",
        "HTTP_COOKIE": "a=b; c=d", "HTTP_TE": "trailers", "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http",
    }  # fmt: skip
    assert {name: seen.get(name) for name in expected} == expected
    assert not any("AUTHORITY" in name or ":" in name for name in seen)


def test_a_host_header_stands_in_for_the_authority(client: Http2Client, token: str) -> None:
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", f"/environ?{token}")]
    assert environ(client.open([*pseudo, ("host", "example.org")]))["HTTP_HOST"] == "example.org"
    assert environ(client.open([*pseudo, (":authority", "example.org")]))["HTTP_HOST"] == "example.org"


def test_http_1_1_goes_on_as_before_on_the_same_port(server: Server) -> None:
    assert get(server, "/hello").body == b"hello\n"


def test_the_preface_is_known_however_it_is_cut(server: Server) -> None:
    for cut in (1, 3, 15, 18, 23, 24, 25):
        with server.connect() as connection, Http2Client(_Cut(connection, cut)) as client:  # type: ignore[arg-type]
            assert client.request("/hello").body() == b"hello\n", cut


class _Cut:
    """A socket whose first bytes go out in two writes, the second only when the first has surely been read: the
    server has answered nothing to it, so a request on another connection is waited for."""

    def __init__(self, connection, cut: int) -> None:
        self._connection = connection
        self._cut = cut

    def sendall(self, data: bytes) -> None:
        first, rest = data[: self._cut], data[self._cut :]
        self._cut = 2**30
        self._connection.sendall(first)
        if rest:
            other = http.client.HTTPConnection(*self._connection.getpeername())
            other.request("GET", "/hello")
            other.getresponse().read()
            other.close()
            self._connection.sendall(rest)

    def __getattr__(self, name: str):
        return getattr(self._connection, name)


def test_what_only_begins_like_the_preface_is_http_1_1(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"P")
        connection.sendall(b"OST /body?t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 200 "), answer


def test_it_can_be_turned_off(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--disable-http2")
    assert get(server, "/hello").body == b"hello\n"
    with Http2Client.connect(server) as client:
        client.wait_for_close()
    server.wait_for_line("a request was refused: .*HTTP2 preface")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(":method", "GET"), (":scheme", "http"), (":path", "/hello")], 400),
        ([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("host", "b")], 400),
        ([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a@b")], 400),
        ([(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "a")], 400),
        ([(":method", "GET"), (":scheme", "http"), (":path", "/hello#frag"), (":authority", "a")], 400),
        ([(":method", "CONNECT"), (":authority", "a:80")], 501),
    ],
    ids=["no host", "two hosts", "a user", "asterisk", "fragment", "connect"],
)
def test_a_request_that_breaks_a_rule_is_refused_with_a_line(
    server: Server, client: Http2Client, headers: list[tuple[str, str]], status: int
) -> None:
    # The second finds the first in the table of HPACK.
    for _ in range(2):
        since = server.mark()
        assert client.open(headers).status == status
        server.wait_for_line(rf"127\.0\.0\.1:\d+: a request was refused with {status}: ", since)
    assert client.request("/hello").status == 200, "the connection goes on"


@pytest.mark.parametrize(
    "extra",
    [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        (":status", "200"),
    ],
)
def test_a_header_that_http_2_forbids_resets_its_stream(
    server: Server, client: Http2Client, extra: tuple[str, str]
) -> None:
    since = server.mark()
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/hello")]
    lines = [*pseudo[:3], extra, pseudo[3]] if extra[0].startswith(":") else [*pseudo, extra]
    assert client.open(lines).wait_for_end() == PROTOCOL_ERROR
    server.wait_for_line("a request was refused: stream 1 breaks a rule of RFC 9113 §8", since)
    assert client.request("/hello").status == 200, "the connection goes on"


def test_a_header_list_beyond_the_limit_gets_431_and_a_line(server: Server, client: Http2Client) -> None:
    since = server.mark()
    assert client.request("/hello", headers=[("x-large", "v" * 30_000)]).status == 200
    assert client.request("/hello", headers=[("x-large", "v" * 40_000)]).status == 431
    server.wait_for_line("refused with 431: the header list of stream 3 is too long", since)
    many = [(f"x-{number}", "v") for number in range(101)]
    assert client.request("/hello", headers=many).status == 431
    server.wait_for_line("refused with 431: the request has 101 header lines; at most 100", since)
    assert client.request("/hello").status == 200, "the connection goes on"


def test_many_cookie_crumbs_are_one_header(client: Http2Client, token: str) -> None:
    crumbs = [("cookie", f"c{number}=v") for number in range(150)]
    assert environ(client.request(f"/environ?{token}", headers=crumbs))["HTTP_COOKIE"].count("; ") == 149


# -- bodies


@every_read_path
def test_a_body_is_read_with_and_without_a_length(client: Http2Client, token: str) -> None:
    body = os.urandom(1000)
    assert client.request(f"/body?{token}", method="POST", body=body).body() == body
    length = [("content-length", "1000")]
    assert client.request(f"/body?{token}", method="POST", headers=length, body=body).body() == body


def test_a_body_that_is_not_as_long_as_announced_resets_the_stream(client: Http2Client, token: str) -> None:
    for length in ("999", "1001"):
        stream = client.request(f"/body?{token}", method="POST", headers=[("content-length", length)], end=False)
        stream.sendall(bytes(1000), end=True)
        assert stream.wait_for_end() == PROTOCOL_ERROR, length
    assert client.request("/hello").status == 200


@every_read_path
def test_a_large_upload_passes_by_in_steps(client: Http2Client, token: str) -> None:
    stream = client.request(f"/body_length?{token}", method="POST", end=False)
    for _ in range(16):
        stream.sendall(bytes(2**20))
    stream.end()
    assert str(16 * 2**20).encode() in stream.body()


@every_read_path
def test_an_upload_that_nobody_reads_waits_and_holds_up_no_other_stream(
    server: Server, client: Http2Client, tmp_path: Path, token: str
) -> None:
    """The window of one stream fills, and the connection's has room for every other."""
    client.ping()
    streams = [client.request(f"/stream?{token}", method="POST", end=False) for _ in range(20)]
    for stream in streams:
        assert stream.client.h2.local_flow_control_window(stream.number) == 65_535
        # No line end: the application reads on; it takes what comes.
        stream.sendall(b"x" * 60_000)
    assert client.request("/hello").body() == b"hello\n"
    client.h2.increment_flow_control_window(2**22)
    for stream in streams:
        stream.sendall(b"\n", end=True)
        assert stream.body().startswith(b"X" * 60_000)


@every_read_path
def test_expect_100_continue_is_answered_when_the_application_reads(client: Http2Client, token: str) -> None:
    expect = [("expect", "100-continue"), ("content-length", "2")]
    stream = client.request(f"/body?{token}", method="POST", headers=expect, end=False)
    client.read_until(lambda: bool(stream.informational) or stream.is_over)
    assert stream.informational == ["100"]
    stream.sendall(b"hi", end=True)
    assert stream.body() == b"hi"
    ignored = client.request(f"/body_ignored?{token}", method="POST", headers=expect, end=False)
    assert ignored.status == 200 and not ignored.informational


def test_an_answer_before_the_end_of_the_body_arrives_and_stops_it(client: Http2Client, token: str) -> None:
    """RFC 9113 §8.1: a whole response, and behind it RST_STREAM with NO_ERROR. Who is refused has some time to end its
    body before that."""
    paths = ("/body_ignored?{token}", "/status?{token}&403+Forbidden", "/hello#fragment")
    streams = [client.request(path.format(token=token), method="POST", end=False) for path in paths]
    for stream, status in zip(streams, (200, 403, 400), strict=True):
        stream.sendall(bytes(30_000))
        assert stream.status == status
        assert stream.body()
    accepted, refused, wrong = streams
    client.read_until(lambda: accepted.reset_behind is not None)
    assert accepted.reset_behind == 0
    # More than a window, and its end.
    for _ in range(10):
        refused.sendall(bytes(16_000))
    refused.end()
    client.read_until(lambda: wrong.reset_behind is not None)
    assert (wrong.reset_behind, refused.reset_behind) == (0, None)
    assert client.request("/hello").body() == b"hello\n"


def test_trailers_are_ignored(client: Http2Client, token: str) -> None:
    stream = client.request(f"/body?{token}", method="POST", end=False)
    stream.sendall(b"body")
    client.h2.send_headers(stream.number, [("x-trailer", "v")], end_stream=True)
    client.flush()
    assert stream.body() == b"body"


@every_read_path
def test_a_client_that_resets_in_the_middle_of_its_body_is_gone(
    server: Server, client: Http2Client, token: str
) -> None:
    # Asked to go on, it knows that the application reads; one that leaves before that is never heard of.
    expect = [("expect", "100-continue"), ("content-length", "100")]
    stream = client.request(f"/body_broken?{token}", method="POST", headers=expect, end=False)
    client.read_until(lambda: bool(stream.informational))
    stream.sendall(b"half")
    stream.cancel()
    assert server.note(token)
    assert client.request("/hello").status == 200


# -- responses


def test_responses_are_as_over_http_1_1(server: Server, client: Http2Client, token: str) -> None:
    for path in ("/no_length", "/as_bytes", "/as_tuple", "/empty", "/generator", "/write", "/late_start"):
        stream = client.request(f"{path}?{token}")
        one = get(server, f"{path}?{token}")
        assert (stream.status, stream.body()) == (one.status, one.body), path
        assert stream.header("date")


def test_a_head_request_and_a_204_have_no_body(client: Http2Client, token: str) -> None:
    head = client.request("/hello", method="HEAD")
    assert (head.status, head.header("content-length"), head.body()) == (200, "6", b"")
    for status in ("204 No Content", "304 Not Modified"):
        stream = client.request(f"/status?{token}&{status.replace(' ', '+')}")
        assert (stream.status, stream.body()) == (int(status[:3]), b"")


def test_headers_that_http_2_forbids_are_left_out(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--add-header", "Connection: close", "--add-header", "Keep-Alive: 5",
                   "--add-header", "Upgrade: h2c", "--add-header", "X-Kept: yes")  # fmt: skip
    with Http2Client.connect(server) as client:
        stream = client.request("/hello")
        assert stream.body() == b"hello\n"
        assert stream.header("x-kept") == "yes"
        assert not {"connection", "keep-alive", "upgrade"} & {name for name, _ in stream.headers}
        assert client.request("/hello").status == 200, "the connection goes on"


def test_a_response_that_is_not_as_long_as_announced(server: Server, client: Http2Client, token: str) -> None:
    over_http_1 = get(server, f"/too_long?{token}")
    assert client.request(f"/too_long?{token}").body() == over_http_1.body
    short = client.request(f"/too_short?{token}")
    assert short.status == 200
    assert short.wait_for_end() is not None, "a reset: the client must know"
    broken = client.request(f"/raises_in_the_middle?{token}")
    assert broken.status == 200
    assert broken.wait_for_end() is not None
    assert broken.data, "what was written before arrives"
    assert client.request("/hello").status == 200


@every_read_path
def test_many_streams_are_served_at_once(client: Http2Client, token: str) -> None:
    streams = [client.request(f"/stream?{token}", method="POST", end=False) for _ in range(100)]
    for number, stream in reversed(list(enumerate(streams))):
        stream.sendall(f"line {number}\n".encode())
        client.read_until(lambda stream=stream: bool(stream.data) or stream.is_over)
        assert f"LINE {number}".encode() in stream.data
    for stream in streams:
        stream.end()
        stream.body()


@every_read_path
def test_a_large_download_is_whole_and_waits_for_a_client_that_does_not_read(
    server: Server, client: Http2Client, token: str
) -> None:
    size = 8 * 2**20
    slow = client.request(f"/large?{token}&{size}")
    assert slow.status == 200
    # The connection's window is the client's, 64 KiB for all: the slow stream may have it all.
    client.h2.increment_flow_control_window(2**20)
    client.flush()
    assert client.request("/hello").body() == b"hello\n"
    assert len(slow.data) <= 2**16
    digest = hashlib.sha256()
    while data := slow.recv(2**20):
        digest.update(data)
    expected = get(server, f"/large?{token}&{size}").body
    assert digest.digest() == hashlib.sha256(expected).digest()


@every_read_path
def test_a_file_is_sent_whole_and_a_part_of_it(serve: Callable[..., Server], tmp_path: Path, token: str) -> None:
    path = tmp_path / "file"
    content = os.urandom(3 * 2**20 + 7)
    path.write_bytes(content)
    with Http2Client.connect(serve("files.py")) as client:
        assert client.request(f"/wrapped?{token}&{path}").body() == content
        part = client.request(f"/wrapped?{token}&{path}+1000+200000")
        assert part.body() == content[1000:201000]


@every_runner
def test_requests_beyond_the_slots_wait_for_one(start: Callable[..., Server], runner, token: str) -> None:
    server = start("responses.py", *runner.with_slots(2))
    with Http2Client.connect(server) as client:
        # Room for all answers: the order in which they come is the server's.
        client.h2.increment_flow_control_window(2**22)
        streams = [client.request(f"/stream?{token}", method="POST", end=False) for _ in range(10)]
        # All bodies are there, and the two that are served first are not held up by those that wait.
        for number, stream in enumerate(streams):
            stream.sendall(f"line {number} ".encode() + b"x" * 60_000 + b"\n", end=True)
        for number, stream in enumerate(streams):
            assert stream.body().startswith(f"LINE {number} ".encode())


def test_a_client_may_go_on_writing_behind_the_last_response_of_a_stop(
    start: Callable[..., Server], socket_folder: str
) -> None:
    """It gives room until it has read all. A server that is gone by then resets the connection, and what was not read
    yet is lost with it."""
    path = f"{socket_folder}/stops.sock"
    server = start("responses.py", listen=("--http", "127.0.0.1:0", "--http", path))
    with Http2Client.connect(server, listener=1) as client:
        assert client.request("/hello").body() == b"hello\n"
        server.signal(signal.SIGTERM)
        client.wait_for_close()
        assert client.goaways
        for _ in range(3):
            client.socket.sendall(b"\0\0\4\x08\0\0\0\0\0" + (1000).to_bytes(4, "big"))  # WINDOW_UPDATE
    assert server.wait_for_end() == 0
