"""A process that the application has forked from its worker: how the rest of the package notices, and how it ends.

The child runs on in the middle of a request, with a copy of everything and none of the worker's threads. Only the
parent can go on serving, so a child that comes back to us ends here. What it gives up is worker/fork_guard.py's.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn, Protocol

__all__ = ["end", "is_child", "note"]

#: True in the child.
is_child = False
#: What our verbs raise there.
_refusal = ""

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


class ErrorLog(Protocol):
    def error(self, text: str) -> None: ...
    def exception(self, text: str, error: BaseException) -> None: ...


def note(refusal: str) -> None:
    """This is the child; our verbs raise RuntimeError with this text."""
    global is_child, _refusal
    is_child, _refusal = True, refusal


def end(log: ErrorLog, error: BaseException | None = None) -> NoReturn:
    """The child has come back from the application, by a return or by `error`: nobody here waits for it."""
    status = 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is None or _is_ours(error):
        log.error(
            "a process that the application has forked comes back from the application, and ends: its parent answers "
            "the request; end it there, with os._exit()"
        )
    else:
        status = 1
        log.exception(f"a process that the application has forked ends with {type(error).__name__}: {error}", error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def _is_ours(error: BaseException) -> bool:
    """The child returned, and then our own code met the refusal."""
    trace, files = error.__traceback__, []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return str(error) == _refusal and all(file.startswith(_PACKAGE) for file in files)
