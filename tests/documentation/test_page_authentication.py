"""The pages on authentication, and on Socket.IO under Flask: their applications let in, and keep out, whom they say."""

from __future__ import annotations

import contextlib
import http.cookiejar
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import socketio
from documentation.pages import commands, write
from support.server import TIMEOUT_S, Server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PAGES = ("howto/authentication.md", "howto/flask.md")


@pytest.fixture
def serving(tmp_path: Path) -> Callable[[str], contextlib.AbstractContextManager[Server]]:
    """`serving("members.py")`: the page's command for that file, on a free port."""

    @contextlib.contextmanager
    def begin(name: str) -> Iterator[Server]:
        (command,) = [command for page in PAGES for command in commands(page) if name in command.words]
        write(command.files, tmp_path)
        words = [word.replace("127.0.0.1:8080", "127.0.0.1:0") for word in command.words]
        with Server.launch("--chdir", str(tmp_path), *words) as server:
            server.wait_until_ready()
            yield server

    return begin


def refusal(url: str, **how: object) -> int:
    with pytest.raises(InvalidStatus) as refused, connect(url, **how):  # type: ignore[arg-type]
        pass
    return refused.value.response.status_code


def test_a_session_of_the_site_opens_the_websocket(serving: Callable[..., contextlib.AbstractContextManager]) -> None:
    with serving("members.py") as server:
        assert refusal(server.url("/ws")) == 401
        server.wait_for_line(r'request: .* "GET /ws HTTP/1.1" 401')

        cookies = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        assert opener.open(server.url("/login", "http"), b"name=Ada", TIMEOUT_S).read() == b"welcome"
        (cookie,) = cookies
        headers = {"Cookie": f"{cookie.name}={cookie.value}"}
        with connect(server.url("/ws"), additional_headers=headers) as ws:
            ws.send("hello")
            assert ws.recv(TIMEOUT_S) == "Ada: hello"

        # The origin: its own page may, another one may not, although the browser would send the cookie.
        with connect(server.url("/ws"), additional_headers=headers, origin=server.url("", "http")):  # type: ignore[arg-type]
            pass
        assert refusal(server.url("/ws"), additional_headers=headers, origin="https://evil.example") == 403
        server.wait_for_line(r"handshake refused: .*https://evil\.example.* --websockets-origin")


def test_a_token_in_the_first_message_opens_it(serving: Callable[..., contextlib.AbstractContextManager]) -> None:
    with serving("tokens.py") as server:
        with urllib.request.urlopen(server.url("/", "http"), timeout=TIMEOUT_S) as answer:
            token = answer.read().decode()
        with connect(server.url()) as ws:
            ws.send(token)
            ws.send("hello")
            assert ws.recv(TIMEOUT_S) == "anna: hello"
        name, until, proof = token.split("/")
        for bad in (f"eve/{until}/{proof}", f"{name}/{int(until) + 60}/{proof}", "nothing", "", b"\x00\xff"):
            with connect(server.url()) as ws, pytest.raises(ConnectionClosed) as end:
                ws.send(bad)
                ws.recv(TIMEOUT_S)
            assert end.value.rcvd is not None
            assert (end.value.rcvd.code, end.value.rcvd.reason) == (4001, "sign in again")
        assert not [line for line in server.lines if "Traceback" in line]


def test_socket_io_serves_under_flask(serving: Callable[..., contextlib.AbstractContextManager]) -> None:
    with serving("rooms.py") as server, contextlib.ExitStack() as stack:
        for transport in ("websocket", "polling"):
            one, other = (stack.enter_context(socketio.SimpleClient()) for _ in range(2))
            for client in (one, other):
                client.connect(server.url("", "http"), transports=[transport])
            one.emit("message", f"over {transport}")
            assert other.receive(TIMEOUT_S) == ["message", f"over {transport}"]
            for client in (one, other):
                client.disconnect()
