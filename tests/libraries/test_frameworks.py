"""Flask, Django and Bottle: WebSocket views beside ordinary pages, by uWSGI's calls and by Fairlead's own.

The same site in all three (`apps/flask_site`, `apps/django_site`, `apps/bottle_site`): a page from a template with a
static file, a form that logs in, and two WebSocket views that know who is logged in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from clients import Visitor
from support.libraries import APPS, SITES, start_library
from support.raw_client import RawClient
from support.runners import Runner, every_read_path, every_runner
from support.server import TIMEOUT_S, Server
from websockets.exceptions import ConnectionClosed

VIEWS = ["/ws/uwsgi", "/ws/fairlead"]


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest, runner: Runner, run: Callable[..., Server]) -> Server:
    folder, *options = SITES[request.param]
    return run(folder, *options, *runner.options)


@pytest.fixture
def visitor(site: Server) -> Visitor:
    return Visitor(site)


def log_in(site: Server, name: str, colour: str = "green") -> Visitor:
    """Somebody who has filled in the form of the page."""
    visitor = Visitor(site)
    visitor.load()
    assert visitor.submit("/login", name=name, colour=colour).ok
    return visitor


def test_pages_come_from_templates_and_files(visitor: Visitor) -> None:
    page = visitor.load()
    assert (page.status_code, page.headers["Content-Type"].lower()) == (200, "text/html; charset=utf-8")
    assert "<h1>Hello stranger</h1>" in page.text
    script = visitor.load("/static/page.js")
    assert script.status_code == 200 and "new WebSocket" in script.text
    assert visitor.load("/nowhere").status_code == 404


def test_a_form_logs_in_and_leads_back_to_the_page(visitor: Visitor) -> None:
    visitor.load()
    answer = visitor.submit("/login", name="Ada", colour="green")
    assert [step.status_code for step in answer.history] in ([302], [303])
    assert "<h1>Hello Ada</h1>" in answer.text


@pytest.mark.parametrize("view", VIEWS)
def test_a_websocket_view_knows_the_session_and_the_cookies(site: Server, view: str) -> None:
    with log_in(site, "Ada").dial(view) as ws:
        assert ws.recv(TIMEOUT_S) == "Welcome Ada, you like green"
        ws.send("hello")
        assert ws.recv(TIMEOUT_S) == "Ada: hello"


@pytest.mark.parametrize("view", VIEWS)
def test_a_stranger_is_served_too(visitor: Visitor, view: str) -> None:
    with visitor.dial(view) as ws:
        assert ws.recv(TIMEOUT_S) == "Welcome stranger, you like nothing"


@every_runner
@pytest.mark.parametrize("view", VIEWS)
def test_views_that_wait_do_not_mix_up_their_visitors(site: Server, view: str) -> None:
    names = [f"visitor {number}" for number in range(8)]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(log_in(site, name).dial(view)) for name in names]
        for ws, name in zip(sockets, names, strict=True):
            assert ws.recv(TIMEOUT_S) == f"Welcome {name}, you like green"
        for turn in range(3):
            for ws in reversed(sockets):
                ws.send(f"turn {turn}")
            for ws, name in zip(sockets, names, strict=True):
                assert ws.recv(TIMEOUT_S) == f"{name}: turn {turn}"
            assert "Hello stranger" in Visitor(site).load().text, "pages are served meanwhile"


def test_bytes_stay_bytes_by_fairleads_own_api(visitor: Visitor) -> None:
    with visitor.dial("/ws/fairlead") as ws:
        ws.recv(TIMEOUT_S)
        ws.send(b"\x00\xff")
        assert ws.recv(TIMEOUT_S) == b"\x00\xff"


def test_a_project_is_found_on_the_module_path_too() -> None:
    project = str(APPS / "django_site")
    with start_library("..", "--pythonpath", project, "--module", "mysite.wsgi", "--threads", "2") as site:
        assert "<h1>Hello stranger</h1>" in Visitor(site).load().text


# -- how a view ends: the framework wants to answer what is no request any more


@every_read_path
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_that_returns_closes_with_1000_and_nothing_else_is_sent(site: Server, view: str) -> None:
    since = site.mark()
    with RawClient.upgrade(site, view) as client:
        client.read_data()
        client.send_text("bye")
        assert client.read_close()[0] == 1000
        client.send_close(1000)
        client.read_end()
    site.wait_for_line(rf'session: .* "{view}" 101', since)
    assert not [line for line in site.lines[since:] if "Traceback" in line or "headers already sent" in line]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_whose_visitor_leaves_ends_in_silence(site: Server, visitor: Visitor, view: str) -> None:
    since = site.mark()
    with visitor.dial(view) as ws:
        ws.recv(TIMEOUT_S)
        ws.close(4001, "bye")
    assert ws.close_code == 4001
    site.wait_for_line(rf'session: .* "{view}" 101.* closed 4001( ".*")? by client', since)
    assert not [line for line in site.lines[since:] if "Traceback" in line or "headers already sent" in line]


@every_read_path
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_that_fails_closes_with_1011(site: Server, visitor: Visitor, view: str) -> None:
    since = site.mark()
    with visitor.dial(view) as ws:
        ws.recv(TIMEOUT_S)
        ws.send("fail")
        with pytest.raises(ConnectionClosed) as end:
            ws.recv(TIMEOUT_S)
    assert end.value.rcvd is not None and end.value.rcvd.code == 1011
    # Its traceback comes before this line, and not into the next test.
    site.wait_for_line(rf'session: .* "{view}" 101.* closed 1011', since)
    assert visitor.load().status_code == 200


@every_read_path
@pytest.mark.parametrize("view", VIEWS)
def test_a_visitor_who_vanishes_ends_the_view(site: Server, view: str) -> None:
    since = site.mark()
    client = RawClient.upgrade(site, view)
    assert client.read_data().payload.startswith(b"Welcome")
    client.abort()
    site.wait_for_line(rf'session: .* "{view}" 101.* lost by client: ', since)
    assert not [line for line in site.lines[since:] if "Traceback" in line]
