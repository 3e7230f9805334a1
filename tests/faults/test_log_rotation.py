"""The file of --logto while it is rotated under a server at work: master and workers go on in the new one."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.machine import BEHAVIOURS, wait_until
from support.server import APPS, TIMEOUT_S


class Logging:
    """A server that writes its log to a file of its own."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fairlead", "--wsgi-file", str(BEHAVIOURS), "--pythonpath", str(APPS),
             "--http", "127.0.0.1:0", "--logto", str(path), *options],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.port = int(self.wait_for(r"serving .* at http://127\.0\.0\.1:(\d+)")[1])

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of the file of now in which it is found."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.path.read_text() if self.path.exists() else "")
            found.extend([match] if match else [])
            return bool(found)

        wait_until(look, f"a line with {pattern!r}")
        return found[0]

    def ask(self, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request("GET", path, headers={"Connection": "close"})
        assert connection.getresponse().read() is not None
        connection.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Logging]]:
    started: list[Logging] = []

    def start_one(*options: str) -> Logging:
        started.append(Logging(tmp_path / "log", *options))
        return started[-1]

    yield start_one
    for server in started:
        server.process.terminate()
        assert server.process.wait(TIMEOUT_S) == 0


def rename(path: Path) -> Path:
    return path.rename(path.with_name("log.1"))


@pytest.mark.parametrize("way", ["a signal", "renamed", "removed", "touched"])
def test_master_and_workers_go_on_in_the_new_file(start: Callable[..., Logging], tmp_path: Path, way: str) -> None:
    flag = tmp_path / "flag"
    server = start("--touch-logreopen", str(flag))
    server.ask("/books?before")
    server.wait_for("GET /books.before")
    old = rename(server.path)
    server.ask("/books?meanwhile")
    if way == "removed":
        old.unlink()
    elif way == "touched":
        flag.touch()
    elif way == "a signal":
        server.process.send_signal(signal.SIGUSR1)
    server.wait_for(f"info: --logto {re.escape(str(server.path))} was opened anew: ")
    # The master has told the worker; that it has followed can be seen from outside only.
    wait_until(lambda: server.ask("/books?after") or "GET /books?after" in server.path.read_text(), "it follows")
    if way != "removed":
        assert "GET /books?meanwhile" in old.read_text() + server.path.read_text(), "a line is lost"
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("reloaded: 1 new worker ready")
    server.ask("/books?reloaded")
    server.wait_for("GET /books.reloaded")


def test_the_signal_harms_no_worker_that_gets_it_too(start: Callable[..., Logging]) -> None:
    """`systemctl kill -s USR1` sends it to all processes of the unit."""
    server = start()
    text = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    for pid in map(int, text.split()):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
    server.ask("/books?alive")
    server.wait_for("GET /books.alive")
    assert "starting another" not in server.path.read_text()


def test_without_a_file_the_signal_says_so(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "fairlead", "--wsgi-file", str(BEHAVIOURS), "--http", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stderr is not None
        while "serving" not in server.stderr.readline():
            pass
        server.send_signal(signal.SIGUSR1)
        line = server.stderr.readline()
        assert line.endswith(" SIGUSR1 opens the file of --logto anew, and there is none: the log is standard error\n")
        server.terminate()
        assert server.wait(TIMEOUT_S) == 0
