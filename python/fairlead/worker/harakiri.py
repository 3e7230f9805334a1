"""When each task of this worker is due (--harakiri, `uwsgi.set_user_harakiri`).

The master kills (master/harakiri.py), because a worker that hangs may hold the interpreter's lock, and then nothing
inside it can. A request costs no message: only the nearest moment at which the master is to look after the worker is
told, and then when the next one is.

Where the runner can end a task from outside it is tried first: an exception where the task waits, and its client gets
503 or a Close. Only a task that is still there a second later, because it computes, blocks its thread or has caught the
exception, costs the worker.

Other than in uWSGI an open WebSocket is not a request that takes long; only the application's own limit counts for it
(compat §2.4). And what counts is the application's time: while a task waits for its client, for the rest of a body or
for room to send, its limit waits too. Else any stranger could have workers killed by sending slowly; those waits have
limits of their own (--http-timeout).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from fairlead.os_threads import allocate_lock

__all__ = ["END_WITHIN_S", "LOOK_AGAIN_S", "Deadlines"]

#: How long a task that is being ended may take to that.
END_WITHIN_S = 1.0

#: The soonest the master is asked to look again: the limit of a task that waits for its client moves on all the time.
LOOK_AGAIN_S = 0.1


class Request(Protocol):
    @property
    def session(self) -> object | None: ...
    @property
    def label(self) -> str: ...
    @property
    def client_time_s(self) -> float: ...


class Task(Protocol):
    """One run of the application."""

    @property
    def request(self) -> Request: ...

    started: float
    is_watched: bool
    is_overdue: bool


class Deadlines:
    """The worker's end. `limit_s` is --harakiri, 0 for none; `tell` sends an event to the master."""

    def __init__(
        self, limit_s: float, tell: Callable[..., object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.watches_all = limit_s > 0
        self._limit_s = limit_s
        self._tell = tell
        self._clock = clock
        self._lock = allocate_lock()
        #: The tasks that are watched, with the moment the application itself has set, as if no client took any time.
        self._tasks: dict[Any, float] = {}
        self._next = math.inf
        #: How each of them is ended; and when those that are being ended have to be gone.
        self._enders: dict[Any, Callable[[], None]] = {}
        self._ended_by: dict[Any, float] = {}
        self._ender_of: Callable[[Any], Callable[[], None]] | None = None

    def can_end(self, ender: Callable[[Any], Callable[[], None]] | None) -> None:
        """Take the runner's way of ending a task from outside, see its contract."""
        self._ender_of = ender

    def in_forked_child(self) -> None:
        """The parent's tasks are not watched here, and its locks not waited for."""
        self._lock = allocate_lock()
        for of_tasks in (self._tasks, self._enders, self._ended_by):
            of_tasks.clear()

    def begin(self, task: Task) -> None:
        """Watch a task from its beginning on."""
        task.is_watched = True
        self._tasks[task] = math.inf
        self._note_ender(task)
        self._look_at(task.started + self._limit_s)

    def set(self, task: Task, seconds: int) -> None:
        """The application's own limit, from now on; 0 takes it back."""
        task.is_watched = True
        moment = self._clock() + seconds if seconds > 0 else math.inf
        self._tasks[task] = moment - task.request.client_time_s
        self._note_ender(task)
        self._look_at(moment)

    def end(self, task: Task) -> None:
        self._tasks.pop(task, None)
        self._enders.pop(task, None)
        self._ended_by.pop(task, None)

    def answer(self) -> None:
        """The master asks: name a task that is overdue, or else the next moment to ask."""
        now = self._clock()
        self._end_overdue(now)
        with self._lock:
            due = [(self._due_at(task, own), task) for task, own in list(self._tasks.items())]
            at, task = min(due, key=lambda pair: pair[0], default=(math.inf, None))
            self._next = at
            overdue = task.request.label if task is not None and at <= now else None
            in_s = None if at == math.inf else max(0.0 if overdue else LOOK_AGAIN_S, at - now)
            self._tell(event="harakiri", in_s=in_s, overdue=overdue)

    def _end_overdue(self, now: float) -> None:
        for task, own in list(self._tasks.items()):
            end = self._enders.get(task)
            if end is not None and task not in self._ended_by and self._due_at(task, own) <= now:
                self._ended_by[task] = now + END_WITHIN_S
                task.is_overdue = True
                end()
                if task not in self._tasks:  # it has just ended by itself, and takes nothing out any more
                    self._ended_by.pop(task, None)

    def _note_ender(self, task: Task) -> None:
        if self._ender_of is not None and task not in self._enders:
            self._enders[task] = self._ender_of(task.request)

    def _due_at(self, task: Task, own: float) -> float:
        if task in self._ended_by:
            return self._ended_by[task]
        without_client = own
        if self._limit_s and task.request.session is None:
            without_client = min(own, task.started + self._limit_s)
        return without_client + task.request.client_time_s

    def _look_at(self, moment: float) -> None:
        with self._lock:
            if moment < self._next:
                self._next = moment
                self._tell(event="harakiri", in_s=max(0.0, moment - self._clock()), overdue=None)
