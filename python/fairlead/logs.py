"""The log of master and workers: one format, one write per line, to standard error or where --logto leads it.

Formatting only; how the bytes leave without anybody waiting is log_writer.py, and who logs what is decided by the
callers. The invariant: a record leaves in a single `write(2)` to a descriptor opened for appending, so that records of
several processes never mix; it has a limit; and nothing in it can pass for another record or speak to a terminal:
control characters are escaped, and of a record with several lines, a traceback, each further one begins with a tab, as
in PostgreSQL's log. This is no front end to `logging`, whose price per record is a multiple of ours.
"""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Protocol

from fairlead.errors import MasterError, hint_for
from fairlead.log_writer import LogWriter

_NONE: Mapping[bytes, bytes] = {}

#: Characters of one record. The traceback of a recursion through several functions has some 100 KB, of which beginning
#: and end tell all; an exception that holds an upload would be the upload.
LONGEST_RECORD = 32 * 1024

#: What moves the cursor, ends a line or turns the direction of writing: control characters but line feed and tab, the
#: line and paragraph separators, and Unicode's embeddings, overrides and isolates (Unicode Standard Annex 9).
_UNSAFE = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")


def open_standard_streams() -> None:
    """Open /dev/null in the place of a closed standard input, output or error (`<&- >&- 2>&-`). Before anything else:
    the next socket would get its number, and then every word for standard error would go there."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            fd = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            os.set_inheritable(number, True)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, mode, closefd=False))


def redirect_output(path: str, open_file: Callable[[str, int, int], int] = os.open) -> None:
    """Lead standard output and standard error of this process and its children to the file (`--logto`)."""
    try:
        fd = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise MasterError(f"--logto {path} cannot be opened: {(error.strerror or '').lower()}.") from None
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


class Log:
    """Lines of the form `2026-11-22 14:03:01.250+01:00 [pid] level: text`, local time with its zone as in RFC 3339
    §5.6. Safe to use from several threads."""

    def __init__(self, fd: int = 2, clock: Callable[[], float] = time.time) -> None:
        self._writer = LogWriter(fd, self._lost_line)
        self._clock = clock
        #: A second, and its time's parts before and behind the milliseconds.
        self._stamp: tuple[int, str, str] = (-1, "", "")

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
        self._writer.put(_encoded(f"{one_record(text)}\n"))

    def write(self, level: str, text: str) -> None:
        self._writer.put(self._line(level, text))

    def raw(self, data: bytes) -> None:
        """Bytes that somebody else has formatted, behind what was logged before."""
        self._writer.put(data)

    def look(self) -> None:
        """Standard error has become another file."""
        self._writer.look()

    def finish(self, timeout_s: float = 0.2) -> None:
        """The process ends: give a reader that is behind so long for what has not left yet."""
        self._writer.finish(timeout_s)

    def _line(self, level: str, text: str) -> bytes:
        text = one_record(text)
        now_ms = int(self._clock() * 1000)
        second = now_ms // 1000
        stamp = self._stamp  # one read: another thread may replace it
        if stamp[0] != second:  # strftime costs more than the rest, so once a second is enough
            local = time.localtime(second)
            zone = time.strftime("%z", local)
            stamp = (second, time.strftime("%Y-%m-%d %H:%M:%S.", local), f"{zone[:3]}:{zone[3:5]}")
            self._stamp = stamp
        # The process id is asked for each time: it is cheap, and right in a program the app forked.
        return _encoded(f"{stamp[1]}{now_ms % 1000:03d}{stamp[2]} [{os.getpid()}] {level}: {text}\n")

    def _lost_line(self, count: int) -> bytes:
        return self._line(
            "warning", f"{count} {'line' if count == 1 else 'lines'} before this one could not be written"
        )


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")


class SessionEnd(Protocol):
    """How a WebSocket ended: `by` as in `ConnectionClosed.by`, `who` one of "client", "app" and "server"."""

    @property
    def code(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def by(self) -> str: ...
    @property
    def who(self) -> str: ...
    @property
    def why(self) -> str: ...


class AccessLog:
    """One line for each finished request and session. `requests` False (--disable-logging) makes the one call a no-op,
    `sessions` False (--disable-session-logging) the other, unless a line is wanted all the same (`always`).

    On a hot path, ask these first and spare the arguments as well. `variables` are what the application adds to the
    line, as bytes; they stand at its end.
    """

    def __init__(self, log: Log, requests: bool = True, sessions: bool = True) -> None:
        self._log = log
        self.requests = requests
        self.sessions = sessions

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
        if not (self.requests or always):
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
        received: tuple[int, int, int],
        sent: tuple[int, int, int],
        end: SessionEnd | None,
        variables: Mapping[bytes, bytes] = _NONE,
        always: bool = False,
    ) -> None:
        """A WebSocket's whole life: `peer` is address and port; `received` and `sent` are messages, bytes of their
        payload, and bytes on the wire, headers and control frames included."""
        if not (self.sessions or always):
            return
        self._log.write(
            "session",
            f'{escaped(peer)} "{escaped(path)}" 101, {duration_s:.1f} s, '
            f"received {received[0]} messages {received[1]} bytes ({received[2]} on the wire), "
            f"sent {sent[0]} messages {sent[1]} bytes ({sent[2]} on the wire), {_ended(end)}{_shown(variables)}",
        )


def _ended(end: SessionEnd | None) -> str:
    """`closed 1000 "bye" by client`, `lost by client: no Close came`, `dropped by server: ping time-out`, …"""
    if end is None:
        return "lost"
    if end.by == "lost":
        how = "lost" if end.who == "client" else "dropped"
    else:
        how = f'closed {end.code} "{escaped(end.reason)}"' if end.reason else f"closed {end.code}"
    return f"{how} by {end.who}: {escaped(end.why)}" if end.why else f"{how} by {end.who}"


def _shown(variables: Mapping[bytes, bytes]) -> str:
    """`, name="value"` for each, safe in a line of the log."""

    def shown(data: bytes) -> str:
        return escaped(data.decode("utf-8", "surrogateescape"))

    return "".join(f', {shown(name)}="{shown(value)}"' for name, value in variables.items())


def one_record(text: str) -> str:
    """`text` for the log or a terminal: of bounded length, and it cannot pass for more than one record."""
    if len(text) > LONGEST_RECORD:
        text = shortened(text, LONGEST_RECORD)
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").rstrip("\n").replace("\n", "\n\t")
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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
