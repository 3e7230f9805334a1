"""PEP 3333 end to end, the way out: start_response, write, iterables, close, errors, HEAD and friends.

Whatever an app does, the client gets a response it can parse or a connection that is visibly cut; never half
a body that looks whole. Texts of errors are uWSGI's (compat §3.3).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from end_to_end.http_wire import get, read_answer, request
from support.raw_client import RawClient
from support.runners import every_runner, one_runner
from support.server import Server

pytestmark = every_runner


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("responses.py")


def test_a_body_with_its_length_goes_out_as_it_is(server: Server) -> None:
    answer = get(server, "/hello")
    assert (answer.status, answer.body, answer.framing) == (200, b"hello\n", "length")
    assert answer.head.reason == "OK"
    assert answer.header("Content-Type") == "text/plain"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/no_length", b"one two three"),
        ("/as_bytes", b"the whole body"),
        ("/as_tuple", b"ab"),
        ("/empty", b""),
    ],
)
def test_a_body_that_is_known_at_once_gets_a_length(server: Server, path: str, body: bytes) -> None:
    answer = get(server, path)
    assert (answer.status, answer.body, answer.framing) == (200, body, "length")


def test_a_generator_without_a_length_is_chunked(server: Server) -> None:
    answer = get(server, "/generator")
    assert (answer.body, answer.framing, answer.is_complete) == (b"0,1,2,3,4,", "chunked", True)


def test_a_generator_without_a_length_ends_an_http_1_0_connection(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/generator", version="1.0"))
        answer = read_answer(client)
    assert (answer.body, answer.framing) == (b"0,1,2,3,4,", "close")


def test_start_response_may_be_called_in_the_first_next(server: Server) -> None:
    answer = get(server, "/late_start")
    assert (answer.status, answer.head.reason, answer.body) == (201, "Created", b"made")


def test_an_empty_item_does_not_send_the_head_yet(server: Server) -> None:
    answer = get(server, "/empty_items_first")
    assert (answer.status, answer.body) == (202, b"body")


def test_write_goes_before_the_result(server: Server) -> None:
    answer = get(server, "/write")
    assert answer.body == b"written, twice, returned"


@one_runner
def test_write_ignores_what_is_not_bytes(server: Server) -> None:
    assert get(server, "/write_wrong_type").body == b"bytes"


def test_items_that_are_not_bytes_are_skipped_and_logged(server: Server) -> None:
    since = server.mark()
    assert get(server, "/odd_items").body == b"ab"
    server.wait_for_line(r"\[ERROR\] Unhandled object from iterator: 7", since)


def test_the_file_wrapper_sends_the_file(server: Server) -> None:
    answer = get(server, "/file_wrapper")
    assert answer.body == b"f" * 200_000


@one_runner
@pytest.mark.parametrize("path", ["/hello", "/no_length", "/generator"])
def test_head_gets_the_headers_and_no_body(server: Server, path: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, path, method="HEAD"))
        head = read_answer(client, "HEAD")
        assert head.status == 200
        # A body would be taken for the next response.
        client.send_bytes(request(server, "/hello"))
        assert read_answer(client).body == b"hello\n"


@one_runner
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_a_body_get_none(server: Server, status: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/status?t&{status.replace(' ', '+')}"))
        answer = read_answer(client)
        assert f"{answer.status} {answer.head.reason}" == status
        assert answer.header("Transfer-Encoding") is None
        client.send_bytes(request(server, "/hello"))
        assert read_answer(client).body == b"hello\n"


@one_runner
@pytest.mark.parametrize("status", ["200 Fine Indeed", "299 Own", "404 Not Found", "418 I'm a teapot", "599 X"])
def test_the_status_line_is_the_apps(server: Server, status: str) -> None:
    answer = get(server, f"/status?t&{status.replace(' ', '+')}")
    assert f"{answer.status} {answer.head.reason}" == status


@one_runner
def test_repeated_headers_stay_apart_and_in_order(server: Server) -> None:
    headers = get(server, "/headers").head.headers
    assert [value for name, value in headers if name == "x-many"] == ["1", "2"]
    assert [value for name, value in headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert ("x-latin", "caf\xe9") in headers


@one_runner
def test_a_header_cannot_be_split_by_a_line_end(server: Server) -> None:
    answer = get(server, "/split_header")
    assert answer.status == 500
    assert answer.header("X-Injected") is None


@one_runner
def test_a_body_longer_than_its_length_is_cut_to_it(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/too_long"))
        assert read_answer(client).body == b"12345"
        client.send_bytes(request(server, "/hello", "Connection: close"))
        rest = client.read_rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 200 OK"), rest


@one_runner
def test_a_body_shorter_than_its_length_ends_the_connection(server: Server) -> None:
    answer = get(server, "/too_short")
    assert (answer.body, answer.is_complete) == (b"12345", False)


def test_close_is_called_after_the_last_item(server: Server, token: str) -> None:
    assert get(server, f"/closing?{token}").body == b"with close"
    assert server.note(token) == {"closed": True}


def test_close_is_called_after_an_exception_in_the_middle(server: Server, token: str) -> None:
    get(server, f"/raises_in_the_middle?{token}")
    assert server.note(token) == {"closed": True}


def test_close_is_called_when_the_client_has_gone(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/endless?{token}"))
        client.read_response()
    assert server.note(token) == {"closed": True}


def test_an_exception_in_close_is_logged_and_the_response_stands(server: Server) -> None:
    since = server.mark()
    answer = get(server, "/raises_in_close")
    assert (answer.status, answer.body) == (200, b"whole")
    server.wait_for_line("ValueError: raised in close", since)


@one_runner
def test_calls_with_nonsense_raise_uwsgis_texts(server: Server, token: str) -> None:
    get(server, f"/calls?{token}")
    notes = server.note(token)
    assert notes["status"]["text"] == "http status must be a string"
    assert notes["bytes"]["text"] == "http status must be a string"
    assert notes["headers"]["text"] == "http headers must be in a python list"
    assert notes["header"]["text"] == "http header must be defined in a tuple"
    assert {note["raised"] for note in notes.values()} == {"TypeError"}


@one_runner
def test_start_response_refuses_what_cannot_be_sent_and_takes_the_headers_as_they_are_then(
    server: Server, token: str
) -> None:
    answer = get(server, f"/unsendable?{token}")
    notes = server.note(token)
    assert {note["raised"] for note in notes.values()} == {"ValueError"}
    assert "X-Bad" in notes["line_end"]["text"]
    assert "Latin-1" in notes["not_latin"]["text"]
    assert notes["status"]["text"] == "'20 OK' is no HTTP status; give one like '200 OK'"
    assert (answer.status, answer.header("X-Bad"), answer.header("X-Late")) == (200, None, None)


@one_runner
def test_start_response_after_the_head_left_raises_uwsgis_text(server: Server, token: str) -> None:
    answer = get(server, f"/second_start?{token}")
    assert (answer.status, answer.head.reason, answer.body) == (203, "Changed", b"sent")
    late = server.note(token)["late"]
    assert (late["raised"], late["text"], late["errno"]) == ("OSError", "headers already sent", None)


@one_runner
def test_exc_info_replaces_a_status_that_has_not_left(server: Server) -> None:
    answer = get(server, "/exc_info_before")
    assert (answer.status, answer.body) == (500, b"the error page")
    assert answer.header("X-Replaced") == "yes"
    assert answer.header("Content-Type") is None


def test_exc_info_after_the_head_left_raises_and_cuts(server: Server) -> None:
    since = server.mark()
    answer = get(server, "/exc_info_after")
    assert (answer.status, answer.body, answer.is_complete) == (200, b"begun", False)
    server.wait_for_line("ValueError: after the body began", since)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/raises?t&1", "ValueError: raised on purpose 1"),
        ("/raises_after_start", "ValueError: raised after start_response"),
        ("/never_starts", "start_response"),
        ("/returns_number", "the application returned 7"),
        ("/returns_none", "the application returned None"),
    ],
)
def test_an_app_that_fails_before_the_body_gets_its_client_a_500(server: Server, path: str, why: str) -> None:
    since = server.mark()
    answer = get(server, path)
    assert answer.status == 500
    assert answer.is_complete
    assert b"Traceback" not in answer.body and b"raised" not in answer.body
    server.wait_for_line(why, since)


@one_runner
def test_the_connection_lives_on_after_a_500(server: Server) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, "/raises?t&2") + request(server, "/hello"))
        assert read_answer(client).status == 500
        assert read_answer(client).body == b"hello\n"


@pytest.mark.parametrize("path", ["/raises_in_the_middle?t", "/raises_in_the_middle_with_length?t"])
def test_an_exception_after_the_head_cuts_the_connection(server: Server, path: str) -> None:
    since = server.mark()
    answer = get(server, path)
    assert (answer.status, answer.body, answer.is_complete) == (200, b"the first half", False)
    server.wait_for_line("ValueError: raised in the middle", since)


def test_system_exit_ends_one_request_only(server: Server) -> None:
    answer = get(server, "/exits")
    assert answer.status in (500, 503)
    assert get(server, "/hello").body == b"hello\n"


@one_runner
def test_a_forgotten_import_of_uwsgi_is_hinted_at(server: Server) -> None:
    since = server.mark()
    assert get(server, "/forgets_import").status == 500
    server.wait_for_line("add `import uwsgi` at the top of the file", since)


@one_runner
def test_catch_exceptions_shows_the_traceback(serve: Callable[..., Server]) -> None:
    answer = get(serve("responses.py", "--catch-exceptions"), "/raises?t&shown")
    assert answer.status == 500
    assert b"ValueError: raised on purpose shown" in answer.body


@one_runner
def test_what_the_app_writes_to_wsgi_errors_is_in_the_log(server: Server, token: str) -> None:
    get(server, f"/errors?{token}&hello-{token}")
    server.wait_for_line(f"app says hello-{token}")


@one_runner
def test_add_header_adds_to_each_response_and_to_the_101(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = serve("echo_typed.py", "--add-header", "X-Served-By: me")
    assert get(server, "/").header("X-Served-By") == "me"
    assert upgrade(server).response.header("X-Served-By") == "me"
