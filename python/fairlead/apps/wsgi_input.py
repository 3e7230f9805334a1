"""`wsgi.input`: the request's body as a file, read from the client as the application asks for it.

Texts and odd cases are uWSGI's (compatibility spec §3.2). Nothing is read past the body's end: the engine knows it for
every framing, chunked ones too. Lines are cut from what was read ahead; nothing else is kept.
"""

from __future__ import annotations

from fairlead._native import Request

__all__ = ["Input"]

#: Bytes asked of the engine at a time when the application names no size.
_BLOCK = 65536


class Input:
    """A body. Errors are OSError with uWSGI's texts; a client that sends nothing for too long is one."""

    __slots__ = ("_ahead", "_position", "_request", "_timeout_s")

    def __init__(self, request: Request, timeout_s: float) -> None:
        self._request = request
        self._timeout_s = timeout_s
        self._ahead = b""
        self._position = 0

    def read(self, size: int | None = -1) -> bytes:
        """Exactly `size` bytes unless the body ends before; all that is left for None, 0 and negative sizes."""
        wanted = size or -1
        parts = []
        have = 0
        if self._ahead:
            part = self._ahead if wanted < 0 else self._ahead[:wanted]
            self._ahead = self._ahead[len(part) :]
            parts.append(part)
            have = len(part)
        while wanted < 0 or have < wanted:
            part = self._more(_BLOCK if wanted < 0 else wanted - have, "read", size)
            if not part:
                break
            parts.append(part)
            have += len(part)
        self._position += have
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readline(self, hint: int | None = -1) -> bytes:
        """One line with its end; `hint` is ignored, as in uWSGI."""
        parts = [self._ahead]
        while b"\n" not in parts[-1]:
            part = self._more(_BLOCK, "readline", hint)
            if not part:
                break
            parts.append(part)
        text = b"".join(parts)
        end = text.find(b"\n") + 1 or len(text)
        self._ahead = text[end:]
        self._position += end
        return text[:end]

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """All lines that are left; `hint` is ignored."""
        return list(self)

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

    def _more(self, size: int, verb: str, asked: int | None) -> bytes:
        try:
            return self._request.read_body(size, self._timeout_s)
        except TimeoutError as error:
            raise OSError(f"timeout during {verb}({asked or 0}) on wsgi.input") from error
        except OSError as error:
            raise OSError(f"error during {verb}({asked or 0}) on wsgi.input") from error
