"""Every example of the pages runs as it stands there: handshake and echo, or the lines that the page says it logs.

The address of the page is replaced by a free port, and the files are written to a folder of the test's own; all else is
what a reader would type. A page without examples would pass in silence, so each has to have some.
"""

from __future__ import annotations

import contextlib
import http.server
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from documentation.pages import Command, Refusal, commands, pattern, refusals
from faults.machine import wait_until
from support.raw_client import TEXT, Frame, RawClient, frame, handshake_request
from support.redis_server import RedisServer
from support.server import READY, Server

PAGES = ("howto/channels.md", "explain/concurrency.md", "start/coming-from-uwsgi.md")
COMMANDS = [command for page in PAGES for command in commands(page)]
REFUSALS = [refusal for page in (*PAGES, "howto/behind-a-proxy.md") for refusal in refusals(page)]


def test_the_pages_show_examples_at_all() -> None:
    assert {command.where.partition(":")[0] for command in COMMANDS} == set(PAGES)
    assert REFUSALS


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.logs], ids=lambda c: c.where)
def test_an_example_echoes_to_several_clients(command: Command, tmp_path: Path, around: Around) -> None:
    with launched(command, tmp_path, around) as server, contextlib.ExitStack() as stack:
        server.wait_until_ready()
        clients = [stack.enter_context(RawClient.upgrade(server)) for _ in range(3)]
        is_room = around.is_room(command)
        if is_channel(command):
            settle(clients)
        elif is_room:
            around.wait_for_listeners(3 if {"room.py", "room_async.py"} & set(command.words) else processes(command))
        # The last one first: a handler that holds up the others would not answer.
        for number, client in reversed(list(enumerate(clients))):
            client.send_text(f"message {number}")
            for one in clients if is_room else [client]:
                assert heard(one) == Frame(TEXT, f"message {number}".encode())
        for client in clients:
            client.close_in_order()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.logs], ids=lambda c: c.where)
def test_an_example_logs_what_the_page_says(command: Command, tmp_path: Path, around: Around) -> None:
    server = launched(command, tmp_path, around)
    try:
        if not server.wait_for_line(rf"{READY.pattern}|^fairlead: ")[0].startswith("fairlead: "):
            server.wait_until_ready()
            with RawClient(server.connect()) as client:
                # The mistake may be one that fails before the handshake; what counts is the log.
                client.send_bytes(handshake_request(server.host_header) + frame(TEXT, "hello"))
                client.read_response()
                for line in command.logs:
                    server.wait_for_line(pattern(line))
            server.signal(signal.SIGTERM)
        server.wait_for_end()
        for line in command.logs:
            server.wait_for_line(pattern(line))
    except BaseException:
        server.kill()
        raise


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: r.where)
def test_options_that_cannot_be_are_answered_as_the_page_says(refusal: Refusal, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("def application(environ, start_response): ...\n")
    server = Server.launch("--http", "127.0.0.1:0", "--wsgi-file", str(app), *refusal.options)
    assert server.wait_for_end() == 2
    assert server.lines == [f"fairlead: {refusal.answer}"]


def is_channel(command: Command) -> bool:
    """Whether the example's clients are members of a channel."""
    return any("import channels" in body or ", channels" in body for body in shown(command))


def shown(command: Command) -> list[str]:
    """The page's files that the command names."""
    return [command.files[word] for word in command.words if word in command.files]


def settle(clients: list[RawClient]) -> None:
    """Wait until all have joined: who hears itself has, and then so has everybody who hears the last one."""
    for number, client in enumerate(clients):
        client.send_text(f"here is {number}")
        while heard(client).payload != f"here is {number}".encode():
            pass
    clients[0].send_text("all are here")
    for client in clients:
        while heard(client).payload != b"all are here":
            pass


def heard(client: RawClient) -> Frame:
    """The next message of the application or of a channel, without what one with its offset begins with."""
    while True:
        found = client.read_data()
        if not found.payload.startswith(b"\x1e"):
            return found
        if not found.payload.startswith((b"\x1ejoined ", b"\x1e0 ")):
            return found._replace(payload=found.payload.partition(b"\n")[2])


def processes(command: Command) -> int:
    words = command.words
    return int(words[words.index("--processes") + 1]) if "--processes" in words else 1


def launched(command: Command, folder: Path, around: Around) -> Server:
    """The command, with the page's files in a folder, on a free port."""
    for name, body in command.files.items():
        (folder / name).write_text(body.replace("127.0.0.1:8080", "127.0.0.1:0"), encoding="utf-8")
    words = [str(folder / word) if word in command.files else word for word in command.words]
    return Server.launch(*(word.replace("127.0.0.1:8080", "127.0.0.1:0") for word in words), environ=around.environ)


class Around:
    """What examples talk to: a Redis, and an HTTP service that answers with its path."""

    def __init__(self, redis: RedisServer, service: http.server.HTTPServer) -> None:
        self.environ = {"REDIS_URL": f"unix://{redis.socket}", "SERVICE": f"http://127.0.0.1:{service.server_port}"}
        self._redis = redis

    @staticmethod
    def is_room(command: Command) -> bool:
        """Whether the example sends a message to all its clients."""
        return is_channel(command) or any("redis" in body for body in shown(command))

    def wait_for_listeners(self, count: int) -> None:
        wait_until(lambda: self._redis.client.pubsub_numsub("room")[0][1] == count, f"{count} listen to the room")


@pytest.fixture(scope="session")
def around() -> Iterator[Around]:
    """Started once."""
    with RedisServer() as redis, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield Around(redis, service)
        service.shutdown()


class Answer(http.server.BaseHTTPRequestHandler):
    """The path without its slash, as the body."""

    def do_GET(self) -> None:
        body = unquote(self.path[1:]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
