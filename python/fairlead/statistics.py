"""What is told of one worker: requests, bytes, times, memory, as a row with uWSGI's names.

A worker says its own statistics in a "stats" event, at most once a second and only when they have changed; the master
keeps those of all (master/statistics.py). What a worker says is not trusted further than to be numbers and short
texts: it may be another program, and it must not bring the master down. Times are microseconds, sizes bytes, moments
seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["REPORT_EVERY_S", "SUMMED", "number_in", "row_of"]

#: How often a worker whose statistics change says so.
REPORT_EVERY_S = 1.0

#: What goes on counting over the processes of one worker id.
SUMMED = ("requests", "exceptions", "tx", "running_time")


def row_of(worker_id: int, pid: int, stats: Mapping[str, Any]) -> dict[str, Any]:
    """What one process says of itself, with uWSGI's names (compat §1.5). `pid` 0: there is none at present."""
    names = (*SUMMED, "rss", "vsz", "avg_rt")
    return {
        "id": worker_id,
        "pid": pid,
        **{name: number_in(stats, name) for name in names},
        "delta_requests": number_in(stats, "requests"),
        "signals": 0,
        # A worker that is being started again is what uWSGI calls cheap: it is not there.
        "status": "cheap" if not pid else "busy" if number_in(stats, "running") else "idle",
        "last_spawn": 0,
        "respawn_count": 0,
        "apps": _apps(stats),
    }


def number_in(stats: Mapping[str, Any], name: str) -> int:
    """The number of that name; 0 if there is none, or something else."""
    value = stats.get(name)
    return value if isinstance(value, int) else 0


def _apps(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    apps = stats.get("apps")
    if not isinstance(apps, list):
        return []
    numbers = ("startup_time", "callable", "requests", "exceptions")
    texts = ("mountpoint", "chdir")
    return [
        {**{name: number_in(app, name) for name in numbers}, **{name: str(app.get(name, "")) for name in texts}}
        for app in apps
        if isinstance(app, dict)
    ]
