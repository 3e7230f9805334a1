"""HTTP/2 where one request is malformed (RFC 9113 §8.1.1): its stream is reset, and its neighbours go on.

Behind a proxy the streams of a connection belong to many clients, so none of them may end it for the others. How a
block is rewritten is tested beside `crates/front/src/http2/hpack.rs`; here is what a client sees of it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame
from support.http2_client import Http2Client, Stream
from support.server import Server

PROTOCOL_ERROR = 1

PSEUDO = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/hello")]


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve("responses.py")


@pytest.fixture
def client(server: Server) -> Iterator[Http2Client]:
    with Http2Client.connect(server) as client:
        yield client


def with_pseudo(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    return [(one, value if one == name else other) for one, other in PSEUDO]


MALFORMED: dict[str, list[tuple[bytes, bytes]]] = {
    "upper case": [*PSEUDO, (b"X-Upper", b"v")],
    "space in a name": [*PSEUDO, (b"x y", b"v")],
    "colon in a name": [*PSEUDO, (b"x:y", b"v")],
    "NUL in a name": [*PSEUDO, (b"x\0y", b"v")],
    "no ASCII in a name": [*PSEUDO, ("\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), b"v")],
    "NUL in a value": [*PSEUDO, (b"x-value", b"a\0b")],
    "CR LF in a value": [*PSEUDO, (b"x-value", b"a\r\nx-other: b")],
    "LF in a value": [*PSEUDO, (b"user-agent", b"a\nb")],
    "blank before a value": [*PSEUDO, (b"x-value", b" v")],
    "blank behind a value": [*PSEUDO, (b"x-value", b"v ")],
    "tab behind a value": [*PSEUDO, (b"user-agent", b"v\t")],
    "blank value": [*PSEUDO, (b"x-value", b" ")],
    "control in a value": [*PSEUDO, (b"cookie", b"a\x01b")],
    "unknown pseudo header": [*PSEUDO, (b":unknown", b"v")],
    "broken method": with_pseudo(b":method", b"GE T"),
    "no method": with_pseudo(b":method", b""),
    "no UTF-8 in the path": with_pseudo(b":path", b"/hello\xff"),
    "no UTF-8 in the authority": with_pseudo(b":authority", b"x\xff"),
    "broken status": [*PSEUDO[:1], (b":status", b"abc"), *PSEUDO[1:]],
    "space in the path": with_pseudo(b":path", b"/he llo"),
    "no path": with_pseudo(b":path", b""),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_request_resets_its_stream_and_no_neighbour(
    server: Server, client: Http2Client, token: str, kind: str
) -> None:
    neighbour = client.request(f"/stream?{token}", method="POST", end=False)
    since = server.mark()
    # The second finds the first in the table of HPACK.
    for _ in range(2):
        stream = client.open(MALFORMED[kind])  # type: ignore[arg-type]
        assert stream.wait_for_end() == PROTOCOL_ERROR, client.terminated
        server.wait_for_line(f"stream {stream.number} breaks a rule of RFC 9113 §8", since)
    neighbour.sendall(b"still here\n", end=True)
    assert neighbour.body() == b"STILL HERE\n"
    # And what both sides remember of headers is still the same.
    for number in range(3):
        headers = [("x-one", "1"), ("x-two", f"2{number}")]
        echoed = json.loads(client.request(f"/environ?{token}", headers=headers).body())
        assert (echoed["HTTP_X_ONE"][1], echoed["HTTP_X_TWO"][1]) == ("1", f"2{number}")


def test_both_sides_tables_stay_alike_over_hundreds_of_requests(client: Http2Client, token: str) -> None:
    """Lines come into the table of HPACK and fall out of it, good and malformed ones, and names are referred to."""
    pick = random.Random(7541)
    names = [f"x-{letter * 3}" for letter in "abcdefgh"]
    bad = [("X-Upper", "v"), (":odd", "v"), ("x-aaa", "a\0b"), ("x-bbb", "a\r\nb"), ("x y", ""), ("X", ""), ("", "v")]
    for _ in range(300):
        good = {name: chr(97 + pick.randrange(3)) * pick.randrange(200) for name in pick.sample(names, 4)}
        headers = list(good.items())
        is_malformed = pick.random() < 0.4
        if is_malformed:
            name, value = pick.choice(bad)
            headers.insert(pick.randrange(5), (name, value + "\0" * pick.randrange(2) * 20 + "x" * pick.randrange(300)))
        stream = client.request(f"/environ?{token}", headers=headers)
        if is_malformed:
            assert stream.wait_for_end() == PROTOCOL_ERROR, (headers, client.terminated)
            continue
        shown = json.loads(stream.body())
        for name in names:
            value = shown.get("HTTP_" + name.upper().replace("-", "_"), [None, None])[1]
            assert value == good.get(name)


@pytest.mark.parametrize("trailer", [(":path", "/other"), (":unknown", "v"), ("X-Upper", "v"), ("x-value", "a\0b")])
def test_malformed_trailers_reset_their_stream_and_no_neighbour(
    client: Http2Client, token: str, trailer: tuple[str, str]
) -> None:
    neighbour = client.request(f"/stream?{token}", method="POST", end=False)
    stream = client.request(f"/stream?{token}", method="POST", end=False)
    stream.sendall(b"first\n")
    client.read_until(lambda: bool(stream.data) or stream.is_over)
    block = client.h2.encoder.encode([("x-good", "v"), trailer])
    client.send_raw(HeadersFrame(stream.number, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize())
    assert stream.wait_for_end() == PROTOCOL_ERROR
    neighbour.sendall(b"still here\n", end=True)
    assert neighbour.body() == b"STILL HERE\n"


def test_a_malformed_block_may_come_in_parts_with_padding_and_priority(client: Http2Client, token: str) -> None:
    neighbour = client.request(f"/stream?{token}", method="POST", end=False)
    assert client.open(PSEUDO).status == 200  # type: ignore[arg-type]
    # The client's package has to know the stream; these lines are in its table already, so nothing is lost by not
    # sending them.
    number = client.h2.get_next_available_stream_id()
    stream = client.streams[number] = Stream(client, number)
    client.h2.send_headers(number, PSEUDO, end_stream=True)
    client.h2.data_to_send()
    block = client.h2.encoder.encode([*PSEUDO, (b"X-Upper", b"v" * 20_000), (b"x-last", b"v")])
    first = HeadersFrame(number, data=block[:40], flags=["END_STREAM", "PADDED", "PRIORITY"], pad_length=7)
    rest = [ContinuationFrame(number, data=block[at : at + 9_000]) for at in range(40, len(block), 9_000)]
    rest[-1].flags.add("END_HEADERS")
    wire = b"".join(frame.serialize() for frame in [first, *rest])
    for at in range(0, len(wire), 700):
        client.send_raw(wire[at : at + 700])
    assert stream.wait_for_end() == PROTOCOL_ERROR
    neighbour.sendall(b"still here\n", end=True)
    assert neighbour.body() == b"STILL HERE\n"
    assert client.request("/hello", headers=[("x-last", "v")]).body() == b"hello\n"


@pytest.mark.parametrize("line", [(b"connection", b"close"), (b"te", b"gzip"), (b"transfer-encoding", b"chunked")])
@pytest.mark.parametrize("missing", [0, 2])
def test_a_forbidden_header_in_a_block_of_two_frames_is_an_error_of_its_stream(
    client: Http2Client, token: str, line: tuple[bytes, bytes], missing: int
) -> None:
    """h2 by itself ends the connection where the line is whole in the first frame, and forgets it where it is not."""
    neighbour = client.request(f"/stream?{token}", method="POST", end=False)
    assert client.open(PSEUDO).status == 200  # type: ignore[arg-type]
    number = client.h2.get_next_available_stream_id()
    stream = client.streams[number] = Stream(client, number)
    client.h2.send_headers(number, PSEUDO, end_stream=True)
    client.h2.data_to_send()
    first = client.h2.encoder.encode([*PSEUDO, line, (b"x-between", b"v")])
    last = client.h2.encoder.encode([(b"x-last", b"v")])
    cut = len(first) - missing
    client.send_raw(
        HeadersFrame(number, data=first[:cut], flags=["END_STREAM"]).serialize(),
        ContinuationFrame(number, data=first[cut:] + last, flags=["END_HEADERS"]).serialize(),
    )
    assert stream.wait_for_end() == PROTOCOL_ERROR
    neighbour.sendall(b"still here\n", end=True)
    assert neighbour.body() == b"STILL HERE\n"


def test_a_stream_that_depends_on_itself_is_reset_and_its_headers_are_remembered(
    client: Http2Client, token: str
) -> None:
    """h2 by itself does not read the block of such a frame: from there on its table is not the client's."""
    assert client.open(PSEUDO).status == 200  # type: ignore[arg-type]
    number = client.h2.get_next_available_stream_id()
    stream = client.streams[number] = Stream(client, number)
    client.h2.send_headers(number, PSEUDO, end_stream=True)
    client.h2.data_to_send()
    block = client.h2.encoder.encode([*PSEUDO, (b"x-first", b"1"), (b"x-second", b"2")])
    flags = ["END_HEADERS", "END_STREAM", "PRIORITY"]
    client.send_raw(HeadersFrame(number, data=block, flags=flags, depends_on=number).serialize())
    assert stream.wait_for_end() == PROTOCOL_ERROR
    echoed = json.loads(client.request(f"/environ?{token}", headers=[("x-second", "2"), ("x-first", "1")]).body())
    assert (echoed["HTTP_X_FIRST"][1], echoed["HTTP_X_SECOND"][1]) == ("1", "2")


