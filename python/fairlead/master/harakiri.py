"""Workers in which a request takes too long are killed here (--harakiri, `uwsgi.set_user_harakiri`).

The master does it because a worker that hangs may hold the interpreter's lock, and then nothing inside it can. The
worker names the nearest moment at which one of its tasks is due (worker/harakiri.py); then it is asked, and names the
task that is overdue or the next moment. A worker that does not answer is the one that hangs.

As in uWSGI the whole worker dies, with all its connections: a thread or a greenlet that hangs cannot be ended from
outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fairlead.logs import Log
from fairlead.master.worker_process import WorkerProcess

__all__ = ["ANSWER_WITHIN_S", "Harakiri"]

#: How long a worker may take to answer before it counts as hanging.
ANSWER_WITHIN_S = 1.0


class Harakiri:
    """The workers that are to be asked, and those that were."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        #: When to ask a worker; and until when one that was asked has to answer.
        self._ask_at: dict[WorkerProcess, float] = {}
        self._answer_by: dict[WorkerProcess, float] = {}

    def due_at(self) -> list[float]:
        return [*self._ask_at.values(), *self._answer_by.values()]

    def on_message(self, worker: WorkerProcess, message: Mapping[str, Any]) -> None:
        in_s, overdue = message["in_s"], message["overdue"]
        self.forget(worker)
        if overdue is not None:
            self._log.error(f"harakiri: {overdue} takes too long; {worker.label} is killed")
            worker.kill()
        elif in_s is not None:
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
