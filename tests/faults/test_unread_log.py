"""A log that nobody reads: standard error is a pipe that is full. Requests and WebSockets go on, a stop ends everybody,
and whoever reads on is told how many lines are missing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.machine import BEHAVIOURS
from support.raw_client import RawClient, handshake_request
from support.runners import Runner, every_runner
from support.server import APPS, TIMEOUT_S

#: A pipe holds 64 KiB, and 4 MiB wait in the process.
TARGET = "/hello?" + "x" * 16_000


class Unread:
    """A server whose log is read on demand only."""

    def __init__(self, *options: str, app: Path = BEHAVIOURS) -> None:
        reader, writer = os.pipe()
        self.reader = reader
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fairlead", "--wsgi-file", str(app), "--pythonpath", str(APPS),
             "--http", "127.0.0.1:0", *options],
            stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
        )  # fmt: skip
        os.close(writer)
        self.log = b""
        port = self.read_until(rb"serving .* at http://127\.0\.0\.1:(\d+) .*\n")[1]
        self.address = ("127.0.0.1", int(port))

    def read_until(self, pattern: bytes) -> re.Match[bytes]:
        while not (found := re.search(pattern, self.log)):
            data = os.read(self.reader, 65536)
            assert data, self.log[-2000:]
            self.log += data
        return found

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, TIMEOUT_S)

    def ask(self, count: int) -> None:
        """So many requests on one connection, each answered."""
        with self.connect() as client, client.makefile("rb") as answers:
            for _ in range(count):
                client.sendall(f"GET {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert b" 200 " in answers.readline()
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line[15:])
                answers.read(length)


@pytest.fixture
def start(runner: Runner) -> Iterator[object]:
    started: list[Unread] = []

    def start_one(*options: str, **how: Path) -> Unread:
        started.append(Unread(*runner.options, *options, **how))
        return started[-1]

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.terminate()
        server.process.wait(TIMEOUT_S)
        os.close(server.reader)


@every_runner
def test_everything_goes_on_and_stops_while_nobody_reads_the_log(start):
    server = start("--reload-mercy", "3", "--processes", "2")
    server.ask(100)
    with server.connect() as connection:
        connection.sendall(handshake_request(f"127.0.0.1:{server.address[1]}", "/echo"))
        client = RawClient(connection)
        assert client.read_response().status == 101
        client.send_text("still here")
        assert client.read_data().payload == b"still here"
    server.process.terminate()
    assert server.process.wait(TIMEOUT_S / 2) == 0
    while os.read(server.reader, 65536):  # its end: no worker is left either
        pass


def test_an_application_that_prints_waits_for_nobody_either(start):
    server = start("--reload-mercy", "3", app=BEHAVIOURS.with_name("printing.py"))
    server.ask(3)
    server.read_until(rb"printed x+\n")
    server.process.terminate()
    assert server.process.wait(TIMEOUT_S / 2) == 0


def test_whoever_reads_on_is_told_how_many_lines_are_missing(start):
    server = start()
    server.ask(400)
    found = server.read_until(rb"warning: (\d+) lines? before this one could not be written\n")
    seen = server.log[: found.start()].count(TARGET.encode())
    assert 0 < seen < 400
    server.ask(1)
    server.process.terminate()
    while data := os.read(server.reader, 65536):
        server.log += data
    lost = sum(map(int, re.findall(rb"warning: (\d+) lines? before", server.log)))
    assert server.log.count(TARGET.encode()) + lost == 401
    assert server.process.wait(TIMEOUT_S) == 0
