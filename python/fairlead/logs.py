"""The log of master and workers: one format, one write per line, to standard error or where --logto leads it.

Formatting and writing only; who logs what is decided by the callers. The invariant: a line leaves in a single
`write(2)` to a descriptor opened for appending, so that lines of several processes never mix; and text that a
client chose (a path, a header) is escaped, so that nobody can forge a line. A full disk or a closed terminal
never stops the server: write errors are dropped. This is no front end to `logging`, whose price per record is
a multiple of ours.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Mapping

from fairlead.errors import MasterError, hint_for

_NONE: Mapping[bytes, bytes] = {}


def redirect_output(path: str) -> None:
    """Lead standard output and standard error of this process and its children to the file (`--logto`)."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise MasterError(f"--logto {path} cannot be opened: {(error.strerror or '').lower()}.") from None
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


class Log:
    """Lines of the form `2026-11-22 14:03:01 [pid] level: text`, local time. Safe to use from several
    threads."""

    def __init__(self, fd: int = 2, clock: Callable[[], float] = time.time) -> None:
        self._fd = fd
        self._clock = clock
        self._stamp: tuple[int, str] = (-1, "")

    def info(self, text: str) -> None:
        self.write("info", text)

    def warning(self, text: str) -> None:
        self.write("warning", text)

    def error(self, text: str) -> None:
        self.write("error", text)

    def exception(self, text: str, error: BaseException) -> None:
        """An error line, the hint for the mistake if there is one, and the traceback behind it."""
        hint = hint_for(error)
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n")
        self.write("error", f"{text}{f' ({hint})' if hint else ''}\n{trace}")

    def plain(self, text: str) -> None:
        """A line for people at a terminal, without time and process."""
        self._write_all(f"{text}\n")

    def write(self, level: str, text: str) -> None:
        now = int(self._clock())
        stamp = self._stamp  # one read: another thread may replace the pair
        if stamp[0] != now:  # strftime costs more than the rest, so once a second is enough
            stamp = self._stamp = (now, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)))
        # The process id is asked for each time: it is cheap, and right in a program the app forked.
        self._write_all(f"{stamp[1]} [{os.getpid()}] {level}: {text}\n")

    def _write_all(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])


class AccessLog:
    """One line for each finished request and session; `enabled` False (--disable-logging) makes both calls
    no-ops, unless a line is wanted all the same (`always`).

    On a hot path, ask `enabled` first and spare the arguments as well. `variables` are what the application adds to the
    line, as bytes; they stand at its end.
    """

    def __init__(self, log: Log, enabled: bool = True) -> None:
        self._log = log
        self.enabled = enabled

    def request(
        self,
        peer: str,
        method: str,
        path: str,
        protocol: str,
        status: int,
        sent_bytes: int,
        duration_s: float,
        variables: Mapping[bytes, bytes] = _NONE,
        always: bool = False,
    ) -> None:
        """An HTTP request: `peer` is its address, `path` the raw request target, `sent_bytes` the body's
        size."""
        if not (self.enabled or always):
            return
        self._log.write(
            "request",
            f'{escaped(peer)} "{escaped(method)} {escaped(path)} {escaped(protocol)}" {status}, '
            f"{sent_bytes} bytes in {duration_s * 1000:.1f} ms{_shown(variables)}",
        )

    def session(
        self,
        peer: str,
        path: str,
        duration_s: float,
        received: tuple[int, int],
        sent: tuple[int, int],
        code: int,
        closed_by: str,
        variables: Mapping[bytes, bytes] = _NONE,
        always: bool = False,
    ) -> None:
        """A WebSocket's whole life: `received` and `sent` are (messages, bytes), `closed_by` is as in
        `ConnectionClosed.by`, `code` the Close code."""
        if not (self.enabled or always):
            return
        end = "lost" if closed_by == "lost" else f"closed {code} by {closed_by}"
        self._log.write(
            "session",
            f'{escaped(peer)} "{escaped(path)}" 101, {duration_s:.1f} s, '
            f"received {received[0]} messages {received[1]} bytes, "
            f"sent {sent[0]} messages {sent[1]} bytes, {end}{_shown(variables)}",
        )


def _shown(variables: Mapping[bytes, bytes]) -> str:
    """`, name="value"` for each, safe in a line of the log."""

    def shown(data: bytes) -> str:
        return escaped(data.decode("utf-8", "surrogateescape"))

    return "".join(f', {shown(name)}="{shown(value)}"' for name, value in variables.items())


def shortened(text: str, limit: int) -> str:
    """`text`, or its beginning and end with what was cut between them: the end of a traceback names the error."""
    if len(text) <= limit:
        return text
    end = limit // 4
    start = limit - end
    return f"{text[:start]} [… {len(text) - limit} characters cut …] {text[-end:]}"


def escaped(text: str) -> str:
    """`text` of a client, safe inside a quoted part of a log line."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode() for c in quoted)
