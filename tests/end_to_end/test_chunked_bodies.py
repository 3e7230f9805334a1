"""Chunked request bodies end to end: `uwsgi.chunked_read` (compat §1.4), `wsgi.input` (§3.2), and what
becomes of a client that breaks its body off, stalls in it or sends more than anybody reads.

Sockets are written by hand: where a chunk ends and when it leaves is what these tests are about.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from end_to_end.http_wire import chunks, get, read_answer, request
from faults.machine import private_mib
from support.raw_client import RawClient
from support.runners import Runner, every_read_path, every_runner, one_runner
from support.server import Server

pytestmark = every_runner

BROKEN = "unable to receive chunked part"
#: Accepted with uWSGI's meaning, which is how Fairlead works anyway.
OPTIONS = ("--http-raw-body", "--http-chunked-input", "--post-buffering", "4096")


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("bodies.py", *OPTIONS)


@pytest.fixture(scope="session")
def hasty(serve: Callable[..., Server]) -> Server:
    """A server that waits for nobody."""
    return serve("bodies.py", "--http-timeout=0.3", "--chunked-input-timeout=0.2", "--socket-timeout=20")


class Upload:
    """A request with a chunked body that is sent bit by bit, and its answer, read line by line."""

    def __init__(self, server: Server, path: str, *lines: str) -> None:
        self.client = RawClient(server.connect())
        lines = ("Transfer-Encoding: chunked", *lines)
        self.client.send_bytes(request(server, path, *lines, method="POST"))
        self._has_head = False

    def send(self, *parts: bytes) -> None:
        """Each part as a chunk of its own, all in one segment."""
        self.client.send_bytes(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))

    def end(self) -> None:
        self.client.send_bytes(b"0\r\n\r\n")

    def line(self) -> Any:
        """The next line of the answer, which the app sends in a chunk of its own."""
        if not self._has_head:
            assert self.client.read_response().status == 200
            self._has_head = True
        while self.client.buffer.count(b"\r\n") < 2:
            assert self.client.read_some()
        size, _, rest = bytes(self.client.buffer).partition(b"\r\n")
        text, rest = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        self.client.buffer[:] = rest
        return json.loads(text)


@pytest.fixture
def upload(server: Server) -> Iterator[Callable[..., Upload]]:
    uploads: list[Upload] = []

    def begin(path: str, *lines: str, to: Server = server) -> Upload:
        uploads.append(Upload(to, path, *lines))
        return uploads[-1]

    yield begin
    for one in uploads:
        one.client.close()


def answer_to(server: Server, path: str, body: bytes) -> Any:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, path, "Transfer-Encoding: chunked", method="POST") + body)
        answer = read_answer(client)
        assert answer.status == 200, answer
        return json.loads(answer.body)


# -- uwsgi.chunked_read


def test_a_chunk_sent_alone_arrives_alone_and_before_the_next_is_sent(upload: Callable[..., Upload]) -> None:
    body = upload("/chunks")
    for text in (b"one", b"two\r\n", b"\0", b"x" * 100_000):
        body.send(text)
        assert body.line() == text.decode()
    body.end()
    assert body.line() == ""
    assert body.client.read_exactly(5) == b"0\r\n\r\n"
    body.client.send_bytes(b"GET /chunk_sizes HTTP/1.1\r\nHost: a\r\n\r\n")
    assert json.loads(read_answer(body.client).body) == []


def test_chunks_of_one_segment_are_given_apart(upload: Callable[..., Upload]) -> None:
    body = upload("/chunks")
    body.send(b"a", b"bc", b"def")
    assert [body.line(), body.line(), body.line()] == ["a", "bc", "def"]


@every_read_path
def test_a_chunk_octet_by_octet_is_given_whole(upload: Callable[..., Upload]) -> None:
    body = upload("/chunks")
    body.client.send_octets(b"5;name=value\r\nhello\r\n3\r\nyou\r\n")
    assert [body.line(), body.line()] == ["hello", "you"]


@every_read_path
def test_no_octet_is_lost_whatever_the_sizes(server: Server) -> None:
    sizes = [1, 2, 4095, 65536, 262144, 700_000, 1024 * 1024, 3]
    body = chunks(*(bytes([size % 251]) * size for size in sizes))
    assert answer_to(server, "/chunk_sizes", body) == sizes


@one_runner
def test_a_chunk_beyond_the_limit_comes_in_pieces_of_the_limit(serve: Callable[..., Server]) -> None:
    server = serve("bodies.py", "--chunked-input-limit", "1000")
    assert answer_to(server, "/chunk_sizes", chunks(b"x" * 2500, b"y" * 1000, b"z")) == [1000, 1000, 500, 1000, 1]


@one_runner
def test_a_body_without_chunks_is_given_too(server: Server) -> None:
    answer = get(server, "/chunk_sizes", method="POST", body=b"x" * 70_000)
    assert sum(json.loads(answer.body)) == 70_000
    assert json.loads(get(server, "/chunk_sizes").body) == []


def test_the_call_that_does_not_wait_answers_none(upload: Callable[..., Upload]) -> None:
    body = upload("/chunks_nb")
    assert body.line() is None
    body.client.send_bytes(b"5\r\nhe")
    body.client.send_bytes(b"llo\r\n")
    assert body.line() == "hello"
    assert body.line() is None
    body.end()
    assert body.line() == ""


@one_runner
def test_wrong_arguments_are_type_errors(server: Server, token: str) -> None:
    get(server, f"/chunk_arguments?{token}")
    found = server.note(token)
    assert [found[name]["raised"] for name in ("text", "number", "nb")] == ["TypeError"] * 3


@pytest.mark.parametrize("argument", ["", "&0"])
def test_the_time_out_is_that_of_the_options_and_nothing_is_lost_by_it(
    hasty: Server, upload: Callable[..., Upload], token: str, argument: str
) -> None:
    body = upload(f"/chunk_call?{token}{argument}", to=hasty)
    body.client.send_bytes(b"5\r\nhe")
    assert body.line() == "first"
    body.client.send_bytes(b"llo\r\n")
    found = hasty.note(token)
    assert (found["first"]["raised"], found["first"]["text"], found["first"]["errno"]) == ("OSError", BROKEN, None)
    assert found["second"]["value"] == "b'hello'"


def test_without_its_own_option_the_time_out_is_the_sockets(
    serve: Callable[..., Server], hasty: Server, upload: Callable[..., Upload], token: str, runner: Runner
) -> None:
    server = serve("bodies.py", "--socket-timeout=0.2")
    body = upload(f"/chunk_call?{token}", to=server)
    if getattr(runner, "least_socket_timeout_s", 0):
        # Raised, as uWSGI raises it for such a loop (compat §2.2): the call outlives one that has really so little
        # time.
        upload(f"/chunk_call?{token}hasty", to=hasty).line()
        body.send(b"in time", b"x")
        body.line()
        assert server.note(token)["first"]["value"] == "b'in time'"
        return
    assert body.line() == "first"
    body.send(b"x")
    found = server.note(token)
    assert (found["first"]["text"], found["second"]["value"]) == (BROKEN, "b'x'")


@pytest.mark.parametrize("timeout", ["-1", "20"])
def test_a_call_may_wait_longer_than_the_options_say(
    hasty: Server, upload: Callable[..., Upload], token: str, timeout: str
) -> None:
    patient = upload(f"/chunk_call?{token}&{timeout}", to=hasty)
    for number in range(3):
        # Others that began later run into every time-out meanwhile.
        hurried = upload(f"/read_outcome?{token}{number}&read", to=hasty)
        assert hasty.note(f"{token}{number}")["read"]["raised"] == "OSError"
        hurried.client.close()
    patient.send(b"at last", b"more")
    assert patient.line() == "first"
    assert hasty.note(token)["first"]["value"] == "b'at last'"


@pytest.mark.parametrize("how", [RawClient.close, RawClient.abort])
def test_a_client_that_leaves_is_an_oserror(
    server: Server, upload: Callable[..., Upload], token: str, how: Callable[[RawClient], None]
) -> None:
    body = upload(f"/chunk_call?{token}&20")
    body.send(b"x")
    assert body.line() == "first"
    how(body.client)
    second = server.note(token)["second"]
    assert (second["raised"], second["text"], second["errno"]) == ("OSError", BROKEN, None)


@every_read_path
def test_expect_100_continue_is_answered_by_the_first_call(upload: Callable[..., Upload]) -> None:
    body = upload("/chunk_sizes", "Expect: 100-continue")
    assert body.client.read_response().status == 100
    body.send(b"four")
    body.end()
    assert json.loads(read_answer(body.client).body) == [4]


# -- wsgi.input


@one_runner
def test_all_ways_of_reading_share_one_position(server: Server) -> None:
    body = chunks(b"one ", b"line\nnext", b" line\nab", b"cd", b"ef")
    assert answer_to(server, "/ways", body) == ["one ", "line\n", "next line\n", "ab", "cdef", "", ""]


@one_runner
def test_input_and_chunked_read_may_be_mixed(server: Server) -> None:
    body = chunks(b"a line\nrest of its chunk", b"chunk of its own", b"left", b"and two\nlines")
    assert answer_to(server, "/mixed", body) == [
        "a line\n", "rest of its chunk", "chu", "nk of its own", "leftand two\n", "lines", "", "", "",
    ]  # fmt: skip


@one_runner
def test_the_environ_says_that_the_body_ends_by_itself(server: Server) -> None:
    body = chunks(b"hello")[:-2] + b"X-Trailer: 1\r\n\r\n"
    assert answer_to(server, "/what_is_known", body) == ["hello", 0, None, "chunked", True, None]
    with_length = json.loads(get(server, "/what_is_known", method="POST", body=b"hello").body)
    assert with_length == ["hello", 5, "5", None, None, None]


# -- bodies that are not whole

MALFORMED = {
    "size that is no number": b"3\r\nabc\r\nzz\r\nabc\r\n",
    "chunk longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "size beyond 64 bits": b"3\r\nabc\r\n1" + b"0" * 16 + b"\r\n",
    "line feed alone": b"3\nabc\r\n0\r\n\r\n",
}


@every_read_path
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", ["/reads?t&read", "/reads?t&readline", "/chunk_raises"])
def test_broken_chunks_get_400_and_the_connection_closes(server: Server, path: str, body: bytes) -> None:
    since = server.mark()
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, path, "Transfer-Encoding: chunked", method="POST") + body)
        client.send_bytes(request(server, "/chunk_sizes"))
        answer = read_answer(client)
        assert (answer.status, answer.header("Connection")) == (400, "close")
        assert b"chunk" in answer.body
        assert client.read_rest() == b""
    server.wait_for_line("the request body broke off: .*; answered with 400", since)
    assert not [line for line in server.lines[since:] if "Traceback" in line]


CALLS = [("read", "read(0)"), ("read+100", "read(100)"), ("readline", "readline(0)")]


@every_read_path
@pytest.mark.parametrize(("call", "text"), CALLS)
def test_broken_chunks_are_an_oserror_and_the_apps_answer_closes(
    server: Server, token: str, call: str, text: str
) -> None:
    with RawClient(server.connect()) as client:
        path = f"/read_outcome?{token}&{call}"
        body = b"3\r\nabc\r\nnonsense\r\n"
        client.send_bytes(request(server, path, "Transfer-Encoding: chunked", method="POST") + body)
        answer = read_answer(client)
        assert (answer.status, answer.header("Connection")) == (200, "close")
        client.read_end()
    read = server.note(token)["read"]
    assert (read["raised"], read["text"], read["errno"]) == ("OSError", f"error during {text} on wsgi.input", None)


@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked", "Content-Length: 100"])
@pytest.mark.parametrize(("call", "text"), CALLS)
def test_a_client_that_stalls_is_a_time_out(hasty: Server, token: str, head: str, call: str, text: str) -> None:
    body = b"5\r\nab" if "chunked" in head else b"ab"
    with RawClient(hasty.connect()) as client:
        client.send_bytes(request(hasty, f"/read_outcome?{token}&{call}", head, method="POST") + body)
        read = hasty.note(token)["read"]
        assert (read["raised"], read["text"], read["errno"]) == (
            "OSError",
            f"timeout during {text} on wsgi.input",
            None,
        )
        # The app's answer, if it is quicker than the front, and the end.
        rest = client.read_rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 200 OK"), rest


def test_an_app_that_does_not_catch_the_time_out_sends_no_500(hasty: Server) -> None:
    since = hasty.mark()
    with RawClient(hasty.connect()) as client:
        client.send_bytes(request(hasty, "/reads?t&read", "Transfer-Encoding: chunked", method="POST") + b"5\r\nab")
        rest = client.read_rest()
    # Whoever is quicker: the app, with its status, or the front, which closes.
    assert rest == b"" or rest.startswith(b"HTTP/1.1 408 Request Timeout"), rest
    assert not [line for line in hasty.lines[since:] if "Traceback" in line]


@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked", "Content-Length: 100"])
@pytest.mark.parametrize("how", [RawClient.close, RawClient.abort])
def test_a_client_that_leaves_is_an_error(
    server: Server, token: str, head: str, how: Callable[[RawClient], None]
) -> None:
    client = RawClient(server.connect())
    body = b"5\r\nab" if "chunked" in head else b"ab"
    client.send_bytes(request(server, f"/read_outcome?{token}&read", head, method="POST") + body)
    how(client)
    read = server.note(token)["read"]
    assert (read["raised"], read["text"], read["errno"]) == ("OSError", "error during read(0) on wsgi.input", None)


@every_read_path
def test_a_body_that_nobody_reads_is_held_back(start: Callable[..., Server]) -> None:
    server = start("bodies.py")
    (worker,) = server.worker_pids()
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/holds_back", "Transfer-Encoding: chunked", method="POST"))
        assert client.read_response().status == 200
        before = private_mib(worker)
        sent = send_until_blocked(client.socket, piece, at_most=256 * 1024 * 1024)
        assert sent < 64 * 1024 * 1024, "an endless body was taken although nobody reads it"
        grown = private_mib(worker) - before
        assert grown < 8, f"{sent} bytes that nobody read took {grown} MiB"
        # It was only held back.
        whole = sent // len(piece)
        client.buffer.clear()
        rest = piece[sent % len(piece) :] + b"0\r\n\r\n"
        client.socket.settimeout(0.05)
        tail = b""
        while b"0\r\n\r\n" not in tail[-64:]:
            try:
                if rest:
                    rest = rest[client.socket.send(rest) :]
            except TimeoutError:
                pass
            try:
                tail = (tail + client.socket.recv(1024 * 1024))[-4096:]
            except TimeoutError:
                continue
        assert b"\n%d\r\n0\r\n\r\n" % ((whole + 1) * 65536) in tail


def send_until_blocked(connection: socket.socket, piece: bytes, at_most: int) -> int:
    """Sends until nothing is taken for a while; answers how many bytes that were."""
    connection.settimeout(1)
    sent = 0
    while sent < at_most:
        try:
            sent += connection.send(piece[sent % len(piece) :])
        except TimeoutError:
            break
    return sent
