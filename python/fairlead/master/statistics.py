"""The statistics of all workers, which the master keeps (what a row holds is statistics.py).

The master adds to what a worker says what earlier processes of the same worker id had reached, because a worker that
was replaced goes on counting (compat §1.5, `workers()`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fairlead.master.worker_process import WorkerProcess
from fairlead.statistics import SUMMED, row_of

__all__ = ["WorkerStatistics"]

#: With more workers than these their applications are left out, so that an answer fits into a socket's buffer and
#: nothing of it waits in the master. A row takes 0.5 KB with an application, 0.25 KB without; Linux gives 208 KB.
_MOST_WITH_APPS = 256


class WorkerStatistics:
    """The statistics of all workers, by worker id."""

    def __init__(self, worker_ids: Iterable[int], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ended = {worker_id: dict.fromkeys(SUMMED, 0) for worker_id in worker_ids}
        self._spawns = dict.fromkeys(self._ended, 0)
        self._last_spawn = dict.fromkeys(self._ended, 0)

    def spawned(self, worker_id: int) -> None:
        self._spawns[worker_id] += 1
        self._last_spawn[worker_id] = int(self._clock())

    def ended(self, worker: WorkerProcess) -> None:
        for name in SUMMED:
            self._ended[worker.worker_id][name] += worker.stats.get(name, 0)

    def rows(self, serving: Mapping[int, WorkerProcess], workers: Iterable[WorkerProcess]) -> list[dict[str, Any]]:
        """One row for each worker id. `workers` are all processes; those that leave count, but are not shown."""
        processes: dict[int, list[WorkerProcess]] = {worker_id: [] for worker_id in self._ended}
        for worker in workers:
            processes[worker.worker_id].append(worker)
        rows = [self._row(worker_id, serving.get(worker_id), found) for worker_id, found in processes.items()]
        if len(rows) > _MOST_WITH_APPS:
            for row in rows:
                row["apps"] = []
        return rows

    def _row(self, worker_id: int, shown: WorkerProcess | None, workers: list[WorkerProcess]) -> dict[str, Any]:
        shown = shown or (workers[0] if workers else None)  # before all is ready the first one must do
        row = row_of(worker_id, shown.pid, shown.stats) if shown is not None else row_of(worker_id, 0, {})
        for name in SUMMED:
            row[name] = self._ended[worker_id][name] + sum(one.stats.get(name, 0) for one in workers)
        row["last_spawn"] = self._last_spawn[worker_id]
        row["respawn_count"] = self._spawns[worker_id]
        return row
