"""What is told of one worker: requests, bytes, times, memory, as a row with uWSGI's names.

A worker says its own statistics in a "stats" event, at most once a second and only when they have changed; the master
keeps those of all (master/statistics.py). That what a worker says are numbers and texts was checked where it came in
(control_protocol.py). Times are microseconds, sizes bytes, moments seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["APP_NUMBERS", "APP_TEXTS", "NUMBERS", "REPORT_EVERY_S", "SUMMED", "row_of"]

#: How often a worker whose statistics change says so.
REPORT_EVERY_S = 1.0

#: What goes on counting over the processes of one worker id.
SUMMED = ("requests", "exceptions", "tx", "running_time")

#: All numbers that a worker tells; and of each of its applications.
NUMBERS = (*SUMMED, "running", "rss", "vsz", "avg_rt")
APP_NUMBERS = ("startup_time", "callable", "requests", "exceptions")
APP_TEXTS = ("mountpoint", "chdir")


def row_of(worker_id: int, pid: int, stats: Mapping[str, Any]) -> dict[str, Any]:
    """What one process says of itself, with uWSGI's names (compat §1.5). `pid` 0: there is none at present."""
    return {
        "id": worker_id,
        "pid": pid,
        **{name: stats.get(name, 0) for name in NUMBERS if name != "running"},
        "delta_requests": stats.get("requests", 0),
        "signals": 0,
        # A worker that is being started again is what uWSGI calls cheap: it is not there.
        "status": "cheap" if not pid else "busy" if stats.get("running") else "idle",
        "last_spawn": 0,
        "respawn_count": 0,
        "apps": [
            {**{name: app.get(name, 0) for name in APP_NUMBERS}, **{name: app.get(name, "") for name in APP_TEXTS}}
            for app in stats.get("apps", ())
        ],
    }
