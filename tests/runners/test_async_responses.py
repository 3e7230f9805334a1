"""Plain HTTP by applications that are async def: whatever is awaitable may be one, and may return what others may."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from end_to_end.http_wire import get, request
from support.raw_client import TEXT, Frame, RawClient
from support.runners import Runner, named
from support.server import Server

Upgrade = Callable[..., RawClient]


@pytest.fixture(scope="module")
def server(options: tuple[str, ...]) -> Iterator[Server]:
    with Server.start("async_responses.py", *options) as server:
        yield server


@pytest.mark.parametrize("path", ["hello", "callable", "partial", "future"])
def test_whatever_is_awaitable_may_be_an_application(server: Server, path: str) -> None:
    bodies = {"hello": b"hello, world", "callable": b"hello, world", "partial": b"a partial", "future": b"a future"}
    answer = get(server, f"/{path}")
    assert (answer.status, answer.framing, answer.body) == (200, "length", bodies[path])


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("bytes", b"whole"),
        ("tuple", b"ab"),
        ("nothing", b""),
        ("generator", b"from a generator"),
        ("iterator", b"an iterator"),
    ],
)
def test_a_coroutine_may_return_what_a_function_may(server: Server, what: str, body: bytes) -> None:
    answer = get(server, f"/returns?t&{what}")
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("what", ["None", "number", "text", "no%20start"])
def test_a_coroutine_may_not_return_what_a_function_may_not(server: Server, what: str) -> None:
    assert get(server, f"/returns?t&{what}").status == 500


def test_an_async_iterator_is_sent_piece_by_piece_and_closed(server: Server, token: str) -> None:
    sizes = [1, 2**20, 0, 70_000, 3]
    answer = get(server, f"/streams?{token}&{','.join(map(str, sizes))}")
    assert (answer.status, answer.framing, answer.is_complete) == (200, "chunked", True)
    assert len(answer.body) == sum(sizes)
    assert server.note(token) == {"closed": True}


def test_a_stream_waits_for_a_slow_client(server: Server, token: str) -> None:
    with RawClient(server.connect()) as slow:
        slow.send_bytes(request(server, f"/streams?{token}&{','.join(['1048576'] * 30)}", "Connection: close"))
        assert slow.read_response().status == 200
        # It is held up by this client, and holds up nobody else.
        assert get(server, "/hello").body == b"hello, world"
        assert not [line for line in server.lines if line.startswith(f"note:{token} ")]
        assert len(slow.read_rest()) > 30 * 2**20
    assert server.note(token) == {"closed": True}


def test_an_application_may_be_an_async_generator(server: Server, upgrade: Upgrade, token: str) -> None:
    assert get(server, f"/generates?{token}").body == b"012"
    assert server.note(token) == {"ended": True}
    client = upgrade(server, "/generates_a_websocket")
    client.send_text("one")
    assert client.read_data() == Frame(TEXT, b"one")
    client.close_in_order()


def test_a_client_that_leaves_a_stream_ends_it(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/streams?{token}&{','.join(['1048576'] * 40)}"))
        client.read_response()
        client.abort()
    assert server.note(token) == {"closed": True}


def test_a_generator_that_has_nothing_to_say_is_closed_when_its_client_has_left(server: Server, token: str) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/idles?{token}"))
        client.read_response()
        client.abort()
    assert server.note(token) == {"ran_out": False}


def test_a_generator_for_a_response_without_a_body_is_closed(server: Server, token: str) -> None:
    assert get(server, f"/talks?{token}", method="HEAD").status == 200
    assert server.note(token) == {"ran_out": False}


def test_a_coroutine_that_fails_answers_500_or_cuts_the_connection(server: Server) -> None:
    since = server.mark()
    assert get(server, "/fails").status == 500
    server.wait_for_line("the application raised ValueError: on purpose, before the start", since)
    answer = get(server, "/breaks_off")
    assert (answer.status, answer.body, answer.is_complete) == (200, b"half", False)


def test_a_body_is_read_in_a_thread(server: Server) -> None:
    body = b"a body " * 20_000
    assert get(server, "/reads", method="POST", body=body).body == body.upper()


def test_write_may_be_called_in_a_coroutine(server: Server) -> None:
    assert get(server, "/writes").body == b"by write, and returned"


@pytest.mark.parametrize("other", named("greenlets", "generators", "threads", "gevent"), ids=lambda runner: runner.name)
def test_another_runner_refuses_coroutines_with_the_remedy(other: Runner, upgrade: Upgrade, token: str) -> None:
    with Server.start("async_responses.py", *other.options) as server:
        for path in ("/hello", "/generates?t"):
            since = server.mark()
            assert get(server, path).status == 500
            server.wait_for_line("the application is async def; start Fairlead with --asyncio N", since)
        assert get(server, f"/needs_a_loop?{token}").status == 200
        assert server.note(token)["handshake"]["raised"] == "RuntimeError"
        assert "--asyncio N" in server.note(token)["handshake"]["text"]
        assert not [line for line in server.lines if "never awaited" in line]
