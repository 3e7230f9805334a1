"""PEP 3333 end to end, the way in: wsgi.input under every framing, and the environ of
compat §3.1.

Bodies come with a length or in chunks, at once or drop by drop, read or ignored; the next request on the
connection is found either way. Environ keys are compared with their types, for `--http` and `--http-socket`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import platform
import threading
from collections.abc import Callable
from typing import Any

import pytest
from end_to_end.http_wire import chunks, get, read_answer, request
from support.raw_client import RawClient
from support.runners import Runner, every_read_path, every_runner
from support.server import TIMEOUT_S, Server


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("responses.py")


# -- bodies


@every_read_path
def test_a_body_with_a_length_is_read_whole(server: Server) -> None:
    assert get(server, "/body", method="POST", body=b"hello body").body == b"hello body"


def test_no_body_is_an_empty_one(server: Server) -> None:
    assert get(server, "/body").body == b""
    assert get(server, "/body", "Content-Length: 0", method="POST").body == b""


@every_read_path
def test_a_chunked_body_is_read_whole(server: Server) -> None:
    with RawClient(server.connect()) as client:
        head = request(server, "/body", "Transfer-Encoding: chunked", method="POST")
        client.send_bytes(head + chunks(b"first ", b"second ", b"x" * 70_000))
        assert read_answer(client).body == b"first second " + b"x" * 70_000


def test_a_chunked_body_octet_by_octet_is_read_whole(server: Server) -> None:
    with RawClient(server.connect()) as client:
        head = request(server, "/body", "Transfer-Encoding: chunked", method="POST")
        client.send_octets(head + chunks(b"first ", b"second"))
        assert read_answer(client).body == b"first second"


def test_chunk_extensions_and_trailers_are_not_part_of_the_body(server: Server) -> None:
    with RawClient(server.connect()) as client:
        head = request(server, "/body", "Transfer-Encoding: chunked", method="POST")
        client.send_bytes(head + b"5;name=value\r\nhello\r\n0\r\nX-Trailer: yes\r\n\r\n" + request(server, "/hello"))
        assert read_answer(client).body == b"hello"
        assert read_answer(client).body == b"hello\n"


def test_readline_iteration_and_readlines_share_one_position(server: Server, token: str) -> None:
    body = b"first\nsecond\nthird\nfourth\nfifth without an end"
    answer = get(server, f"/body_lines?{token}", method="POST", body=body)
    assert answer.body == b"|"
    assert server.note(token) == {
        "first": "first\n",
        "two": ["second\n", "third\n"],
        "rest": ["fourth\n", "fifth without an end"],
    }


def test_iteration_gives_the_lines(server: Server) -> None:
    answer = get(server, "/body_iteration", method="POST", body=b"a\n\nb\r\nc")
    assert answer.body == b"[b'a\\n', b'\\n', b'b\\r\\n', b'c']"


def test_reads_of_given_sizes_are_exact(server: Server, token: str) -> None:
    get(server, f"/body_steps?{token}", method="POST", body=b"abcdefgh\nij")
    assert server.note(token) == {"steps": ["abc", "de", "fgh\n", "ij", ""], "tell": 11}


def test_seek_and_close_are_as_in_uwsgi(server: Server, token: str) -> None:
    get(server, f"/body_calls?{token}", method="POST", body=b"abc")
    notes = server.note(token)
    assert notes["seek"]["text"] == "seeking wsgi.input without post_buffering is IMPOSSIBLE !!!"
    assert (notes["seek"]["raised"], notes["seek"]["errno"]) == ("OSError", None)
    assert notes["close"]["value"] == "None"
    assert notes["fileno"]["type"] == "int"


def test_a_body_that_breaks_off_is_an_oserror(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/body_broken?{token}", "Content-Length: 100", method="POST") + b"half")
    read = server.note(token)["read"]
    assert (read["raised"], read["errno"]) == ("OSError", None)
    assert read["text"].startswith("error during read(") and read["text"].endswith(") on wsgi.input")


@every_read_path
def test_expect_100_continue_is_answered_when_the_app_reads(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/body", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert client.read_response().status == 100
        client.send_bytes(b"hello")
        assert read_answer(client).body == b"hello"


def test_expect_100_continue_is_not_asked_for_by_an_app_that_does_not_read(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/body_ignored", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert read_answer(client).status == 200


@every_read_path
def test_a_body_that_nobody_reads_is_not_taken_for_a_request(server: Server) -> None:
    smuggled = request(server, "/hello")
    with RawClient(server.connect()) as client:
        head = request(server, "/body_ignored", f"Content-Length: {len(smuggled)}", method="POST")
        client.send_bytes(head + smuggled)
        assert read_answer(client).body == b"not read"
        client.send_bytes(request(server, "/as_bytes", "Connection: close"))
        # Either the body was skipped and this is the second answer, or the connection has ended.
        rest = client.read_rest()
        assert b"hello\n" not in rest, rest


@every_runner
def test_a_response_streams_while_the_request_does(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/stream", "Transfer-Encoding: chunked", method="POST"))
        for word in (b"one", b"two", b"three"):
            line = word + b"\n"
            client.send_bytes(b"%x\r\n%s\r\n" % (len(line), line))
            while word.upper() not in client.buffer:
                assert client.read_some()
        client.send_bytes(b"0\r\n\r\n")
        answer = read_answer(client)
        assert (answer.body, answer.is_complete) == (b"ONE\nTWO\nTHREE\n", True)


@every_read_path
def test_a_large_upload_arrives_whole(server: Server) -> None:
    size = 32 * 1024 * 1024
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/body_length", f"Content-Length: {size}", method="POST"))
        for _ in range(size // 65536):
            client.send_bytes(b"u" * 65536)
        assert read_answer(client).body == str(size).encode()


@every_read_path
def test_a_large_chunked_upload_arrives_whole(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/body_length", "Transfer-Encoding: chunked", method="POST"))
        for _ in range(256):
            client.send_bytes(b"8000\r\n" + b"c" * 0x8000 + b"\r\n")
        client.send_bytes(b"0\r\n\r\n")
        assert read_answer(client).body == str(256 * 0x8000).encode()


@every_read_path
def test_a_large_download_to_a_slow_client_is_whole(server: Server, token: str) -> None:
    size = 8 * 1024 * 1024 + 12345
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/large?{token}&{size}"))
        digest, expected = hashlib.sha1(), hashlib.sha1()
        head = client.read_response()
        assert head.header("Content-Length") == str(size)
        # Slow: small reads, while others are served in between.
        for _ in range(20):
            digest.update(client.read_exactly(1000))
            assert get(server, "/hello").body == b"hello\n"
        left = size - 20_000
        while left:
            piece = client.read_exactly(min(left, 65536))
            digest.update(piece)
            left -= len(piece)
        for at in range(0, size, 65536):
            expected.update(bytes([at // 65536 % 251]) * min(65536, size - at))
    assert digest.digest() == expected.digest()
    assert server.note(token) == {"sent": size}


# -- connections


def test_keep_alive_serves_many_requests_on_one_connection(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=TIMEOUT_S)
    connection.connect()
    own_port = connection.sock.getsockname()[1]
    for path in ("/hello", "/generator", "/as_bytes", "/empty", "/no_length") * 3:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        assert connection.sock is not None and connection.sock.getsockname()[1] == own_port
    connection.close()


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    with RawClient(server.connect()) as client:
        paths = ["/hello", "/generator", "/as_bytes", "/no_length"] * 5
        client.send_bytes(b"".join(request(server, path) for path in paths))
        bodies = [read_answer(client).body for _ in paths]
    assert bodies == [b"hello\n", b"0,1,2,3,4,", b"the whole body", b"one two three"] * 5


def test_connection_close_is_obeyed_and_said(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/hello", "Connection: close"))
        answer = read_answer(client)
        assert answer.body == b"hello\n"
        assert answer.header("Connection") == "close"
        client.read_end()


def test_an_app_may_end_the_connection(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/own_close"))
        assert read_answer(client).header("Connection") == "close"
        client.read_end()


def test_http_1_0_closes_unless_keep_alive_is_asked_for(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/hello", version="1.0"))
        assert read_answer(client).body == b"hello\n"
        client.read_end()
    with RawClient(server.connect()) as client:
        for _ in range(2):
            client.send_bytes(request(server, "/hello", "Connection: keep-alive", version="1.0"))
            assert read_answer(client).body == b"hello\n"


def test_keepalive_0_closes_after_each_response(serve: Callable[..., Server]) -> None:
    server = serve("responses.py", "--http-keepalive=0")
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/hello"))
        assert read_answer(client).body == b"hello\n"
        client.read_end()


@every_runner
def test_many_clients_are_served_at_once(server: Server) -> None:
    # Each holds its task in the middle of a body, so all must be running at the same time.
    clients = [RawClient(server.connect()) for _ in range(50)]
    for client in clients:
        client.send_bytes(request(server, "/body", "Content-Length: 4", method="POST") + b"ab")
    for client in reversed(clients):
        client.send_bytes(b"cd")
        assert read_answer(client).body == b"abcd"
        client.close()


@every_runner
def test_requests_beyond_the_slots_wait_for_one(start: Callable[..., Server], runner: Runner) -> None:
    server = start("responses.py", *runner.with_slots(2))
    holders = [RawClient(server.connect()) for _ in range(2)]
    for holder in holders:
        holder.send_bytes(request(server, "/stream", "Transfer-Encoding: chunked", method="POST") + b"2\r\na\n\r\n")
        while b"A\n" not in holder.buffer:
            assert holder.read_some()
    answers: list[bytes] = []
    waiting = threading.Thread(target=lambda: answers.append(get(server, "/hello").body))
    waiting.start()
    assert not answers
    holders[0].send_bytes(b"0\r\n\r\n")
    waiting.join(TIMEOUT_S)
    assert answers == [b"hello\n"]
    for holder in holders:
        holder.close()


# -- the environ


def environ_of(server: Server, path: str, *lines: str, listener: int = 0, **how: Any) -> dict[str, list[Any]]:
    answer = get(server, path, *lines, listener=listener, **how)
    assert answer.status == 200, answer
    return json.loads(answer.body)


@pytest.fixture(scope="session")
def both(serve: Callable[..., Server]) -> dict[str, Server]:
    """A server for each kind of listener."""
    return {
        "http": serve("responses.py"),
        "http-socket": serve("responses.py", listen=("--http-socket", "127.0.0.1:0")),
    }


KINDS = pytest.mark.parametrize("kind", ["http", "http-socket"])


@KINDS
def test_environ_has_the_request(both: dict[str, Server], kind: str) -> None:
    """compat §9, row 11."""
    found = environ_of(both[kind], "/environ/a%20b?x=1&y=%20", "X-Thing: one", "X-Thing: two",
                       "Content-Type: a/b", method="POST", body=b"12345")  # fmt: skip
    expected = {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/environ/a%20b?x=1&y=%20",
        "PATH_INFO": "/environ/a b",
        "QUERY_STRING": "x=1&y=%20",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": platform.node(),
        "SERVER_PORT": str(both[kind].address[1]),
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": "5",
        "CONTENT_TYPE": "a/b",
        "HTTP_HOST": both[kind].host_header,
        "HTTP_X_THING": "one, two",
        "wsgi.url_scheme": "http",
    }
    assert {key: found.get(key) for key in expected} == {key: ["str", value] for key, value in expected.items()}


@KINDS
def test_environ_leaves_out_what_was_not_sent(both: dict[str, Server], kind: str) -> None:
    """compat §9, row 11."""
    found = environ_of(both[kind], "/environ")
    assert found["QUERY_STRING"] == ["str", ""]
    for key in (
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTP_CONTENT_LENGTH",
        "HTTPS",
        "HTTP_COOKIE",
        "SERVER_ADDR",
    ):
        assert key not in found


@every_runner
@KINDS
def test_environ_has_wsgi_keys_of_the_right_types(both: dict[str, Server], kind: str, runner: Runner) -> None:
    """compat §9, row 11."""
    found = environ_of(both[kind], "/environ")
    assert found["wsgi.version"] == ["tuple", "(1, 0)"]
    assert found["wsgi.run_once"] == ["bool", False]
    assert found["wsgi.multiprocess"] == ["bool", False]
    assert found["wsgi.multithread"] == ["bool", "--threads" in runner.options]
    assert found["uwsgi.core"][0] == "int" and 0 <= found["uwsgi.core"][1] < 200
    assert found["uwsgi.version"][0] == "bytes"
    assert found["uwsgi.node"] == ["bytes", repr(platform.node().encode())]
    assert {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper"} <= set(found)


def test_environ_behind_http_has_the_routers_marks(both: dict[str, Server]) -> None:
    """compat §9, row 11."""
    found = environ_of(both["http"], "/environ")
    assert found["UWSGI_ROUTER"] == ["str", "http"]
    assert found["REMOTE_PORT"][0] == "str" and found["REMOTE_PORT"][1].isdigit()


def test_environ_behind_http_socket_has_no_marks_of_a_router(both: dict[str, Server]) -> None:
    """compat §9, row 11."""
    found = environ_of(both["http-socket"], "/environ")
    assert "UWSGI_ROUTER" not in found
    assert "REMOTE_PORT" not in found


def test_the_two_kinds_of_listener_keep_their_marks_side_by_side(serve: Callable[..., Server]) -> None:
    listen = ("--http", "127.0.0.1:0", "--http-socket", "127.0.0.1:0")
    server = serve("responses.py", listen=listen)
    assert environ_of(server, "/environ", listener=0)["UWSGI_ROUTER"] == ["str", "http"]
    assert "UWSGI_ROUTER" not in environ_of(server, "/environ", listener=1)


def test_environ_is_fresh_for_each_request(both: dict[str, Server]) -> None:
    with RawClient(both["http"].connect()) as client:
        client.send_bytes(request(both["http"], "/environ", "X-Only-First: 1"))
        assert "HTTP_X_ONLY_FIRST" in json.loads(read_answer(client).body)
        client.send_bytes(request(both["http"], "/environ"))
        assert "HTTP_X_ONLY_FIRST" not in json.loads(read_answer(client).body)


def test_a_client_cannot_set_the_scheme_by_a_header(both: dict[str, Server]) -> None:
    lines = ("X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "UWSGI_SCHEME: https")
    assert environ_of(both["http"], "/environ", *lines)["wsgi.url_scheme"] == ["str", "http"]


def test_a_header_with_an_underscore_cannot_shadow_one_with_a_dash(both: dict[str, Server]) -> None:
    found = environ_of(both["http"], "/environ", "X-User: me", "X_User: somebody else")
    assert found["HTTP_X_USER"] == ["str", "me"]


def test_the_header_proxy_does_not_become_a_setting(both: dict[str, Server]) -> None:
    assert "HTTP_PROXY" not in environ_of(both["http"], "/environ", "Proxy: http://evil.example")


def test_bytes_above_ascii_come_as_latin_1(both: dict[str, Server]) -> None:
    found = environ_of(both["http"], "/environ/%C3%A9", "X-Latin: caf\xe9")
    assert found["PATH_INFO"] == ["str", "/environ/Ã©"]
    assert found["HTTP_X_LATIN"] == ["str", "caf\xe9"]


def test_a_unix_socket_is_served(start: Callable[..., Server], tmp_path: Any) -> None:
    path = tmp_path / "web.sock"
    server = start("responses.py", listen=("--http-socket", str(path)))
    with RawClient(server.connect()) as client:
        client.send_bytes(b"GET /hello HTTP/1.1\r\nHost: any\r\n\r\n")
        assert read_answer(client).body == b"hello\n"
    server.stop()
    assert not path.exists()
