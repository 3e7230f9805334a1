"""The part of the `uwsgi` module that moves whole bodies: `chunked_read` and its twin (compatibility spec §1.4).

The bodies are the engine's: it decodes every chunked body, so these calls and `wsgi.input` read from one place and may
be mixed. Beyond uWSGI: a chunk larger than `--chunked-input-limit` comes in pieces of the limit instead of failing, and
a body that has a length comes as it arrives.
"""

from __future__ import annotations

from typing import Any, NoReturn

from fairlead import Request, current_request

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
    return {"chunked_read": chunked_read, "chunked_read_nb": chunked_read_nb}


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


def _running() -> Request:
    try:
        return current_request()
    except LookupError:
        raise SystemError(_NO_REQUEST) from None


def _fail(error: OSError) -> NoReturn:
    raise OSError(_CHUNKED) from error
