"""One worker as the master sees it: a process, and its end of the socket of control_protocol.py.

How to start it and how to talk to it; when to do so is master.py's business. The worker inherits the listeners, the
scoreboard and the other end of the socket. The invariant: no call here waits for the worker, and a message leaves whole
or not at all; a worker that does not read or sends nonsense is its own loss, of which the log tells.
"""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairlead.control_protocol import CONTROL_FD, LONGEST_LINE, MOST_UNSENT, BadMessage, event_of
from fairlead.control_protocol import line as control_line
from fairlead.master.signals import name_of

#: Bytes that are read in one go: one worker that never stops writing keeps the others waiting no longer than this.
_READ_AT_ONCE = 1024 * 1024


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
        warn: Callable[[str], object],
        *,
        reads_stdin: bool = False,
    ) -> None:
        """Start `command` and send it `first_line`. Raises OSError when the system refuses. `warn` is told, in a
        sentence, of what cannot be understood or delivered. With `reads_stdin` it has the master's standard input."""
        self.worker_id: int = first_line["worker_id"]
        self.generation: int = first_line["generation"]
        #: Its cell of the scoreboard.
        self.cell: int | None = (first_line.get("scoreboard") or {}).get("cell")
        self.started_at = now
        self.is_ready = False
        #: It has said so; one that is not in its place yet has to be remembered.
        self.wants_successor = False
        self.stats: dict[str, Any] = {}
        self._warn = warn
        self._received = bytearray()
        self._unsent = bytearray()
        #: What comes up to the next line feed is the rest of a line that was too long.
        self._skips = False
        self._bad = 0
        self._is_deaf = False
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process = subprocess.Popen(
                command,
                env={**environ, CONTROL_FD: str(theirs.fileno())},
                stdin=None if reads_stdin else subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *inherited_fds),
                # Its own session: Ctrl-C in the terminal reaches the master only, which then stops all in
                # order. It may read from that terminal all the same: the kernel keeps back who is in the background of
                # the terminal's own session.
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

    @property
    def waits_to_send(self) -> bool:
        """Call `flush_nowait` when the socket is writable."""
        return bool(self._unsent)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message, now or when the worker has read what was sent before. A worker that has gone misses it, and
        one that reads nothing for long: its exit or its deadline deals with it."""
        if len(self._unsent) > MOST_UNSENT:
            if not self._is_deaf:
                self._is_deaf = True
                self._warn(f"{self.label} does not read what the master says; what does not fit any more is dropped")
            return
        self._unsent += control_line(message)
        self.flush_nowait()

    def flush_nowait(self) -> None:
        """Send what the socket takes of what waits."""
        try:
            while self._unsent:
                del self._unsent[: self.control.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()  # it is gone
        self._is_deaf = False

    def receive_nowait(self) -> tuple[list[dict[str, Any]], bool]:
        """The events that have come, and whether more can come. What is none is dropped, and told."""
        is_open = True
        for _ in range(0, _READ_AT_ONCE, 65536):
            try:
                data = self.control.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                is_open = False
                break
            self._received += data
        events = []
        *lines, rest = self._received.split(b"\n")
        for text in lines:
            if self._skips:
                self._skips = False
                continue
            if len(text) > LONGEST_LINE:  # come whole with its end, in one read
                self._is_bad(f"it is longer than {LONGEST_LINE} bytes")
                continue
            try:
                event = event_of(bytes(text))
            except BadMessage as error:
                self._is_bad(str(error))
            else:
                if event is not None:
                    events.append(event)
        if len(rest) > LONGEST_LINE:
            if not self._skips:
                self._is_bad(f"it is longer than {LONGEST_LINE} bytes")
            self._skips = True
            rest = bytearray()
        self._received = rest
        return events, is_open

    def _is_bad(self, why: str) -> None:
        """Tell of the first bad message, the tenth, the hundredth: an application may write them in a loop."""
        self._bad += 1
        if str(self._bad).rstrip("0") == "1":
            count = "a message" if self._bad == 1 else f"{self._bad} messages"
            self._warn(f"{self.label} has sent the master {count} that it does not understand: {why}")

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
