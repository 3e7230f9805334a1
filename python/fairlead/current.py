"""Which request the running code belongs to.

A task's own code finds it in a context variable. A thread or a greenlet that a task has started belongs to that task's
request as well: a thread remembers who started it, and a greenlet's ancestors are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures.thread import _worker as _pool_worker
from contextvars import Context, ContextVar, copy_context
from typing import Any, Callable

from fairlead._native import CurrentSession, Request

__all__ = ["current", "current_request", "current_session", "find_request", "inherit_from"]

#: The request that the running task serves. A context variable, so that each greenlet and thread has its own.
current: ContextVar[Request | None] = ContextVar("fairlead.request", default=None)

#: How the runner finds what the calling code descends from: the contexts of its ancestors, nearest first.
_ancestors: Callable[[], Iterable[Context]] = tuple


def current_request() -> Request:
    """The request that the running task serves, or that has started the running thread or greenlet and goes on.

    Raises LookupError outside a request (at import time, in a thread that no request started, in a pool's threads).
    """
    request = find_request()
    if request is None or request.is_complete:
        raise LookupError("no request is being served here; call this from the application while it runs")
    return request


def find_request() -> Request | None:
    """The same; None outside a request, and perhaps one that is over."""
    return current.get() or _inherited()


def current_session(
    resolve: Callable[[Any], Request], translate: Callable[[str, BaseException | None], BaseException]
) -> CurrentSession:
    """The verbs of whatever WebSocket the running task serves, for modules whose functions find it by themselves.

    `resolve(context)` is asked for the request when a caller names one by hand. `translate(verb, error)` returns what
    to raise instead of ConnectionClosed, or of ValueError for text that is not UTF-8; `error` is None when there is no
    request or no session. `verb` is "receive", "send_text" or "send_binary".
    """
    return CurrentSession(current, _inherited, resolve, translate)


def inherit_from(ancestors: Callable[[], Iterable[Context]]) -> None:
    """Take the runner's way of finding whose child the calling code is, and let threads remember who started them. The
    worker calls it once, before the first request."""
    global _ancestors
    _ancestors = ancestors
    if threading.Thread.start is not _start_remembering:
        setattr(threading.Thread, "start", _start_remembering)  # noqa: B010 - an assignment is an error for mypy


_start = threading.Thread.start


def _start_remembering(thread: threading.Thread) -> None:
    if getattr(thread, "_target", None) is _pool_worker:
        # It serves whoever comes, so it belongs to nobody; where threads are greenlets, not to its ancestors either.
        thread.__dict__["fairlead_context"] = Context()
    elif current.get() is not None:
        thread.__dict__["fairlead_context"] = copy_context()
    _start(thread)


def _inherited() -> Request | None:
    """The request of the task that has started this thread or greenlet, if that task goes on."""
    remembered = threading.current_thread().__dict__.get("fairlead_context")
    for context in _ancestors() if remembered is None else (remembered,):
        request = context.get(current)
        if request is not None and not request.is_complete:
            current.set(request)  # the next call finds it at once
            return request
    return None
