"""A newcomer's first fifteen minutes, in an empty folder: README, the first application, Flask, Django, wss, nginx, a
reload, and why a client was disconnected.

Files and commands are those of the pages, read from them and handed to a shell as they stand. What differs is the port,
which is a free one. So a page that changes is tried as it is now, and a command that is not on a page is not run here.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation.pages import Line, lines, pattern, text_of, write
from support.proxy_servers import Nginx
from support.raw_client import RawClient, handshake_request
from support.server import TIMEOUT_S, Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

#: What is listened on, and what stands for it.
PLACES = {"127.0.0.1:8080": "127.0.0.1:0", ":8443,": "127.0.0.1:0,", " :8080,": " 127.0.0.1:0,"}


class Newcomer:
    """Somebody with a shell in a folder of their own, who finds `fairlead`, `python` and `django-admin` there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "empty"
        self.folder.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        for name, module in {"fairlead": "-m fairlead", "django-admin": "-m django", "python": ""}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            (programs / name).chmod(0o755)
        self._environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def follow(self, page: str, beginning: str, place: Path | str = "") -> str:
        """The command of a page that begins so, with the page's files before it in the folder."""
        (line,) = [line for line in lines(page) if line.text.startswith(beginning)][:1] or [None]
        assert isinstance(line, Line), f"{page} has no command {beginning!r}"
        write({name: free(body) for name, body in line.files.items()}, self.folder / place)
        return line.text

    def run(self, text: str, place: Path | str = "") -> str:
        """A command that ends; returns what it prints."""
        answer = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=self.folder / place,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S * 2,
        )
        assert answer.returncode == 0, f"{text}\n{answer.stdout}"
        return answer.stdout

    @contextlib.contextmanager
    def serving(self, text: str, place: Path | str = "") -> Iterator[Server]:
        """A command that serves."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {free(text)}"],
            cwd=self.folder / place,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with Server(process) as server:
            server.wait_until_ready()
            yield server


def free(text: str) -> str:
    """A command or file with a free port in the place of the page's."""
    for place, other in PLACES.items():
        text = text.replace(place, other)
    return text


def page_at(server: Server, path: str = "/") -> str:
    with urllib.request.urlopen(server.url(path, "http"), timeout=TIMEOUT_S) as answer:
        return str(answer.read().decode())


def answer_of(server: Server, message: str, path: str = "/") -> object:
    with connect(server.url(path)) as ws:
        ws.send(message)
        return ws.recv(TIMEOUT_S)


def test_a_newcomer_comes_through_the_first_fifteen_minutes(tmp_path: Path) -> None:
    newcomer = Newcomer(tmp_path)
    for step in (install, readme, first_application, a_new_version, flask, django, wss, nginx, disconnected):
        # A traceback should name the step, and each begins in the folder that the one before has left.
        step(newcomer)


def install(newcomer: Newcomer) -> None:
    command = newcomer.follow("start/install.md", "venv/bin/fairlead --version").removeprefix("venv/bin/")
    assert newcomer.run(command).strip() in text_of("start/install.md").splitlines()


def readme(newcomer: Newcomer) -> None:
    with newcomer.serving(newcomer.follow("../README.md", "fairlead ")) as server:
        assert "This is a WebSocket server" in page_at(server)
        assert answer_of(server, "hello") == "hello"


def first_application(newcomer: Newcomer) -> None:
    with newcomer.serving(newcomer.follow("start/first-application.md", "fairlead --http")) as server:
        assert "new WebSocket" in page_at(server)
        assert answer_of(server, "hello") == "HELLO"


def a_new_version(newcomer: Newcomer) -> None:
    with newcomer.serving(newcomer.follow("start/first-application.md", "fairlead chat.ini")) as server:
        with connect(server.url()) as ws, pytest.raises(ConnectionClosed) as end:
            newcomer.run(newcomer.follow("start/first-application.md", "kill -HUP"))
            ws.recv(TIMEOUT_S)
        assert end.value.rcvd is not None and end.value.rcvd.code == 1012
        assert answer_of(server, "back") == "BACK"


def flask(newcomer: Newcomer) -> None:
    with newcomer.serving(newcomer.follow("howto/flask.md", "fairlead ")) as server:
        assert page_at(server) == "<h1>Hello</h1>"
        assert answer_of(server, "hello", "/echo/anna") == "anna: hello"


def django(newcomer: Newcomer) -> None:
    page = "howto/django.md"
    first = [line.text for line in lines(page) if not line.text.startswith("fairlead ")]
    newcomer.run("\n".join(first))
    command = newcomer.follow(page, "fairlead ", "mysite")
    with newcomer.serving(command, "mysite") as server:
        assert "Django administration" in page_at(server, "/admin/login/")
        assert "body" in page_at(server, "/static/admin/css/base.css")
        with connect(server.url("/ws/")) as ws:
            assert ws.recv(TIMEOUT_S) == "hello stranger"
            ws.send("hello")
            assert ws.recv(TIMEOUT_S) == "hello"
        with RawClient(server.connect()) as client:
            origin = [("Origin", "https://evil.example")]
            client.send_bytes(handshake_request(server.host_header, "/ws/", headers=origin))
            assert client.read_response().status == 403


def wss(newcomer: Newcomer) -> None:
    newcomer.run(newcomer.follow("howto/tls.md", "openssl "))
    with newcomer.serving(newcomer.follow("howto/tls.md", "fairlead --https ")) as server:
        trusting = ssl.create_default_context(cafile=str(newcomer.folder / "site.crt"))
        with connect(server.url(scheme="wss"), ssl=trusting) as ws:
            ws.send("hello")
            assert ws.recv(TIMEOUT_S) == "hello"
        with RawClient(server.connect(1)) as client:
            client.send_bytes(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = client.read_response()
            assert (response.status, response.header("Location")) == (301, "https://localhost:8443/page")


def nginx(newcomer: Newcomer) -> None:
    newcomer.follow("../README.md", "fairlead ")  # its app.py is "an application of yours"
    with newcomer.serving(newcomer.follow("howto/behind-a-proxy.md", "fairlead ")) as server:
        with Nginx("/etc/nginx/conf.d/chat.conf", server.address) as proxy, RawClient.upgrade(proxy) as client:  # type: ignore[arg-type]
            client.send_text("hello")
            assert client.read_data().payload == b"hello"
            client.close_in_order()
        server.wait_for_line(r'session: 127\.0\.0\.2 "/" 101')


def disconnected(newcomer: Newcomer) -> None:
    page = "howto/troubleshooting.md"
    with newcomer.serving(newcomer.follow("../README.md", "fairlead ")) as server:
        ask = newcomer.follow(page, "curl ").replace("127.0.0.1:8080", server.host_header)
        said = newcomer.run(f"{ask} || true")
        status = re.findall(r"^HTTP/1.1 (\d+)", said, re.MULTILINE)[0]
        assert f"| {status} | all is well" in text_of(page)

        with connect(server.url(), max_size=None) as ws, pytest.raises(ConnectionClosed) as end:
            ws.send("x" * 1_100_000)
            ws.recv(TIMEOUT_S)
        assert end.value.rcvd is not None
        (row,) = re.findall(rf"^\| `(closed with {end.value.rcvd.code}: .*?)` \| .* \|$", text_of(page), re.MULTILINE)
        server.wait_for_line(pattern(row))
