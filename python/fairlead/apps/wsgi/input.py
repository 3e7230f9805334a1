"""`wsgi.input`: the request's body as a file, read from the client as the application asks for it.

Texts and odd cases are uWSGI's (compat §3.2), but that the sizes of `readline` and `readlines` count, as in PEP 3333: a
client may send a body without a line end. Nothing is read past the body's end: the engine knows it for every framing,
chunked ones too. Nothing is read ahead or kept here, so other readers of the same body (`uwsgi.chunked_read`) go on
where this one stopped.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from fairlead._native import Request

__all__ = ["Input"]

#: Bytes asked of the engine at a time when the application names no size.
_BLOCK = 65536


class Input:
    """A body. Errors are OSError with uWSGI's texts; a client that sends nothing for too long is one."""

    __slots__ = ("_position", "_request", "_timeout_s")

    def __init__(self, request: Request, timeout_s: float) -> None:
        self._request = request
        self._timeout_s = timeout_s
        self._position = 0

    def read(self, size: int | None = 0) -> bytes:
        """Exactly `size` bytes unless the body ends before; all that is left for None, 0 and negative sizes."""
        wanted = size or -1
        parts = []
        have = 0
        try:
            while wanted < 0 or have < wanted:
                part = self._request.read_body(_BLOCK if wanted < 0 else wanted - have, self._timeout_s)
                if not part:
                    break
                parts.append(part)
                have += len(part)
        except OSError as error:
            _fail("read", size, error)
        self._position += have
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readline(self, size: int | None = 0) -> bytes:
        """One line with its end, or `size` bytes of a longer one; all of it for None, 0 and negative sizes."""
        most = size if size is not None and 0 < size < sys.maxsize else sys.maxsize
        try:
            line = self._request.read_line(most, self._timeout_s)
        except OSError as error:
            _fail("readline", size, error)
        self._position += len(line)
        return line

    def readlines(self, hint: int | None = 0) -> list[bytes]:
        """The lines that are left, but none behind the one with which they have `hint` bytes; all of them for None, 0
        and negative hints."""
        if hint is None or hint <= 0:
            return list(self)
        lines = []
        for line in self:
            lines.append(line)
            hint -= len(line)
            if hint <= 0:
                break
        return lines

    def __iter__(self) -> Input:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0) -> None:
        raise OSError("seeking wsgi.input without post_buffering is IMPOSSIBLE !!!")

    def fileno(self) -> int:
        return self._request.fileno()

    def close(self) -> None:
        """Nothing: the connection is not the application's to close."""


def _fail(verb: str, asked: int | None, error: OSError) -> NoReturn:
    what = "timeout" if isinstance(error, TimeoutError) else "error"
    raise OSError(f"{what} during {verb}({asked or 0}) on wsgi.input") from error
