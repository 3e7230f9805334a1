"""What a worker that leaves decides: over which time it closes its WebSockets, and what it says of what it cuts.

Plain functions; when to leave is start.py's business.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from fairlead.apps.task import Task

if TYPE_CHECKING:
    from fairlead._native import Busy

__all__ = ["cut", "running_tasks", "spread_over"]

#: WebSockets that are closed in a second, unless --reload-spread says otherwise. Their clients come back at once, and a
#: new worker has a handshake, and often one of TLS, and the application's own beginning to do for each of them.
CLOSED_A_SECOND = 2000

#: Requests that are named when they are cut; of the others the number is told.
_MOST_NAMES = 20


def spread_over(sessions: int, wanted_s: float | None, left_s: float) -> float:
    """Seconds over which so many sessions are closed, when the worker has `left_s` in all. Unless the operator wants it
    otherwise, half of that stays for what the application does at the end of each."""
    most_s = max(0.0, left_s)
    return min(sessions / CLOSED_A_SECOND, most_s / 2) if wanted_s is None else min(wanted_s, most_s)


def running_tasks() -> list[str]:
    """Peer and path of each request that the application has not ended.

    Found among all objects of the process: this is asked once in a worker's life, and a request pays nothing for it.
    """
    tasks = [one for one in gc.get_objects() if type(one) is Task]
    requests = [getattr(task, "request", None) for task in tasks]
    return sorted(request.label for request in requests if request is not None and not request.is_complete)


def cut(tasks: list[str], busy: Busy) -> str:
    """What is over with the worker's time, as a line for the log."""
    named = ", ".join(tasks[:_MOST_NAMES])
    if len(tasks) > _MOST_NAMES:
        named += f" and {len(tasks) - _MOST_NAMES} more"
    parts = [f"{_count(len(tasks), 'request')} that the application has not ended ({named})"] if tasks else []
    if busy.sessions:
        parts.append(f"{_count(busy.sessions, 'WebSocket')} that did not close")
    if busy.connections:
        parts.append(f"{_count(busy.connections, 'HTTP connection')}")
    return f"the time to leave is over; cut: {'; '.join(parts) or 'nothing'}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
