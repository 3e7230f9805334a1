"""Real `ruby` processes that serve a Rack application, alone, without a master.

Each test names its application as text or as an example, and gets a server on a port that the system chose. Nothing is
skipped quietly on a machine of ours: Debian's ruby, ruby-rack and ruby-ffi are on the list of packages.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.raw_client import RawClient, handshake_request

ROOT = Path(__file__).resolve().parents[2]
BINDING = ROOT / "bindings" / "ruby" / "lib"
EXAMPLES = ROOT / "examples" / "ruby"

#: The longest that any single step may take on a busy machine. Nothing waits for it to pass.
TIMEOUT_S = 60.0

#: The concurrency models of compat §7.1, by the options that choose them.
MODELS = {
    "one thread": (),
    "threads": ("--threads", "8", "--rbthreads"),
    "fibers": ("--async", "8", "--fiber"),
}


@pytest.fixture(scope="session")
def library() -> Path:
    """`libfairlead.so`, as tests/c_binding builds it."""
    if named := os.environ.get("FAIRLEAD_LIBRARY"):
        return Path(named)
    subprocess.run(["cargo", "build", "--quiet", "--package", "fairlead-c"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return (ROOT / target) / "debug" / "libfairlead.so"


def dechunked(rest: bytes) -> bytes:
    """A body without its chunks; fails when the last one is missing (RFC 9112 §7.1)."""
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


class RubyServer:
    """A running worker, its port, and the lines of its log so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._over = False
        threading.Thread(target=self._collect, daemon=True).start()
        self.port = int(re.search(r":(\d+)$", self.wait_for_line(r"^listening on "))[1])
        self.host_header = f"127.0.0.1:{self.port}"

    def connect(self, _listener: int = 0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def websocket(self, path: str = "/", **how: object) -> RawClient:
        return RawClient.upgrade(self, path, **how)

    def ask(self, request: str, body: bytes = b"") -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of a request; `request` is "GET /path", to which the other lines are added."""
        with self.connect() as connection:
            head = f"{request} HTTP/1.1\r\nHost: {self.host_header}\r\nConnection: close\r\n"
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            connection.sendall(f"{head}{length}\r\n".encode() + body)
            client = RawClient(connection)
            response = client.read_response()
            rest = client.read_rest()
            if response.header("Transfer-Encoding") == "chunked":
                rest = dechunked(rest)
            return response.status, list(response.headers), rest

    def answer_to_a_handshake(self, path: str = "/", **how: object) -> int:
        with self.connect() as connection:
            client = RawClient(connection)
            client.send_bytes(handshake_request(self.host_header, path, **how))
            return client.read_response().status

    def wait_for_line(self, pattern: str) -> str:
        with self._changed:
            found = self._changed.wait_for(lambda: self._over or self._find(pattern), TIMEOUT_S)
            line = self._find(pattern)
            assert found and line, f"no line like {pattern!r} in {self.lines}"
            return line

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(TIMEOUT_S)

    def _find(self, pattern: str) -> str | None:
        return next((line for line in self.lines if re.search(pattern, line)), None)

    def _collect(self) -> None:
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()


Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch(library: Path) -> Iterator[Launch]:
    """`launch("--rack", …)`: a process of the worker, whatever comes of it."""
    assert shutil.which("ruby"), "install Debian's packages ruby, ruby-rack and ruby-ffi"
    processes = []

    def launch_(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        command = ["ruby", "-W1", f"-I{BINDING}", "-rfairlead/worker", "-e", "Fairlead::Worker.main", "--", *arguments]
        variables = {**os.environ, "FAIRLEAD_LIBRARY": str(library), **(environ or {})}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=variables)
        processes.append(process)
        return process

    yield launch_
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


Start = Callable[..., RubyServer]


@pytest.fixture
def start(launch: Launch, tmp_path: Path) -> Start:
    """`start(text or path, *options)`: a server that is ready."""

    def start_(app: str | Path, *options: str) -> RubyServer:
        if isinstance(app, str):
            path = tmp_path / "config.ru"
            path.write_text(app)
            app = path
        return RubyServer(launch("--http", "127.0.0.1:0", "--rack", str(app), *options))

    return start_


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options of each concurrency model in turn."""
    return request.param
