"""The complete example in C: its pages, its chat, TLS, and a room that it shares with a server of another language."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from c_binding.conftest import BINDING, TIMEOUT_S, EchoServer
from support import certificates
from support.server import Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Chat = Callable[..., EchoServer]


@pytest.fixture
def chat(compiled: Callable[[Path], Path]) -> Iterator[Chat]:
    """`chat(*arguments)`: one on a port that the system chose; any number of them."""
    program = compiled(BINDING / "examples" / "chat.c")
    with ExitStack() as stack:

        def start(*arguments: str) -> EchoServer:
            process = stack.enter_context(
                subprocess.Popen([program, "127.0.0.1:0", *arguments], stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            line = process.stdout.readline()
            found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
            assert found, f"the first line was {line!r}"
            return EchoServer(process, int(found[1]))

        yield start


def get(port: int, path: str, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    if context is None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    else:
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
    client.request("GET", path)
    response = client.getresponse()
    body = response.read().decode()
    client.close()
    return response.status, body


def test_what_one_says_all_hear_and_the_pages_are_there(chat: Chat) -> None:
    server = chat()
    status, page = get(server.port, "/")
    assert (status, "new WebSocket" in page) == (200, True)
    assert get(server.port, "/nowhere")[0] == 404
    with connect(server.url) as anna, connect(server.url) as ben:
        # Both have joined once each has heard itself; Anna may have been alone by then.
        for client, name in ((anna, "Anna"), (ben, "Ben")):
            client.send(name)
            while client.recv(timeout=TIMEOUT_S) != name:
                pass
        assert anna.recv(timeout=TIMEOUT_S) == "Ben"
        for message in (b"\x00bytes", "text"):
            ben.send(message)
            for client in (anna, ben):
                assert client.recv(timeout=TIMEOUT_S) == message
        status, body = get(server.port, "/status")
        assert (status, json.loads(body)) == (200, {"requests": 5, "members": 2})


def test_the_end_tells_everybody(chat: Chat) -> None:
    server = chat()
    with connect(server.url) as client:
        client.send("here")
        assert client.recv(timeout=TIMEOUT_S) == "here"
        assert server.terminate() == "stopped\n"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=TIMEOUT_S)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the server stops")
    assert server.process.returncode == 0


def test_a_certificate_makes_it_speak_tls(chat: Chat, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    server = chat("--certificate", str(pair.certificate), str(pair.key))
    trusting = certificates.context(pair)
    assert get(server.port, "/", trusting)[0] == 200
    with connect(server.url.replace("ws:", "wss:"), ssl=trusting) as client:
        client.send("sealed")
        assert client.recv(timeout=TIMEOUT_S) == "sealed"


def test_a_certificate_that_is_not_there_is_named(compiled: Callable[[Path], Path]) -> None:
    program = compiled(BINDING / "examples" / "chat.c")
    run = subprocess.run(
        [program, "127.0.0.1:0", "--certificate", "/nowhere/cert.pem", "/nowhere/key.pem"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert re.fullmatch(r"TLS: /nowhere/cert\.pem cannot be read: .*\n", run.stderr)


def test_a_room_is_shared_with_a_server_in_python(chat: Chat, tmp_path: Path) -> None:
    """Each says something; both clients hear both, in one order."""
    shared = str(tmp_path / "channels")
    with Server.start("rooms.py", "--async", "10", "--greenlet", "--channels-file", shared) as python:
        server = chat("--channels", shared)
        with connect(server.url) as in_c, connect(f"ws://{python.host_header}/room") as in_python:
            assert in_python.recv(timeout=TIMEOUT_S) == "joined"
            in_c.send("from C")
            for client in (in_c, in_python):
                assert client.recv(timeout=TIMEOUT_S) == "from C"
            in_python.send("from Python")
            for client in (in_c, in_python):
                assert client.recv(timeout=TIMEOUT_S) == "from Python"
            assert json.loads(get(server.port, "/status")[1])["members"] == 2
