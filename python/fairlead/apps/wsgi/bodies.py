"""What a WSGI application returned: whether that is a body, and what to say if it is none.

PEP 3333 has an iterable of `bytes`. What else can be iterated gives no body: a `str` its characters, a `dict` its keys,
a `bytearray` numbers. Such a result is one sentence that says what it was and what to return, and a 500.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from fairlead.errors import BadResult

__all__ = ["bad_item", "bad_result", "can_be_iterated", "is_body", "joined"]


def can_be_iterated(result: object) -> TypeGuard[Iterable[Any]]:
    """Whether `iter` takes it: also an object that has only `__getitem__`, as the language has it."""
    kind = type(result)
    return kind.__iter__ is not None if hasattr(kind, "__iter__") else hasattr(kind, "__getitem__")


def is_body(result: object) -> TypeGuard[Iterable[Any]]:
    """Whether its items may be the parts of a body."""
    return can_be_iterated(result) and not isinstance(result, (str, bytes, bytearray, memoryview, Mapping))


def joined(result: Iterable[Any]) -> bytes:
    """The body of which a list or tuple has the parts; None is left out. Raises BadResult for anything else in it."""
    parts = []
    for item in result:
        if isinstance(item, bytes):
            parts.append(item)
        elif item is not None:
            raise bad_item(item)
    return b"".join(parts)


def bad_result(result: object) -> BadResult:
    """For a result that is no body."""
    if callable(result) and not can_be_iterated(result):
        remedy = "if that is an application itself, return application(environ, start_response)"
    elif isinstance(result, (bytes, bytearray, memoryview)):
        remedy = "return [bytes(data)]"
    elif isinstance(result, str):
        remedy = "return [text.encode()]"
    else:
        remedy = "return a list of bytes, [] for no body"
    return BadResult(f"the application returned {_described(result)}; {remedy}")


def bad_item(item: object) -> BadResult:
    """For a part of a result that is no part of a body."""
    remedy = "encode it" if isinstance(item, str) else "make bytes of it"
    return BadResult(f"the application's result has {_described(item)} among its items; {remedy}, they are bytes")


def _described(value: object) -> str:
    """`'hello' (str)`; also of an object whose own text cannot be had."""
    if value is None:
        return "None"
    try:
        text = repr(value)
    except Exception:
        return f"an object of the type {type(value).__name__}"
    return f"{text if len(text) <= _LONGEST else text[:_LONGEST] + '…'} ({type(value).__name__})"


#: Characters of a value that are shown.
_LONGEST = 60
