"""Standard output and standard error of a worker, as its application writes to them.

Both are the log for whoever runs the server, and `logging`, `print` and wsgi.errors write there in the middle of a
request: under one thread for all tasks a reader that has stopped would stop them all. So what an application writes
leaves like the log's own lines (log_writer.py). It is not escaped: it is the application's own. The descriptors stay as
they are, for what writes to them directly.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from fairlead.logs import Log

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["OutputFile", "replace_output"]

#: Bytes that one write puts into the queue at a time: of a long one a part may be lost.
_PIECE = 32 * 1024


class _Unblocked(io.RawIOBase):
    """A file that takes everything at once."""

    def __init__(self, fd: int, log: Log, name: str) -> None:
        self._fd = fd
        self._log = log
        self.name = name
        self.mode = "wb"

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        written = bytes(data)
        for at in range(0, len(written), _PIECE):
            self._log.raw(written[at : at + _PIECE])
        return len(written)


class OutputFile:
    """Standard output and error, as far as they are the file of --logto: they follow it when the master has opened it
    anew. Made before the application may lead them elsewhere; what it has led elsewhere is left alone."""

    def __init__(self) -> None:
        self._file = _file_of(2)

    def follow(self, path: str, file: tuple[int, int]) -> None:
        """`file`: device and inode of what the master has opened. Whatever else is found at `path` is not taken:
        somebody may have led it elsewhere since. Raises OSError."""
        # Without waiting for the reader of a FIFO, should one be there now.
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(path, flags)
        try:
            if _file_of(fd) != file:
                return  # the master has opened, or will open, another one, and tells
            for number in (1, 2):
                if _file_of(number) == self._file:
                    os.dup2(fd, number)
            self._file = file
        finally:
            os.close(fd)


def _file_of(fd: int) -> tuple[int, int] | None:
    try:
        about = os.fstat(fd)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def replace_output(error_log: Log) -> None:
    """Let sys.stdout and sys.stderr wait for nobody. `error_log` writes to standard error: both keep one order."""
    if sys.stdout is not None:
        output_log = Log(1)
        sys.stdout = _like(sys.stdout, _Unblocked(1, output_log, "<stdout>"), buffers=True)
        atexit.register(output_log.finish)
        atexit.register(sys.stdout.flush)  # called before the one above
    if sys.stderr is not None:
        sys.stderr = _like(sys.stderr, _Unblocked(2, error_log, "<stderr>"), buffers=False)


def _like(usual: TextIO, raw: _Unblocked, *, buffers: bool) -> TextIO:
    writes_through = getattr(usual, "write_through", False)  # python -u
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if buffers and not writes_through else raw,
        encoding=usual.encoding,
        errors=usual.errors,
        line_buffering=getattr(usual, "line_buffering", True),
        write_through=writes_through,
    )
