"""HTTP/2 where a client asks too much: floods, broken frames, silence; and the end of a server.

A flood ends its connection with ENHANCE_YOUR_CALM and one line in the log, and no other connection notices. What the
package h2 would not send goes out as bytes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from support.http2_client import Http2Client
from support.runners import every_read_path
from support.server import Server

ENHANCE_YOUR_CALM, PROTOCOL_ERROR = 11, 1


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("responses.py")


@pytest.fixture
def client(server: Server) -> Iterator[Http2Client]:
    with Http2Client.connect(server) as client:
        yield client


def is_well(server: Server) -> None:
    """Another connection is served as ever."""
    with Http2Client.connect(server) as other:
        assert other.request("/hello").body() == b"hello\n"


# -- limits


def header_block(client: Http2Client, *extra: tuple[str, str]) -> bytes:
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", client.authority), (":path", "/hello")]
    return client.h2.encoder.encode([*pseudo, *extra])


def test_too_many_streams_at_once_are_refused(server: Server, client: Http2Client, token: str) -> None:
    client.read_until(lambda: client.has_settings)
    assert client.h2.remote_settings.max_concurrent_streams == 128
    assert client.h2.remote_settings.max_header_list_size == 32768
    waiting = [client.request(f"/stream?{token}", method="POST", end=False) for _ in range(128)]
    beyond = HeadersFrame(999, data=header_block(client), flags=["END_HEADERS", "END_STREAM"])
    since = server.mark()
    client.send_raw(beyond.serialize())
    server.wait_for_line("stream 999 was reset with REFUSED_STREAM", since)
    # All at once, as a browser does that leaves a page: no flood.
    for stream in waiting:
        stream.cancel()
    client.ping()
    assert client.terminated is None


def test_a_client_that_has_not_read_the_limit_yet_is_refused_and_served(client: Http2Client, token: str) -> None:
    client.read_until(lambda: client.has_settings)
    waiting = [client.request(f"/stream?{token}", method="POST", end=False) for _ in range(128)]
    beyond = [
        HeadersFrame(number, data=header_block(client), flags=["END_HEADERS", "END_STREAM"])
        for number in range(301, 1701, 2)
    ]
    client.send_raw(*(frame.serialize() for frame in beyond))
    client.ping()
    assert client.terminated is None
    for stream in waiting:
        stream.sendall(b"line\n", end=True)
    assert [stream.body() for stream in waiting] == [b"LINE\n"] * 128


def rapid_reset(client: Http2Client) -> Iterator[bytes]:
    for number in range(1, 2001, 2):
        yield HeadersFrame(number, data=header_block(client), flags=["END_HEADERS", "END_STREAM"]).serialize()
        yield RstStreamFrame(number, error_code=8).serialize()


def continuations(client: Http2Client) -> Iterator[bytes]:
    yield HeadersFrame(1, data=header_block(client), flags=["END_STREAM"]).serialize()
    for number in range(10_000):
        # Literals that are never indexed, so that each frame is of use.
        yield ContinuationFrame(1, data=b"\x10\x05x-%03d\x01v" % (number % 1000)).serialize()


def empty_data(client: Http2Client) -> Iterator[bytes]:
    yield HeadersFrame(1, data=header_block(client), flags=["END_HEADERS"]).serialize()
    for _ in range(10_000):
        yield DataFrame(1, b"").serialize()


def padding(client: Http2Client) -> Iterator[bytes]:
    yield HeadersFrame(1, data=header_block(client), flags=["END_HEADERS"]).serialize()
    for _ in range(10_000):
        yield DataFrame(1, b"", flags=["PADDED"], pad_length=1).serialize()


def made_to_reset(client: Http2Client) -> Iterator[bytes]:
    """CVE-2025-8671: the client breaks a rule of each stream, so that it is the server that resets them all."""
    for number in range(1, 4001, 2):
        yield HeadersFrame(number, data=header_block(client), flags=["END_HEADERS"]).serialize()
        yield WindowUpdateFrame(number, window_increment=2**31 - 1).serialize()


def malformed(client: Http2Client) -> Iterator[bytes]:
    for number in range(1, 4001, 2):
        block = header_block(client, ("X-Upper", "v"))
        yield HeadersFrame(number, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize()


def hpack_bomb(client: Http2Client) -> Iterator[bytes]:
    """CVE-2016-6581: a line of 4,000 bytes comes once, and then thousands of times by one byte."""
    line = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000
    for number in range(1, 2001, 2):
        block = header_block(client) + (line if number == 1 else b"") + b"\xbe" * 8000
        yield HeadersFrame(number, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize()


FLOODS: dict[str, Callable[[Http2Client], Iterator[bytes]]] = {
    "rapid reset": rapid_reset,
    "CONTINUATION": continuations,
    "empty CONTINUATION": lambda client: (
        HeadersFrame(1, data=header_block(client)).serialize() if number == 0 else ContinuationFrame(1).serialize()
        for number in range(10_000)
    ),
    "empty DATA": empty_data,
    "DATA of padding": padding,
    "made to reset": made_to_reset,
    "malformed": malformed,
    "HPACK": hpack_bomb,
    "unknown frames": lambda client: (b"\x00\x00\x04\xfe\x00\x00\x00\x00\x00rest" for _ in range(20_000)),
    "PING": lambda client: (PingFrame(0, b"12345678").serialize() for _ in range(20_000)),
    "SETTINGS": lambda client: (SettingsFrame(0, {4: 65_535}).serialize() for _ in range(20_000)),
    "PRIORITY": lambda client: (PriorityFrame(1, depends_on=0, stream_weight=1).serialize() for _ in range(20_000)),
    "WINDOW_UPDATE": lambda client: (WindowUpdateFrame(0, window_increment=1).serialize() for _ in range(20_000)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection_with_a_line_and_no_other(server: Server, name: str) -> None:
    since = server.mark()
    with Http2Client.connect(server) as bystander, Http2Client.connect(server) as client:
        assert bystander.request("/hello").status == 200
        client.read_until(lambda: client.has_settings)
        client.send_raw(*FLOODS[name](client))
        assert client.wait_for_goaway() == ENHANCE_YOUR_CALM
        client.wait_for_close()
        line = server.wait_for_line("the HTTP/2 connection was ended with", since).string
        assert re.search(r"127\.0\.0\.1:\d+: the HTTP/2 connection was ended with ENHANCE_YOUR_CALM: \S", line), line
        assert bystander.request("/hello").body() == b"hello\n"
    is_well(server)
    ends = [line for line in server.lines[since:] if "was ended with" in line]
    assert len(ends) == 1, "one line for the flood"


def test_requests_that_are_reset_one_after_the_other_are_a_flood_too(server: Server, token: str) -> None:
    """Each is accepted before it is reset, so that h2's own bound (20 in one batch) does not see it."""
    since = server.mark()
    with Http2Client.connect(server) as client:
        for _ in range(2000):
            stream = client.request(f"/stream?{token}", method="POST", end=False)
            client.ping()
            if client.terminated is not None:
                break
            stream.cancel()
        assert client.wait_for_goaway() == ENHANCE_YOUR_CALM
    # The budget is one: the frame that exceeds it may be a PING of this test.
    server.wait_for_line("ended with ENHANCE_YOUR_CALM: too many (RST_STREAM|PING) frames", since)
    is_well(server)


