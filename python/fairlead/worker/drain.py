"""What a worker that leaves decides: over which time it closes its WebSockets, and what it says of what it cuts.

Plain functions; when to leave is start.py's business.
"""

from __future__ import annotations

import gc

from fairlead.apps.task import Task

__all__ = ["cut", "running_tasks", "spread_over"]

#: WebSockets that are closed in a second, unless --reload-spread says otherwise. Their clients come back at once, and a
#: new worker has a handshake, and often one of TLS, and the application's own beginning to do for each of them.
CLOSED_A_SECOND = 2000

#: Requests, and clients, that are named when they are cut; of the others the number is told.
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


def cut(tasks: list[str], sessions: int, peers: list[str]) -> str:
    """What is over with the worker's time, as a line for the log; "" for nothing. `sessions` that have not closed;
    `peers` are the clients that speak HTTP, those that wait for one of the tasks among them."""
    theirs = {task.partition(" ")[0] for task in tasks}
    others = sorted(peer for peer in peers if peer not in theirs)
    parts = [f"{_count(len(tasks), 'request')} that the application has not ended ({_named(tasks)})"] if tasks else []
    if sessions:
        parts.append(f"{_count(sessions, 'WebSocket')} that did not close")
    if others:
        parts.append(f"{_count(len(others), 'client')} that had yet to take a response ({_named(others)})")
    return f"the time to leave is over; cut: {'; '.join(parts)}" if parts else ""


def _named(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
