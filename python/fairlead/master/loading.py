"""Says in the log which workers take long to load the application: an import that waits for a database looks like a
server that hangs.

A worker tells when it begins to load; whatever becomes of it after that ends the watch. Nothing is limited here: how
long a start may take is the service manager's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fairlead.logs import Log
from fairlead.master.worker_process import WorkerProcess

__all__ = ["SAID_AFTER_S", "LoadingLog"]

#: Seconds after which a line is due, and then once a minute. Most applications load in less than the first.
SAID_AFTER_S = (1.0, 10.0, 30.0)

_THEN_EVERY_S = 60.0


class LoadingLog:
    """The workers that are loading. `what` is the application's name."""

    def __init__(self, log: Log, clock: Callable[[], float], what: str) -> None:
        self._log = log
        self._clock = clock
        self._what = what
        #: When each began, and how many lines it has got.
        self._began: dict[WorkerProcess, tuple[float, int]] = {}

    def due_at(self) -> list[float]:
        return [began + _after(lines) for began, lines in self._began.values()]

    def begins(self, worker: WorkerProcess) -> None:
        self._began[worker] = (self._clock(), 0)

    def ends(self, worker: WorkerProcess) -> None:
        """It is ready, has failed, or was given up."""
        self._began.pop(worker, None)

    def on_time(self, now: float) -> None:
        for worker, (began, lines) in list(self._began.items()):
            if began + _after(lines) <= now:
                self._began[worker] = (began, lines + 1)
                self._log.info(f"loading {self._what}: {math.floor(now - began)} s so far, {worker.label}")


def _after(lines: int) -> float:
    return SAID_AFTER_S[lines] if lines < len(SAID_AFTER_S) else _THEN_EVERY_S * (lines - len(SAID_AFTER_S) + 1)
