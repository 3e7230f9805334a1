"""What the calls of the module `uwsgi` have in common: their arguments, and which request they belong to (compat §1.2).

uWSGI's functions are C and let CPython's argument parser check: types and kinds of errors here are that parser's. A
request is the running task's, or the one that a `RequestContext` names.
"""

from __future__ import annotations

import operator
from typing import Any, Callable, NoReturn, Union

from fairlead import Request, current_request
from fairlead.compat.uwsgi.contract import Process, Task

__all__ = ["MISSING", "NO_REQUEST", "RequestContext", "Text", "integer", "native", "octets", "public", "request_of",
           "task_of", "text"]  # fmt: skip

Text = Union[str, bytes]

#: Stands for an argument that was not given, where None is an argument of its own.
MISSING: Any = object()

NO_REQUEST = "you can call uwsgi api function only from the main callable"


class RequestContext:
    """Opaque: names a request, so that another greenlet or thread can use its WebSocket."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request


RequestContext.__module__ = "uwsgi"


def request_of(context: Any = MISSING) -> Request:
    """The request that `context` names, or else the running task's. Raises SystemError outside a request."""
    if context is MISSING:
        try:
            return current_request()
        except LookupError:
            raise SystemError(NO_REQUEST) from None
    if type(context) is not RequestContext:
        raise TypeError("Invalid argument!")
    return context._request


def task_of(process: Process) -> Task:
    """The running task. Raises SystemError outside a request."""
    task = process.services.task()
    if task is None:
        raise SystemError(NO_REQUEST)
    return task


def text(value: Any) -> str:
    """`str`, or `bytes` as Latin-1: what an HTTP header may hold."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return _wrong(value)


def octets(value: Any) -> bytes:
    """`bytes`, or `str` as UTF-8."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    _wrong(value)


def native(function: str, value: Any, position: int = 1) -> str:
    """`str` without NUL that can be encoded; the errors are those of CPython's format "s"."""
    if not isinstance(value, str):
        raise TypeError(f"{function}() argument {position} must be str, not {type(value).__name__}")
    value.encode()  # a lone surrogate is a UnicodeEncodeError
    if "\0" in value:
        raise ValueError("embedded null character")
    return value


def integer(value: Any) -> int:
    """A C int; the errors are those of CPython's format "i", to which a float is a TypeError."""
    number = operator.index(value)
    if not -(2**31) <= number < 2**31:
        raise OverflowError(f"signed integer is {'greater than maximum' if number > 0 else 'less than minimum'}")
    return number


def public(names: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """The functions among a maker's local names; those with an underscore are its own."""
    return {name: value for name, value in names.items() if isinstance(value, type(public)) and name[0] != "_"}


def _wrong(value: Any) -> NoReturn:
    raise TypeError(f"argument must be str or bytes, not {type(value).__name__}")
