"""Flask-uWSGI-WebSocket, unmodified from PyPI, with its four middlewares, each under the model that it was made for.
compat §9, row 4.

0.6.1 is its last release, of before Flask 3 and Python 3.11; `apps/names_of_2019.py` gives back the two names that it
misses. Its applications stand in `apps/flask_uwsgi_*.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import pytest
from clients import Visitor, dial
from support.raw_client import RawClient
from support.server import TIMEOUT_S, Server


class Middleware(NamedTuple):
    """One of the package's classes: its application, the options that it is made for, and what it can do."""

    name: str
    app: str
    options: tuple[str, ...]
    #: Returning from a handler ends the connection.
    closes: bool = True
    #: Somebody else's request may send.
    pushes: bool = False


MIDDLEWARES = (
    Middleware("sync-threads", "flask_uwsgi_sync.py", ("--threads", "50")),
    Middleware("sync-greenlets", "flask_uwsgi_sync.py", ("--async", "50", "--greenlet")),
    Middleware("sync-gevent", "flask_uwsgi_sync.py", ("--gevent", "50")),
    Middleware("async", "flask_uwsgi_async.py", ("--async", "50", "--greenlet")),
    Middleware("gevent", "flask_uwsgi_gevent.py", ("--gevent", "50", "--websocket-text-lenient"), pushes=True),
    Middleware(
        "asyncio",
        "flask_uwsgi_asyncio.py",
        ("--asyncio", "50", "--greenlet", "--websocket-text-lenient"),
        closes=False,
        pushes=True,
    ),
)


def each(*middlewares: Middleware) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", middlewares, ids=lambda one: one.name, indirect=True)


EACH = each(*MIDDLEWARES)


@pytest.fixture
def server(request: pytest.FixtureRequest, run: Callable[..., Server]) -> Server:
    middleware: Middleware = request.param
    return run(
        ".", "--import", "names_of_2019", "--wsgi-file", middleware.app, "--callable", "app", *middleware.options
    )


@EACH
def test_text_comes_back(server: Server) -> None:
    with dial(server, "/echo") as ws:
        for words in ("hello", "größer ≥ 日本語", "x" * 70_000):
            ws.send(words)
            assert ws.recv(TIMEOUT_S) == words


@EACH
def test_bytes_come_back(server: Server) -> None:
    with dial(server, "/echo/binary") as ws:
        for data in (b"\x00\xff", bytes(range(256)) * 300):
            ws.send(data)
            assert ws.recv(TIMEOUT_S) == data


@EACH
def test_a_burst_comes_back_in_order(server: Server) -> None:
    with dial(server, "/echo") as ws:
        for number in range(100):
            ws.send(str(number))
        assert [ws.recv(TIMEOUT_S) for _ in range(100)] == [str(number) for number in range(100)]


@EACH
def test_a_route_has_variables_and_the_server_may_speak_first(server: Server) -> None:
    with dial(server, "/hello/Ada/3") as ws:
        assert [ws.recv(TIMEOUT_S) for _ in range(3)] == [f"hello Ada {number}" for number in range(3)]


@EACH
def test_pages_are_served_while_sockets_are_open(server: Server) -> None:
    with dial(server, "/echo") as ws:
        page = Visitor(server).load()
        assert (page.status_code, page.text) == (200, "a page")
        assert Visitor(server).load("/nowhere").status_code == 404
        ws.send("still here")
        assert ws.recv(TIMEOUT_S) == "still here"


@EACH
def test_twenty_clients_at_once(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(dial(server, "/echo")) for _ in range(20)]
        for turn in range(3):
            for number, ws in enumerate(clients):
                ws.send(f"{turn} {number}")
            for number, ws in enumerate(clients):
                assert ws.recv(TIMEOUT_S) == f"{turn} {number}"


@each(*(one for one in MIDDLEWARES if one.pushes))
def test_a_page_pushes_to_all_who_listen(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(dial(server, "/news")) for _ in range(3)]
        for ws in readers:
            assert ws.recv(TIMEOUT_S) == "subscribed"
        for words in ("first", "second"):
            assert Visitor(server).submit("/news", words=words).text == "told 3"
        for ws in readers:
            assert [ws.recv(TIMEOUT_S), ws.recv(TIMEOUT_S)] == ["first", "second"]


# -- how a connection ends


@EACH
def test_a_client_that_closes_is_answered_and_its_request_ends(server: Server) -> None:
    since = server.mark()
    with dial(server, "/echo") as ws:
        ws.send("hello")
        ws.recv(TIMEOUT_S)
        ws.close(4001, "bye")
    assert ws.close_code == 4001
    server.wait_for_line(r'session: .* "/echo" 101.* closed 4001( ".*")? by client', since)


@EACH
def test_a_client_that_vanishes_ends_its_request(server: Server) -> None:
    since = server.mark()
    client = RawClient.upgrade(server, "/echo")
    client.send_text("hello")
    assert client.read_data().payload == b"hello"
    client.abort()
    server.wait_for_line(r'session: .* "/echo" 101.* lost by client: ', since)


@each(*(one for one in MIDDLEWARES if one.closes))
def test_a_handler_that_returns_closes_in_order(server: Server) -> None:
    with RawClient.upgrade(server, "/echo") as client:
        client.send_text("bye")
        assert client.read_close()[0] == 1000
        client.send_close(1000)
        client.read_end()
