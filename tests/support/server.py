"""The real command as a process: start it, read its log, talk to its port, stop it.

`Server` waits for the line that says where it serves, so no port is ever guessed. Log lines are collected by
a thread from the first to the last one; a test waits for a line and never for a time. Stopping is strict: a
server that has to be killed, or whose log holds a panic, fails the test that stops it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

APPS = Path(__file__).parent / "apps"

#: Generous: a machine under load is no reason for a failure, and a test that passes never waits so long.
TIMEOUT_S = 20.0

READY = re.compile(r"^fairlead \S+ serving .* at (.*) — \d+ workers?, ")
PANIC = re.compile(r"panicked at|Fatal Python error|SystemError: (?!you can call uwsgi api function)", re.MULTILINE)


class Server:
    """A running `fairlead` command. Make it with `Server.start`; it is a context manager."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []
        #: One address for each listener, in the order of the options: (host, port), or a path.
        self.addresses: list[tuple[str, int] | str] = []
        self._is_complete = False
        self._is_asked = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls,
        app: str | Path,
        *options: str,
        listen: tuple[str, ...] = ("--http", "127.0.0.1:0"),
        environ: dict[str, str] | None = None,
        under: tuple[str, ...] = (),
    ) -> Server:
        """Start the command for an app of `support/apps` (or any path) and wait until it serves."""
        server = cls.launch("--wsgi-file", str(APPS / app), "--pythonpath", str(APPS), *listen, *options,
                            environ=environ, under=under)  # fmt: skip
        try:
            server.wait_until_ready()
        except BaseException:
            server.kill()
            raise
        return server

    @classmethod
    def launch(cls, *arguments: str, environ: dict[str, str] | None = None, under: tuple[str, ...] = ()) -> Server:
        """Start the command with exactly these arguments, and do not wait. `under` is a program that becomes it,
        such as prlimit."""
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "fairlead", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
        )
        return cls(process)

    def wait_until_ready(self) -> None:
        match = self.wait_for_line(READY)
        for place in match[1].split(" and "):
            found = re.match(r"(?:https?|uwsgi)://(.*):(\d+)$", place)
            if found:
                self.addresses.append((found[1].strip("[]"), int(found[2])))
            else:
                self.addresses.append(place.removeprefix("unix:").removesuffix(" (uwsgi)"))

    # -- where it is

    @property
    def address(self) -> tuple[str, int]:
        """The first TCP address."""
        return next(address for address in self.addresses if isinstance(address, tuple))

    @property
    def host_header(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def url(self, path: str = "/", scheme: str = "ws") -> str:
        return f"{scheme}://{self.host_header}{path}"

    def connect(self, listener: int = 0) -> socket.socket:
        """A new connection to one of the listeners."""
        address = self.addresses[listener]
        if isinstance(address, str):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(TIMEOUT_S)
            connection.connect(address)
            return connection
        return socket.create_connection(address, timeout=TIMEOUT_S)

    # -- what it says

    def mark(self) -> int:
        """The present end of the log; pass it as `since` to look at later lines only."""
        with self._changed:
            return len(self.lines)

    def wait_for_line(
        self, pattern: str | re.Pattern[str], since: int = 0, timeout_s: float = TIMEOUT_S
    ) -> re.Match[str]:
        """The first line from `since` on in which `pattern` is found."""
        deadline = time.monotonic() + timeout_s
        position = since
        with self._changed:
            while True:
                for line in self.lines[position:]:
                    found = re.search(pattern, line)
                    if found:
                        return found
                position = len(self.lines)
                left = deadline - time.monotonic()
                if self._is_complete or left <= 0:
                    break
                self._changed.wait(left)
        text = pattern if isinstance(pattern, str) else pattern.pattern
        why = "the log ended" if self._is_complete else f"{timeout_s} s passed"
        raise AssertionError(f"no line with {text!r} ({why}):\n" + "\n".join(self.lines[since:][-60:]))

    def wait_for_lines(
        self, pattern: str | re.Pattern[str], count: int, since: int = 0, timeout_s: float = TIMEOUT_S
    ) -> list[str]:
        """All lines from `since` on in which `pattern` is found, as soon as there are `count`.

        Not the same as `count` calls of `wait_for_line`, which would all find the first line.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = [line for line in self.lines[since:] if re.search(pattern, line)]
                left = deadline - time.monotonic()
                if len(found) >= count or self._is_complete or left <= 0:
                    break
                self._changed.wait(left)
        text = pattern if isinstance(pattern, str) else pattern.pattern
        assert len(found) >= count, f"{len(found)} of {count} lines with {text!r}:\n" + "\n".join(self.lines[-60:])
        return found

    def note(self, token: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """What the app noted for the request with this token; see apps/notes.py."""
        return json.loads(self.wait_for_line(rf"^note:{re.escape(token)} (.*)", timeout_s=timeout_s)[1])

    # -- its processes

    def worker_pids(self) -> list[int]:
        """The processes that the master has started and that live."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Tell it to stop, once: a second signal would cut it."""
        if not self._is_asked and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self._is_asked = True

    def stop(self) -> None:
        """Stop it in order; a server that does not, or that panicked, is a failure."""
        self.ask_to_stop()
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not stop:\n" + "\n".join(self.lines[-40:])) from None
        self._reader.join(TIMEOUT_S)
        panics = [line for line in self.lines if PANIC.search(line)]
        assert not panics, "\n".join(panics)

    def wait_for_end(self) -> int:
        """The exit status, once it has ended by itself."""
        status = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return status

    def kill(self) -> None:
        """For failed tests: nothing may stay behind."""
        for pid in self.worker_pids() if self.process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        else:
            self.kill()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            with self._changed:
                self.lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()