def test_malformed_requests_are_counted_by_time_and_not_for_ever(client: Http2Client, token: str) -> None:
    """h2 by itself ends a connection at the thousandth: behind a proxy one client could end it for all others."""
    neighbour = client.request(f"/stream?{token}", method="POST", end=False)
    for _ in range(60):
        streams = [client.open([*PSEUDO, (b"X-Upper", b"v")]) for _ in range(20)]  # type: ignore[list-item]
        assert [stream.wait_for_end() for stream in streams] == [PROTOCOL_ERROR] * 20
        for stream in [client.request("/hello") for _ in range(4)]:
            assert stream.body() == b"hello\n"
    neighbour.sendall(b"still here\n", end=True)
    assert neighbour.body() == b"STILL HERE\n"


def test_empty_data_frames_are_counted_by_time_and_not_for_ever(client: Http2Client, token: str) -> None:
    """h2 by itself ends a connection at the hundredth, however long that took."""
    stream = client.request(f"/body?{token}", method="POST", end=False)
    for number in range(5):
        client.send_raw(b"".join(DataFrame(stream.number, b"").serialize() for _ in range(150)))
        stream.sendall(b"%d" % number)
        client.ping()
    stream.end()
    assert stream.body() == b"01234"


@pytest.mark.parametrize("state", ["begun", "with its request", "answered", "over"])
def test_a_window_update_of_0_is_an_error_of_its_stream(
    server: Server, client: Http2Client, token: str, state: str
) -> None:
    """RFC 9113 §6.9. Of a stream that is over nothing has to be said (§5.1)."""
    since = server.mark()
    neighbour = client.request(f"/stream?{token}", method="POST", end=False)
    with client.in_one_write():
        stream = client.request(f"/stream?{token}", method="POST", end=state in ("with its request", "over"))
        update = b"\0\0\x04\x08\0" + stream.number.to_bytes(4, "big") + b"\0\0\0\0"
        if state == "with its request":
            client.send_raw(update)
    if state == "answered":
        stream.sendall(b"line\n")
        assert stream.recv(100) == b"LINE\n"
    elif state == "begun":
        client.ping()
    elif state == "over":
        stream.body()
    if state != "with its request":
        client.send_raw(update)
    if state == "over":
        client.ping()
    else:
        assert stream.wait_for_end() == PROTOCOL_ERROR
        server.wait_for_line(f"stream {stream.number} breaks a rule of RFC 9113", since)
    neighbour.sendall(b"still here\n", end=True)
    assert neighbour.body() == b"STILL HERE\n"


@pytest.mark.parametrize("stream", [0, 2, 77])
def test_a_window_update_of_0_for_the_connection_or_an_idle_stream_ends_the_connection(
    client: Http2Client, stream: int
) -> None:
    client.send_raw(b"\0\0\x04\x08\0" + stream.to_bytes(4, "big") + b"\0\0\0\0")
    assert client.wait_for_goaway() == PROTOCOL_ERROR


def test_requests_that_break_a_rule_have_ten_lines_and_then_a_number(server: Server) -> None:
    since = server.mark()
    with Http2Client.connect(server) as client:
        streams = [client.open(PSEUDO[:2] + PSEUDO[3:]) for _ in range(40)]  # type: ignore[list-item]
        assert {stream.status for stream in streams} == {400}
        streams = [client.open([*PSEUDO, (b"X-Upper", b"v")]) for _ in range(40)]  # type: ignore[list-item]
        assert [stream.wait_for_end() for stream in streams] == [PROTOCOL_ERROR] * 40
    server.wait_for_line("70 more requests of this HTTP/2 connection were refused", since)
    lines = [line for line in server.lines[since:] if "a request was refused" in line]
    assert len(lines) == 10
