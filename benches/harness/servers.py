"""Starting and stopping what is measured. A server runs in a session of its own, pinned to one CPU,
on a free port of the loopback; its output goes to a file that is shown when it fails. Invariant:
whoever enters `running()` leaves it with no process of that server alive, whatever happened inside.
Processes are ended by the ids that were started here and by nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .machine import REPOSITORY

START_S = 20.0
STOP_S = 5.0
#: Between finding a free port and the server's bind another process can take it; then the next port is tried.
PORT_ATTEMPTS = 3
LOG_TAIL = 1500


class ServerFailed(Exception):
    """A server did not start, or did not answer as it should."""


@dataclass(frozen=True)
class Recipe:
    """How to start one server. In the commands and files `{port}` stands for the port, `{backend}` for that of the
    server behind it and `{folder}` for the folder of the files."""

    name: str
    label: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    #: What `load` has to know to speak to it.
    client: tuple[str, ...] = ()
    #: Who answers, when the server is only a proxy; started first, on the load's CPU.
    backend: tuple[str, ...] = ()
    #: Configuration files by their names.
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that accepts connections."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    recipe: Recipe
    #: The process behind a proxy.
    backend: Running | None = None

    def pids(self) -> list[int]:
        """The whole tree: a master, its workers, whatever they started."""
        return sorted(_tree(self.process.pid))

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_TAIL:].strip()


@contextlib.contextmanager
def running(recipe: Recipe, cpu: int, backend_cpu: int | None = None) -> Iterator[Running]:
    """The server, accepting connections for as long as the block runs; what is behind it has another CPU."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlead-bench-")))
        backend = None
        if recipe.backend:
            behind = Recipe("backend", f"the server behind {recipe.label}", recipe.backend)
            backend = _start(behind, cpu if backend_cpu is None else backend_cpu, folder / "backend")
            stack.callback(_stop, backend.process)
        server = _start(recipe, cpu, folder / "server", backend)
        stack.callback(_stop, server.process)
        yield server


def _start(recipe: Recipe, cpu: int, folder: Path, backend: Running | None = None) -> Running:
    failure = ""
    folder.mkdir()
    # A server that gives up root's rights has to reach its files.
    folder.parent.chmod(0o755)
    log = folder / "log"
    for _ in range(PORT_ATTEMPTS):
        port = _free_port()
        words = {"{port}": str(port), "{backend}": str(backend.port if backend else 0), "{folder}": str(folder)}
        for name, text in recipe.files.items():
            (folder / name).write_text(_with_words(text, words))
        command = [_with_words(word, words) for word in recipe.command]
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    cwd=REPOSITORY,
                    env={**os.environ, **recipe.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    # Safe here: the harness has one thread.
                    preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
                )
        except OSError as error:
            raise ServerFailed(f"{recipe.label} cannot be started: {error}") from None
        server = Running(port, process, log, recipe, backend)
        try:
            if _wait_until_accepting(server):
                return server
            failure = server.log_tail()
        except BaseException:
            _stop(process)
            raise
        _stop(process)
    raise ServerFailed(f"{recipe.label} did not start: {' '.join(command)}\n{failure}")


def _with_words(text: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def _wait_until_accepting(server: Running) -> bool:
    """False when the server ended or the time is over."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            # Somebody accepts; that it is this server follows from its being alive: its bind did not fail.
            time.sleep(0.05)
            return server.process.poll() is None
        time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    tree = _tree(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # Workers that made a group of their own; the start time tells them from a later process that was
    # given the same number.
    for pid, started in tree.items():
        if _is_alive(pid, started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()
    # A killed process ends soon, not at once, and the next server must not share its CPU with it.
    deadline = time.monotonic() + STOP_S
    while any(_is_alive(*one) for one in tree.items()) and time.monotonic() < deadline:
        time.sleep(0.005)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    session: int
    cpu_ticks: int
    started: int


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes."""
    stats = (_stat(pid) for pid in pids)
    return sum(stat.cpu_ticks for stat in stats if stat) / os.sysconf("SC_CLK_TCK")


def _tree(root: int) -> dict[int, int]:
    """Process ids with their start times: the root, its descendants, and all that share its session (a worker
    whose parent has ended still does)."""
    stats = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))):
            stats[int(entry)] = stat
    tree: dict[int, int] = {}
    found = [pid for pid, stat in stats.items() if pid == root or stat.session == root]
    while found:
        tree.update((pid, stats[pid].started) for pid in found)
        found = [pid for pid, stat in stats.items() if stat.parent in tree and pid not in tree]
    return tree


def _is_alive(pid: int, started: int) -> bool:
    """A zombie is not: it only waits for its parent to ask."""
    stat = _stat(pid)
    return stat is not None and stat.started == started and stat.state != "Z"


def _stat(pid: int) -> _Stat | None:
    """Some fields of /proc/PID/stat, proc(5), counted from behind the name, which may contain anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[11]) + int(fields[12]), int(fields[19]))
