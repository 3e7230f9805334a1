"""The part of the `uwsgi` module that moves bodies: `chunked_read`, its twin, and `sendfile` (compat §1.4).

A request's body is the engine's: it decodes every chunked body, so these calls and `wsgi.input` read from one place and
may be mixed. Beyond uWSGI: a chunk larger than `--chunked-input-limit` comes in pieces of the limit instead of failing,
and a body that has a length comes as it arrives.
"""

from __future__ import annotations

from typing import Any, NoReturn

from fairlead import Request, current_request, send_file

__all__ = ["configure", "names"]

_CHUNKED = "unable to receive chunked part"
_NO_REQUEST = "you can call uwsgi api function only from the main callable"

#: What the operator chose: seconds that a client may be silent, and bytes that one call returns at most.
_timeout_s, _limit = 4.0, 2**20


def configure(timeout_s: float, limit: int) -> None:
    """Take the operator's settings; the worker calls it once, before the application is loaded."""
    global _timeout_s, _limit
    _timeout_s, _limit = timeout_s, limit


def names() -> dict[str, Any]:
    """The functions, by their names in the module."""
    return {"chunked_read": chunked_read, "chunked_read_nb": chunked_read_nb, "sendfile": sendfile}


def chunked_read(timeout: int = 0) -> bytes:
    """The next chunk of the request's body, `b""` behind the last. `timeout`: seconds that the client may be silent, 0
    for what the options say, negative for ever. Raises OSError; after a time-out the call may be repeated."""
    if not isinstance(timeout, int):
        raise TypeError(f"'{type(timeout).__name__}' object cannot be interpreted as an integer")
    request = _running()
    try:
        return request.read_chunk(_limit, None if timeout < 0 else timeout or _timeout_s)
    except OSError as error:
        _fail(error)


def chunked_read_nb() -> bytes | None:
    """The next chunk if it is there, `b""` behind the last; None when it would have to wait for it. Raises OSError."""
    try:
        return _running().read_chunk_nowait(_limit)
    except OSError as error:
        _fail(error)


def sendfile(what: Any, chunk: int = 0, pos: int = 0, size: int = 0, /) -> bool | None:
    """Send a file (a path, or an open one) as the next part of the body, from `pos`, all of it when `size` is 0.
    `chunk` means nothing here. True; None when it cannot be opened or sent, or is empty."""
    for number in (chunk, pos, size):
        if not isinstance(number, int):
            raise TypeError(f"'{type(number).__name__}' object cannot be interpreted as an integer")
    _running()
    if not isinstance(what, (str, bytes, int)) and not hasattr(what, "fileno"):
        raise TypeError("argument must be an int, or have a fileno() method.")
    try:
        return True if send_file(what, max(0, pos), size if size > 0 else None) else None
    except OSError:
        return None


def _running() -> Request:
    try:
        return current_request()
    except LookupError:
        raise SystemError(_NO_REQUEST) from None


def _fail(error: OSError) -> NoReturn:
    raise OSError(_CHUNKED) from error