@pytest.mark.parametrize(
    "make",
    [
        lambda client: b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello",
        lambda client: HeadersFrame(1, data=b"\xff\xff\xff\xff\xff", flags=["END_HEADERS"]).serialize(),
        lambda client: b"\x00\x00\x04\x00\x00\x00\x00\x00\x00data",
        lambda client: DataFrame(7, b"data").serialize(),
        lambda client: RstStreamFrame(7, error_code=8).serialize(),
        lambda client: HeadersFrame(2, data=header_block(client), flags=["END_HEADERS", "END_STREAM"]).serialize(),
        lambda client: b"\x00\x00\x01\x01\x04\x00\x00\x00\x00\x82",
        lambda client: b"\x00\x00\x05\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02\x82",
        lambda client: b"\x00\x40\x01\x01\x05\x00\x00\x00\x01" + bytes(16_385),
        lambda client: ContinuationFrame(1, data=header_block(client), flags=["END_HEADERS"]).serialize(),
        lambda client: HeadersFrame(1, data=header_block(client)).serialize() + PingFrame(0, b"12345678").serialize(),
        lambda client: HeadersFrame(1, data=b"\x82\x3f\xe2\x1f", flags=["END_HEADERS"]).serialize(),
    ],
    ids=[
        "short PING",
        "no HPACK",
        "DATA on the connection",
        "DATA on an idle stream",
        "RST_STREAM on an idle stream",
        "a stream of the server's",
        "HEADERS on the connection",
        "PUSH_PROMISE",
        "a frame too large",
        "CONTINUATION of nothing",
        "a frame inside a block",
        "a table too large",
    ],
)
def test_broken_frames_end_the_connection_with_a_line(server: Server, make: Callable[[Http2Client], bytes]) -> None:
    since = server.mark()
    with Http2Client.connect(server) as client:
        client.send_raw(make(client))
        assert client.wait_for_goaway() != 0
    server.wait_for_line(r"ended with [A-Z_]+_ERROR", since)
    is_well(server)


