"""What somebody meets who writes an application beside a running server: a debugger, a broken file, a slow import, and
a task that a stop has to end."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.http_wire import read_answer
from faults.machine import get, wait_until
from support.raw_client import RawClient
from support.runners import Runner, every_runner
from support.server import READY, TIMEOUT_S, Server

DEBUGGED = """
def application(environ, start_response):
    answer = 41
    breakpoint()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % answer]
"""

GOOD = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s"]
"""


def save(path: Path, text: str) -> None:
    """In one step, as editors do: half a file would be one more broken start."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


class Terminal:
    """A server at a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.master, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fairlead", *arguments], stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.text = ""

    def wait_for(self, text: str) -> str:
        """All that was printed up to `text`."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.text:
            assert select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0], self.text
            self.text += os.read(self.master, 65536).decode("utf-8", "replace").replace("\r\n", "\n")
        seen, found, self.text = self.text.partition(text)
        return seen + found

    def type(self, line: str) -> None:
        os.write(self.master, line.encode() + b"\n")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def at(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield at
    for one in opened:
        one.close()


@every_runner
def test_a_breakpoint_stops_at_the_terminal(terminal: Callable[..., Terminal], runner: Runner, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(DEBUGGED)
    server = terminal("--http", "127.0.0.1:0", str(app), "--py-autoreload", "5", *runner.options)
    port = int(server.wait_for(" — 1 worker,").rpartition("http://127.0.0.1:")[2].partition(" ")[0])
    with RawClient(socket.create_connection(("127.0.0.1", port), TIMEOUT_S)) as client:
        client.send_bytes(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server.wait_for("(Pdb) ")
        server.type("answer += 1")
        server.wait_for("(Pdb) ")
        server.type("c")
        assert read_answer(client).body == b"42"


@pytest.mark.parametrize(
    ("options", "reads"), [(("--honour-stdin",), "typed"), ((), ""), (("--py-autoreload", "9"), "")]
)
def test_a_worker_reads_standard_input_where_it_is_told_to(
    options: tuple[str, ...], reads: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(f"import sys\nprint('read:', repr(sys.stdin.read()), flush=True)\n{GOOD}")
    with open(tmp_path / "typed", "w+") as file:
        file.write("typed")
        file.flush()
        file.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "fairlead", "--http", "127.0.0.1:0", str(tmp_path / "app.py"), *options],
            stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    server = Server(process)
    with server:
        assert server.wait_for_line(r"^read: '(.*)'$")[1] == reads
        server.wait_until_ready()


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("def application(:\n", "SyntaxError"),
        ("import part\n", "there is no module 'part'|No module named 'part'"),
        ("import other\n", "SyntaxError.*other.py line 1"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("", "has no callable 'application'"),
    ],
)
def test_a_broken_start_waits_for_the_next_change_under_autoreload(broken: str, why: str, tmp_path: Path) -> None:
    app, part, other = tmp_path / "app.py", tmp_path / "part.py", tmp_path / "other.py"
    app.write_text(broken)
    other.write_text("def (:\n")
    server = Server.launch(
        "--http", "127.0.0.1:0", "--chdir", str(tmp_path), "--wsgi-file", "app.py", "--py-autoreload", "0.05"
    )
    with server:
        server.wait_for_line(rf"error: --wsgi-file app.py.*({why}).*; waiting for a change of one of the application's")
        if "import part" in broken:
            save(app, f"import part\n{GOOD % 'one'}")
            server.wait_for_line("starting again: .*app.py changed")
            server.wait_for_lines("waiting for a change", 2)
            part.write_text("")  # a file that was not there
        elif "import other" in broken:
            save(app, f"import other\n{GOOD % 'one'}")
            server.wait_for_lines("waiting for a change", 2)
            other.write_text("")
        else:
            save(app, GOOD % "one")
        server.wait_until_ready()
        assert get(server, "/")[1] == b"one"
        mark = server.mark()
        save(app, GOOD % "another")
        server.wait_for_line("reloaded: 1 new worker ready", since=mark)
        # The old one may accept once more while it leaves.
        wait_until(lambda: get(server, "/")[1] == b"another", "the new application answers")


def test_without_autoreload_a_broken_start_ends(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("1 / 0\n")
    server = Server.launch("--http", "127.0.0.1:0", str(app))
    assert server.wait_for_end() == 2
    assert "ZeroDivisionError" in server.lines[-1]


def test_a_server_that_waits_for_a_change_stops_when_it_is_told(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("1 / 0\n")
    server = Server.launch("--http", "127.0.0.1:0", str(app), "--py-autoreload", "1")
    server.wait_for_line("waiting for a change")
    server.stop()
    assert server.process.returncode == 0


def test_a_slow_import_is_told_after_a_second_and_an_ordinary_one_is_not(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    app = tmp_path / "app.py"
    app.write_text(f"open({str(gate)!r}).read()\n{GOOD % 'one'}")
    server = Server.launch("--http", "127.0.0.1:0", str(app))
    with server:
        assert server.wait_for_line(r"info: loading (\S+): (\d+) s so far, worker 1 \(pid \d+\)").groups() == (
            str(app), "1",
        )  # fmt: skip
        gate.write_text("")
        server.wait_for_line(READY)
    assert len([line for line in server.lines if "so far" in line]) == 1
