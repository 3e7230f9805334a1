"""One worker as the master sees it: a process, and its end of the socket of control_protocol.py.

How to start it and how to talk to it; when to do so is master.py's business. The worker inherits the listeners, the
scoreboard and the other end of the socket. The invariant: no call here waits for the worker; a worker that does not
read or sends nonsense is its own loss.
"""

from __future__ import annotations

import json
import os
import site
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.control_protocol import CONTROL_FD, LONGEST_LINE
from fairlead.control_protocol import line as control_line
from fairlead.master.signals import name_of


def default_command() -> list[str]:
    """The program of a Python worker.

    -P keeps the current folder out of sys.path until worker/loading.py puts it there: an app beside a file `json.py`
    must not break the worker before it can say so. Older interpreters (PyPy) do not know the switch.
    """
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe, "-m", "fairlead.worker"]


class WorkerProcess:
    """A started worker. `is_ready` turns true by its own word; `stats` is the last statistics event."""

    def __init__(
        self,
        command: Sequence[str],
        first_line: Mapping[str, Any],
        inherited_fds: Sequence[int],
        environ: Mapping[str, str],
        now: float,
    ) -> None:
        """Start `command` and send it `first_line`. Raises OSError when the system refuses."""
        self.worker_id: int = first_line["worker_id"]
        self.generation: int = first_line["generation"]
        #: Its cell of the scoreboard.
        self.cell: int | None = (first_line.get("scoreboard") or {}).get("cell")
        self.started_at = now
        self.is_ready = False
        self.stats: dict[str, Any] = {}
        self._buffer = b""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process = subprocess.Popen(
                command,
                env={**environ, CONTROL_FD: str(theirs.fileno())},
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *inherited_fds),
                # Its own session: Ctrl-C in the terminal reaches the master only, which then stops all in
                # order.
                start_new_session=True,
            )
        except BaseException:
            self.control.close()
            raise
        finally:
            theirs.close()
        self.control.setblocking(False)
        self.send(first_line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def label(self) -> str:
        """For log lines."""
        return f"worker {self.worker_id} (pid {self.pid})"

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one line. A worker that has gone or reads nothing misses it: its exit or its deadline deals
        with it."""
        line = control_line(message)
        try:
            sent = self.control.send(line)
        except OSError:
            return
        if sent < len(line):  # half a message would garble the next one
            self.control.shutdown(socket.SHUT_WR)

    def receive_nowait(self) -> tuple[list[dict[str, Any]], bool]:
        """The messages that have come, and whether more can come. Lines that are no JSON objects are
        dropped."""
        is_open = True
        while is_open:
            try:
                data = self.control.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self._buffer += data
            is_open = bool(data) and len(self._buffer) <= LONGEST_LINE
        *lines, self._buffer = self._buffer.split(b"\n")
        return [message for message in map(_parsed, lines) if message], is_open

    def terminate(self) -> None:
        """SIGTERM: for a worker that does not listen to commands yet."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def ended_nowait(self) -> str:
        """How the process ended ("exited with status 1", "was killed by signal 9 (SIGKILL)"), or "" while it
        runs."""
        status = self._process.poll()
        if status is None:
            return ""
        return f"exited with status {status}" if status >= 0 else f"was killed by signal {-status} ({name_of(-status)})"

    def close(self) -> None:
        self.control.close()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def environment_for_workers(environ: Mapping[str, str], extra: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The environment of a worker: ours and --env's, with a PYTHONPATH by which it finds this very package.

    Call it before any change of folder: relative entries would point elsewhere afterwards.
    """
    result = {**environ, **dict(extra)}
    entries = [os.path.abspath(entry) for entry in result.get("PYTHONPATH", "").split(os.pathsep) if entry]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # Last, not first: it may be a source tree with other things in it that must not hide the app's.
    if package not in entries and package not in site.getsitepackages():
        entries.append(package)
    if entries:
        result["PYTHONPATH"] = os.pathsep.join(entries)
    return result