# -- time and the end


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_client_that_says_nothing_more_is_told_to_go(start: Callable[..., Server], seconds: int) -> None:
    server = start("responses.py", f"--http-keepalive={seconds}")
    with Http2Client.connect(server) as client:
        assert client.request("/hello").body() == b"hello\n"
        client.wait_for_close()
        assert client.goaways == 1


def test_a_header_block_that_does_not_end_is_timed(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--http-headers-timeout", "1")
    with Http2Client.connect(server) as client:
        client.read_until(lambda: client.has_settings)
        client.send_raw(HeadersFrame(1, data=header_block(client), flags=["END_STREAM"]).serialize())
        client.wait_for_close()
    server.wait_for_line("a request head was not complete in time; the HTTP/2 connection ends")


@every_read_path
def test_a_body_that_stands_still_resets_its_stream_alone(start: Callable[..., Server], token: str) -> None:
    server = start("responses.py", "--http-timeout", "1")
    with Http2Client.connect(server) as client:
        stalled = client.request(f"/body?{token}", method="POST", end=False)
        busy = client.request(f"/stream?{token}", method="POST", end=False)
        for _ in range(8):
            busy.sendall(b"line" * 250 + b"\n")  # well above the minimum rate
            client.read_until(lambda: bool(busy.data) or busy.is_over)
            busy.recv(65536)
            if stalled.is_over:
                break
            client.socket.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                client.read_until(lambda: stalled.is_over)
            client.socket.settimeout(20)
        assert stalled.wait_for_end() == 8  # CANCEL
        assert not busy.is_over
        busy.sendall(b"more\n", end=True)
        assert b"MORE" in busy.body()


@every_read_path
def test_a_stop_lets_requests_finish(start: Callable[..., Server], token: str) -> None:
    server = start("responses.py")
    with Http2Client.connect(server) as client, Http2Client.connect(server) as idle:
        assert idle.request("/hello").body() == b"hello\n"
        stream = client.request(f"/stream?{token}", method="POST", end=False)
        stream.sendall(b"before\n")
        client.read_until(lambda: bool(stream.data) or stream.is_over)
        server.signal(15)
        client.read_until(lambda: client.goaways > 0)
        stream.sendall(b"after\n", end=True)
        assert b"AFTER" in stream.body()
        idle.wait_for_close()
        assert idle.goaways
        client.wait_for_close()
    assert server.wait_for_end() == 0
