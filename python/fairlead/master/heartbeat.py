"""The heartbeat between master and workers: notices workers that do not hear their master, and says so.

A worker can be deaf and serve all the same: C code holds its interpreter's lock, its control thread has ended, somebody
has stopped it. A reload would then be reported while the old code answers on. So each worker is asked now and then, and
at once when it is told to leave. It is not killed for that: a request that takes too long is harakiri.py's business,
and one that leaves has its deadline.

Only a worker that knows the question is missed: one that says so when it is ready, or has answered before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fairlead.logs import Log
from fairlead.master.worker_process import WorkerProcess

__all__ = ["ANSWER_WITHIN_S", "ASK_EVERY_S", "Heartbeat"]

#: How often each worker is asked, and how long it may take. A control thread among two hundred busy ones waits for the
#: interpreter's lock for a second at most.
ASK_EVERY_S, ANSWER_WITHIN_S = 10.0, 4.0


@dataclass
class _Beat:
    ask_at: float
    #: When the question was asked that waits for its answer; infinity: none does.
    asked_at: float = math.inf
    knows_question: bool = False
    is_missed: bool = False
    is_leaving: bool = False


class Heartbeat:
    """The workers that serve or leave."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._beats: dict[WorkerProcess, _Beat] = {}

    def due_at(self) -> list[float]:
        return [self._due(beat) for beat in self._beats.values()]

    def is_ready(self, worker: WorkerProcess, knows_question: bool) -> None:
        """It serves from now on."""
        beat = self._beats[worker] = _Beat(math.inf, knows_question=knows_question)
        self._ask(worker, beat)

    def leaves(self, worker: WorkerProcess) -> None:
        """It was told to."""
        beat = self._beats.get(worker)
        if beat is not None and not beat.is_leaving:
            beat.is_leaving, beat.is_missed = True, False
            self._ask(worker, beat)

    def answered(self, worker: WorkerProcess) -> None:
        beat = self._beats.get(worker)
        if beat is None:
            return
        now = self._clock()
        if beat.is_missed:
            self._log.info(f"{worker.label} answers again, after {now - beat.asked_at:.0f} s")
        beat.asked_at, beat.is_missed, beat.knows_question = math.inf, False, True
        beat.ask_at = math.inf if beat.is_leaving else now + ASK_EVERY_S

    def on_time(self, now: float) -> None:
        for worker, beat in self._beats.items():
            if beat.ask_at <= now:
                self._ask(worker, beat)
            elif beat.knows_question and not beat.is_missed and beat.asked_at + ANSWER_WITHIN_S <= now:
                beat.is_missed = True
                heard = "it was told to leave, and" if beat.is_leaving else "it"
                self._log.warning(
                    f"{worker.label} has not answered the master for {now - beat.asked_at:.0f} s: {heard} serves on as "
                    "it is, because its interpreter does not come to its control thread (a call into C that keeps the "
                    "lock?), or because somebody has stopped it"
                )

    def forget(self, worker: WorkerProcess) -> None:
        self._beats.pop(worker, None)

    def _ask(self, worker: WorkerProcess, beat: _Beat) -> None:
        beat.ask_at = math.inf
        if beat.asked_at == math.inf or beat.is_leaving:
            beat.asked_at = self._clock()
        worker.send({"command": "ping"})

    def _due(self, beat: _Beat) -> float:
        missed_at = beat.asked_at + ANSWER_WITHIN_S if beat.knows_question and not beat.is_missed else math.inf
        return min(beat.ask_at, missed_at)
