"""Says in the log which request made its worker's loop stand still, where in its code, and for how long.

Under every runner but threads one thread runs all tasks: while one of them computes, or waits in a call that the runner
does not know, the others wait. The engine tells when that takes longer than a second. Whose fault it is shows in the
stack of the runner's thread, which is looked at from the log's thread: nothing is paid for it before it happens.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Callable, NamedTuple, Protocol

from fairlead._native import Request
from fairlead.websocket import REQUEST_KEY

__all__ = ["StallLog"]

_PACKAGE = str(Path(__file__).parents[1])
_LIBRARY = str(Path(threading.__file__).parent)


class WarningLog(Protocol):
    def warning(self, text: str) -> None: ...


class _Found(NamedTuple):
    """What the stack told: `127.0.0.1:1234 /path: ` or nothing, and ` at app.py:12 (view)` or nothing."""

    who: str = ""
    where: str = ""


class StallLog:
    """`thread` is the identifier of the runner's thread; `is_stalled()` tells whether it stands still right now."""

    def __init__(self, log: WarningLog, thread: int, is_stalled: Callable[[], bool]) -> None:
        self._log = log
        self._thread = thread
        self._is_stalled = is_stalled
        self._found: _Found | None = None
        self._was_debugged = False

    def stalled(self, seconds: float) -> None:
        """The thread has stood still so long already. The first time this is only remembered: most come back soon."""
        if self._is_debugged():
            return
        is_first = self._found is None
        self._found = self._look() or self._found or _Found()
        if not is_first:
            who, where = self._found
            self._log.warning(
                f"{who}the application has blocked its worker for {seconds:.0f} s so far{where}; other connections wait"
            )

    def recovered(self, seconds: float) -> None:
        """It goes on after so long."""
        if self._was_debugged:
            self._was_debugged = False
            return
        who, where = self._found or _Found()
        self._found = None
        self._log.warning(
            f"{who}the application blocked its worker for {seconds:.1f} s{where}; other connections waited. "
            "Wait with calls that let others run, give long work to threads, or serve with --threads."
        )

    def _is_debugged(self) -> bool:
        """Somebody has stopped it on purpose, with `breakpoint()`: a line in the log would be in the way."""
        frame = sys._current_frames().get(self._thread)
        self._was_debugged = frame is not None and any(
            one.f_globals.get("__name__") in ("pdb", "bdb") for one in _stack(frame)
        )
        return self._was_debugged

    def _look(self) -> _Found | None:
        """None if it came back meanwhile: what runs now is another task."""
        frame = sys._current_frames().get(self._thread)
        found = _Found(_request_of(frame), _place_of(frame)) if frame is not None else None
        return found if self._is_stalled() else None


def _request_of(innermost: FrameType) -> str:
    # Outermost first: an application may hold the requests of others in its variables, but not so far out.
    for frame in reversed(list(_stack(innermost))):
        for value in frame.f_locals.values():
            request = value.get(REQUEST_KEY) if type(value) is dict else value
            if isinstance(request, Request):
                return f"{request.label}: "
    return ""


def _place_of(innermost: FrameType) -> str:
    """The application's function that was called first, without the library's machinery below, and the innermost."""
    frames = list(takewhile(lambda frame: not _file(frame).startswith(_PACKAGE), _stack(innermost)))
    if not frames:
        return ""
    own = [frame for frame in frames if not _is_library(_file(frame))]
    inner, outer = frames[0], (own or frames)[-1]
    via = "" if inner is outer else f", in {_named(inner)}"
    return f" at {_named(outer)}{via}"


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename


def _is_library(file: str) -> bool:
    return file.startswith("<") or (file.startswith(_LIBRARY) and "site-packages" not in file)


def _named(frame: FrameType) -> str:
    return f"{_file(frame)}:{frame.f_lineno} ({frame.f_code.co_name})"


def _stack(innermost: FrameType) -> Iterator[FrameType]:
    frame: FrameType | None = innermost
    while frame is not None:
        yield frame
        frame = frame.f_back
