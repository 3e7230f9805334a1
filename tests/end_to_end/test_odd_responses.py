"""What applications do with responses beside the usual: results that are no body or are one in an unusual way, heads
that no client can be sent, bodies that the application has framed by itself, and clients that leave in the middle.

The usual is in test_wsgi_responses.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from end_to_end.http_wire import chunks, get, read_answer, request
from faults.machine import peak_mib
from support.raw_client import RawClient
from support.runners import every_read_path, every_runner, one_runner
from support.server import Server

pytestmark = one_runner


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("odd_responses.py")


def lines_of(server: Server, since: int, path: str) -> list[str]:
    """What the log has on a request once its line of the access log is there, without that."""
    server.wait_for_line(rf'request: .*"[A-Z]+ {re.escape(path)} ', since)
    return [line for line in server.lines[since:] if " request: " not in line]


# -- results


@every_runner
def test_a_result_that_can_be_iterated_in_both_ways_is_iterated_in_the_plain_one(server: Server, token: str) -> None:
    answer = get(server, f"/both_ways?{token}")
    assert (answer.status, answer.body) == (200, b"the plain way")
    assert server.note(token) == {"closed": True}


@every_runner
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("str", "the application returned 'hello' (str); return [text.encode()]"),
        ("None", "the application returned None; return a list of bytes, [] for no body"),
        ("list of str", "the application's result has 'hello' (str) among its items; encode it, they are bytes"),
        ("generator of str", "the application's result has 'hello' (str) among its items; encode it, they are bytes"),
    ],
)
def test_a_result_that_is_no_body_is_one_500_and_one_line(server: Server, token: str, what: str, said: str) -> None:
    assert_refused(server, token, what, said)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("long", "the application returned '" + "x" * 59 + "… (str); return [text.encode()]"),
        ("number", "the application returned 7 (int); return a list of bytes, [] for no body"),
        ("dict", "the application returned {'a': 1} (dict); return a list of bytes, [] for no body"),
        ("bytearray", "the application returned bytearray(b'hello') (bytearray); return [bytes(data)]"),
        ("memoryview", r"the application returned <memory at \w+> (memoryview); return [bytes(data)]"),
        (
            "function",
            r"the application returned <function application at \w+> (function); if that is an application itself, "
            "return application(environ, start_response)",
        ),
        (
            "unprintable",
            "the application returned an object of the type Unprintable; return a list of bytes, [] for no body",
        ),
        ("decimal", "the application returned Decimal('1') (Decimal); return a list of bytes, [] for no body"),
        (
            "tuple with a number",
            "the application's result has 7 (int) among its items; make bytes of it, they are bytes",
        ),
        (
            "iterator of numbers",
            "the application's result has 104 (int) among its items; make bytes of it, they are bytes",
        ),
    ],
)
def test_each_kind_of_result_that_is_none_says_what_to_return(server: Server, token: str, what: str, said: str) -> None:
    assert_refused(server, token, what, said)


def assert_refused(server: Server, token: str, what: str, said: str) -> None:
    path, since = f"/returns?{token}&{quote(what)}", server.mark()
    answer = get(server, path)
    assert (answer.status, answer.body) == (500, b"Internal Server Error\n")
    [line] = lines_of(server, since, path)
    said = re.escape(said).replace(re.escape(r"\w+"), r"\w+")
    assert re.search(rf"error: 127\.0\.0\.1:\d+ {re.escape(path)}: {said}$", line), line
    server.wait_for_line(rf'request: .*"GET {re.escape(path)} HTTP/1.1" 500, 22 bytes', since)


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("bytes", b"hello"),
        ("empty str", b""),
        ("list with None", b"hello"),
        ("items", b"hello"),
        ("generator with nothing", b"hello"),
        ("set", b"hello"),
    ],
)
def test_what_is_a_body_in_an_unusual_way_is_served_in_silence(
    server: Server, token: str, what: str, body: bytes
) -> None:
    path, since = f"/returns?{token}&{quote(what)}", server.mark()
    answer = get(server, path)
    assert (answer.status, answer.body, lines_of(server, since, path)) == (200, body, [])


def test_a_result_of_bytes_is_none_where_it_is_iterated(serve: Callable[..., Server], token: str) -> None:
    said = "the application returned b'hello' (bytes); return [bytes(data)]"
    assert_refused(serve("odd_responses.py", "--wsgi-strict"), token, "bytes", said)


def test_odd_items_in_the_middle_of_a_body_are_one_line(server: Server) -> None:
    since = server.mark()
    assert get(server, "/many_odd_items").body == b"begun"
    [line] = lines_of(server, since, "/many_odd_items")
    assert "[ERROR] Unhandled object from iterator: 'text 0'" in line


# -- chunks of the application's own


@every_runner
@pytest.mark.parametrize("how", ["whole", "pieces"])
def test_a_body_that_the_application_has_put_into_chunks_is_framed_once(server: Server, how: str) -> None:
    since = server.mark()
    answer = get(server, f"/own_chunks?t&{how}")
    assert (answer.status, answer.body, answer.is_complete) == (200, b"hello, you!", True)
    assert answer.framing == ("length" if how == "whole" else "chunked")
    assert lines_of(server, since, f"/own_chunks?t&{how}") == []


def test_chunks_of_the_application_s_own_reach_no_client_of_http_1_0(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/own_chunks?t&pieces", version="1.0"))
        answer = read_answer(client)
    assert (answer.body, answer.framing) == (b"hello, you!", "close")


def test_a_file_that_is_in_chunks_is_framed_once(server: Server) -> None:
    answer = get(server, "/own_chunks_of_a_file")
    assert (answer.status, answer.body, answer.framing) == (200, b"hello", "chunked")


@pytest.mark.parametrize("how", ["not at all", "not at all, in pieces"])
def test_who_only_says_that_the_body_is_in_chunks_has_it_put_into_some(server: Server, how: str) -> None:
    answer = get(server, f"/own_chunks?t&{quote(how)}")
    assert (answer.status, answer.body, answer.is_complete) == (200, b"hello, you!", True)


def test_chunks_that_break_off_cut_the_response(server: Server) -> None:
    since = server.mark()
    answer = get(server, "/own_chunks?t&broken")
    assert (answer.status, answer.body, answer.is_complete) == (200, b"hello", False)
    server.wait_for_line(r"the response was cut: .*its body is not in chunks", since)


# -- heads


@pytest.mark.parametrize("page", ["answers", "streams"])
@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified"])
def test_a_status_without_a_body_has_none(server: Server, token: str, page: str, status: str) -> None:
    path, since = f"/{page}?{token}&{quote(status)}", server.mark()
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, path) + request(server, "/hello"))
        head = client.read_response()
        assert f"{head.status} {head.reason}" == status
        if head.status == 205:
            # RFC 9110 §15.3.6: it has to say that there is none.
            assert (head.header("Content-Length"), head.header("Transfer-Encoding")) == ("0", None)
        assert read_answer(client).body == b"hello"
    server.wait_for_line(rf'request: .*"GET {re.escape(path)} HTTP/1.1" {status[:3]}, 0 bytes', since)


def test_heads_that_no_client_can_be_sent_are_value_errors(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        lines = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")
        client.send_bytes(request(server, f"/refused_heads?{token}", *lines))
        assert read_answer(client).status == 200
    found = server.note(token)
    assert {one["raised"] for one in found.values()} == {"ValueError"}
    assert "fairlead.websocket(environ) or uwsgi.websocket_handshake()" in found["switching"]["text"]
    assert found["early"]["text"] == "'103 Early Hints' is no answer to a request; give a status from 200 to 999"
    assert "'five' is not a number" in found["length"]["text"].replace('"', "'")
    assert "two Content-Lengths, the second is 6" in found["lengths"]["text"]
    assert "control character" in found["reason"]["text"]


KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize("status", ["101 Switching Protocols", "100 Continue", "20 No"])
def test_the_access_log_has_the_status_that_was_sent(server: Server, token: str, status: str) -> None:
    path, since = f"/answers?{token}&{quote(status)}", server.mark()
    assert get(server, path).status == 500
    server.wait_for_line(rf'request: .*"GET {re.escape(path)} HTTP/1.1" 500, 22 bytes', since)


# -- clients that leave


@every_runner
@pytest.mark.parametrize("page", ["idles", "idles_in_the_middle", "talks"])
def test_an_iterable_whose_client_has_left_is_closed_soon(server: Server, token: str, page: str) -> None:
    since = server.mark()
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/{page}?{token}&4"))
        if page == "idles":
            server.note(f"{token}-begun")
        elif page == "talks":
            client.read_response()
        else:
            # Its head may come alone, and the application has then not got to its iterable.
            while b"begun" not in client.buffer:
                assert client.read_some()
        client.abort()
    assert server.note(token) == {"ran_out": False}
    assert not [line for line in server.lines[since:] if "Traceback" in line]


def test_a_client_that_has_closed_in_order_is_found_to_have_left(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/idles_in_the_middle?{token}&18"))
        # All that there is, so that the kernel resets nothing when it is closed.
        while b"begun" not in client.buffer:
            assert client.read_some()
    assert server.note(token) == {"ran_out": False}


@every_runner
def test_an_iterable_for_a_response_without_a_body_is_closed_soon(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/talks?{token}&4", method="HEAD"))
        assert read_answer(client, "HEAD").status == 200
        assert server.note(token) == {"ran_out": False}
        client.send_bytes(request(server, "/hello"))
        assert read_answer(client).body == b"hello"


# -- sizes of wsgi.input


@every_runner
@pytest.mark.parametrize("framing", ["length", "chunks", "octets"])
@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("readline", [b"firs", b"t\n", b"second line\n", b"third"]),
        ("none", [b"first\n", b"second line\n", b"third", b""]),
        ("readlines", [[b"first\n"], [b"second line\n"], [b"third"]]),
        ("iteration", [[b"first\n", b"second line\n", b"third"]]),
    ],
)
def test_lines_are_no_longer_than_they_were_asked_to_be(
    server: Server, token: str, how: str, found: list[object], framing: str
) -> None:
    body = b"first\nsecond line\nthird"
    with RawClient(server.connect()) as client:
        path = f"/reads?{token}&{how}"
        if framing == "length":
            client.send_bytes(request(server, path, f"Content-Length: {len(body)}", method="POST") + body)
        else:
            sent = request(server, path, "Transfer-Encoding: chunked", method="POST")
            sent += chunks(body[:3], body[3:14], body[14:])
            (client.send_octets if framing == "octets" else client.send_bytes)(sent)
        assert read_answer(client).status == 200
    assert server.note(token) == {"found": repr(found), "tell": len(body)}


@every_read_path
def test_a_body_without_a_line_end_takes_no_memory_when_it_is_read_in_pieces(start: Callable[..., Server]) -> None:
    server = start("odd_responses.py")
    [worker] = server.worker_pids()
    get(server, "/counts", method="POST", body=b"x" * 2**20)
    before = peak_mib(worker)
    size = 64 * 2**20
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/counts", f"Content-Length: {size}", method="POST"))
        for _ in range(size // 2**20):
            client.send_bytes(b"x" * 2**20)
        assert read_answer(client).body == b"%d 65536" % size
    assert peak_mib(worker) - before < 24
