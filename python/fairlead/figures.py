"""What is known of each worker: requests, bytes, times, memory. The master keeps it, whoever wants to know asks it.

A worker says its own figures in a "stats" event, at most once a second and only when they have changed. The master adds
to them what earlier processes of the same worker id had reached, because a worker that was replaced goes on counting
(spec §1.5, `workers()`). What a worker says is not trusted further than to be numbers and short texts: it may be
another program, and it must not bring the master down. Times are microseconds, sizes bytes, moments seconds since 1970.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fairlead.worker_process import WorkerProcess

__all__ = ["REPORT_EVERY_S", "Figures", "memory", "row_of"]

#: How often a worker whose figures change says so.
REPORT_EVERY_S = 1.0

#: With more workers than these their applications are left out: an answer has to fit into a socket's buffer at once,
#: for the master waits for nobody. A row takes 0.5 KB with an application, 0.25 KB without; Linux gives 208 KB.
_MOST_WITH_APPS = 256

#: What goes on counting over the processes of one worker id.
_SUMMED = ("requests", "exceptions", "tx", "running_time")


class Figures:
    """The master's book, by worker id."""

    def __init__(self, worker_ids: Iterable[int], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ended = {worker_id: dict.fromkeys(_SUMMED, 0) for worker_id in worker_ids}
        self._spawns = dict.fromkeys(self._ended, 0)
        self._last_spawn = dict.fromkeys(self._ended, 0)

    def spawned(self, worker_id: int) -> None:
        self._spawns[worker_id] += 1
        self._last_spawn[worker_id] = int(self._clock())

    def ended(self, worker: WorkerProcess) -> None:
        for name in _SUMMED:
            self._ended[worker.worker_id][name] += _number(worker.stats, name)

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
        for name in _SUMMED:
            row[name] = self._ended[worker_id][name] + sum(_number(one.stats, name) for one in workers)
        row["last_spawn"] = self._last_spawn[worker_id]
        row["respawn_count"] = self._spawns[worker_id]
        return row


def row_of(worker_id: int, pid: int, stats: Mapping[str, Any]) -> dict[str, Any]:
    """What one process says of itself, with uWSGI's names (spec §1.5). `pid` 0: there is none at present."""
    names = (*_SUMMED, "rss", "vsz", "avg_rt")
    return {
        "id": worker_id,
        "pid": pid,
        **{name: _number(stats, name) for name in names},
        "delta_requests": _number(stats, "requests"),
        "signals": 0,
        # A worker that is being started again is what uWSGI calls cheap: it is not there.
        "status": "cheap" if not pid else "busy" if _number(stats, "running") else "idle",
        "last_spawn": 0,
        "respawn_count": 0,
        "apps": _apps(stats),
    }


def _number(stats: Mapping[str, Any], name: str) -> int:
    value = stats.get(name)
    return value if isinstance(value, int) else 0


def _apps(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    apps = stats.get("apps")
    if not isinstance(apps, list):
        return []
    numbers = ("startup_time", "callable", "requests", "exceptions")
    texts = ("mountpoint", "chdir")
    return [
        {**{name: _number(app, name) for name in numbers}, **{name: str(app.get(name, "")) for name in texts}}
        for app in apps
        if isinstance(app, dict)
    ]


def memory() -> tuple[int, int]:
    """Resident and virtual memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        virtual, resident = file.read().split()[:2]
    page = os.sysconf("SC_PAGESIZE")
    return int(resident) * page, int(virtual) * page
