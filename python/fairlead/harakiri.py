"""A limit on how long a request may take, after which its worker is killed (--harakiri, `uwsgi.set_user_harakiri`).

Both ends of it: `Deadlines` in the worker knows when each unit is due, `Harakiri` in the master kills. The master does
it because a worker that hangs may hold the interpreter's lock, and then nothing inside it can. A request costs no
message: the worker names only the nearest moment at which the master is to look after it, and then says when the next
one is. A worker that does not answer then is the one that hangs.

As in uWSGI the whole worker dies, with all its connections: a thread or a greenlet that hangs cannot be ended from
outside. Other than in uWSGI an open WebSocket is not a request that takes long; only the application's own limit counts
for it (spec §2.4).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fairlead.logs import Log
from fairlead.os_threads import allocate_lock
from fairlead.worker_process import WorkerProcess

__all__ = ["ANSWER_WITHIN_S", "Deadlines", "Harakiri"]

#: How long a worker may take to answer before it counts as hanging.
ANSWER_WITHIN_S = 1.0


class Request(Protocol):
    @property
    def session(self) -> object | None: ...
    @property
    def label(self) -> str: ...


class Unit(Protocol):
    """One run of the application."""

    @property
    def request(self) -> Request: ...

    started: float
    is_watched: bool


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
        #: The units that are watched, with the moment the application itself has set.
        self._units: dict[Any, float] = {}
        self._next = math.inf

    def begin(self, unit: Unit) -> None:
        """Watch a unit from its beginning on."""
        unit.is_watched = True
        self._units[unit] = math.inf
        self._look_at(unit.started + self._limit_s)

    def set(self, unit: Unit, seconds: int) -> None:
        """The application's own limit, from now on; 0 takes it back."""
        unit.is_watched = True
        self._units[unit] = self._clock() + seconds if seconds > 0 else math.inf
        self._look_at(self._units[unit])

    def end(self, unit: Unit) -> None:
        self._units.pop(unit, None)

    def answer(self) -> None:
        """The master asks: name a unit that is overdue, or else the next moment to ask."""
        now = self._clock()
        with self._lock:
            due = [(self._due_at(unit, own), unit) for unit, own in list(self._units.items())]
            at, unit = min(due, key=lambda pair: pair[0], default=(math.inf, None))
            self._next = at
            overdue = unit.request.label if unit is not None and at <= now else None
            in_s = None if at == math.inf else max(0.0, at - now)
            self._tell(event="harakiri", in_s=in_s, overdue=overdue)

    def _due_at(self, unit: Unit, own: float) -> float:
        if not self._limit_s or unit.request.session is not None:
            return own
        return min(own, unit.started + self._limit_s)

    def _look_at(self, moment: float) -> None:
        with self._lock:
            if moment < self._next:
                self._next = moment
                self._tell(event="harakiri", in_s=max(0.0, moment - self._clock()), overdue=None)


class Harakiri:
    """The master's end."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        #: When to ask a worker; and until when one that was asked has to answer.
        self._ask_at: dict[WorkerProcess, float] = {}
        self._answer_by: dict[WorkerProcess, float] = {}

    def due_at(self) -> list[float]:
        return [*self._ask_at.values(), *self._answer_by.values()]

    def on_message(self, worker: WorkerProcess, message: Mapping[str, Any]) -> None:
        in_s, overdue = message.get("in_s"), message.get("overdue")
        self.forget(worker)
        if isinstance(overdue, str):
            self._log.error(f"harakiri: {overdue} takes too long; {worker.label} is killed")
            worker.kill()
        elif isinstance(in_s, (int, float)):
            self._ask_at[worker] = self._clock() + in_s

    def on_time(self, now: float) -> None:
        for worker, at in list(self._ask_at.items()):
            if at <= now:
                del self._ask_at[worker]
                self._answer_by[worker] = now + ANSWER_WITHIN_S
                worker.send({"command": "harakiri"})
        for worker, by in list(self._answer_by.items()):
            if by <= now:
                del self._answer_by[worker]
                self._log.error(
                    f"harakiri: {worker.label} hangs: a request was due and it does not answer; it is killed"
                )
                worker.kill()

    def forget(self, worker: WorkerProcess) -> None:
        self._ask_at.pop(worker, None)
        self._answer_by.pop(worker, None)
