"""What the module `uwsgi` tells about the process, its siblings and the running request (compat §1.5).

Byte strings are `bytes`, which surprises applications, but is so. Nothing here changes anything.
"""

from __future__ import annotations

import os
import platform
import stat
import threading
import time
from typing import Any, Callable

from fairlead import FairleadError, __version__
from fairlead.compat.uwsgi.arguments import integer, public, request_of, task_of
from fairlead.compat.uwsgi.contract import Process

__all__ = ["VERSION", "attribute_of_a_request", "facts", "information_calls"]

#: What apps that compare versions get; 2.1 is the line whose API this is.
VERSION = b"2.1"

#: Keys of `workers()` whose values are taken as the master gives them.
_NUMBERS = (
    "id", "pid", "requests", "delta_requests", "signals", "exceptions", "rss", "vsz", "running_time", "last_spawn",
    "respawn_count", "tx", "avg_rt",
)  # fmt: skip


class MissingPart(FairleadError, AttributeError):
    """The application asks for a part of uWSGI that is not here. An AttributeError, so that `hasattr` tells the truth
    (compat §8); `uwsgidecorators`, of an uWSGI that is installed too, ends with it where it wants such a part."""


def facts(process: Process) -> dict[str, Any]:
    """The values that stand in the module from the start."""
    names: dict[str, Any] = {
        "version": VERSION,
        "version_info": (2, 1, 0, 0, b""),
        "fairlead_version": __version__,
        "hostname": platform.node().encode(),
        "loop": None if process.loop is None else process.loop.encode(),
        "opt": process.options,
        "numproc": process.numproc,
        "cores": process.cores,
        "has_threads": int(process.has_threads),
        "buffer_size": process.buffer_size,
        "started_on": process.started_on,
        "sockets": process.sockets,
        "magic_table": {letter.encode(): value.encode() for letter, value in process.magic.items() if value},
        "applications": None,
        "unbit": None,
        "is_a_reload": process.is_a_reload,
        "SPOOL_OK": -2,
        "SPOOL_RETRY": -1,
        "SPOOL_IGNORE": 0,
    }
    if process.mode is not None:
        names["mode"] = process.mode.encode()
    if process.pidfile is not None:
        names["pidfile"] = process.pidfile.encode()
    return names


def attribute_of_a_request(process: Process) -> Callable[[str], Any]:
    """The module's `__getattr__`: `env` exists during a request only, and with one thread only."""

    def __getattr__(name: str) -> Any:
        if name == "env" and not process.has_threads:
            task = process.services.task()
            if task is not None:
                return task.environ
        why = process.why_absent(name)
        if why:
            raise MissingPart(f"module 'uwsgi' has no attribute {name!r}: {why}")
        raise AttributeError(f"module 'uwsgi' has no attribute {name!r}")

    return __getattr__


def information_calls(process: Process) -> dict[str, Any]:
    """The functions by name."""
    rows: tuple[dict[str, Any], ...] = tuple({} for _ in range(process.numproc))
    filling = threading.Lock()

    def worker_id() -> int:
        return process.worker_id

    def mule_id() -> int:
        return 0

    def masterpid() -> int:
        return process.master_pid

    def total_requests() -> int:
        return sum(row["requests"] for row in process.services.workers())

    def request_id() -> int:
        return task_of(process).requests_before

    def workers() -> tuple[dict[str, Any], ...]:
        # The same objects each time, as in uWSGI. Keys never vanish, so whoever iterates meanwhile is not disturbed.
        found = process.services.workers()
        with filling:
            for row, statistics in zip(rows, found):
                row.update(_row(statistics))
        return rows

    def logsize() -> int:
        try:
            status = os.fstat(2)
        except OSError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def cl() -> int:
        length = request_of().header("Content-Length")
        return int(length) if length else 0

    def mem() -> tuple[int, int]:
        return process.services.memory()

    def micros() -> int:
        return time.time_ns() // 1000

    def listen_queue(number: int = 0, /) -> int:
        at = integer(number)
        if not 0 <= at < len(process.sockets):
            raise ValueError(f"unable to find socket {at}")
        return process.services.queue_length(process.sockets[at])

    def ready() -> bool | None:
        return True if process.services.is_ready() else None

    def start_response(*arguments: Any, **keywords: Any) -> Any:
        return task_of(process).response.start_response(*arguments, **keywords)

    return public(locals())


def _row(statistics: dict[str, Any]) -> dict[str, Any]:
    row = {name: statistics[name] for name in _NUMBERS}
    row["status"] = statistics["status"].encode()
    row["apps"] = tuple(
        {
            "id": number,
            "modifier1": 0,
            "mountpoint": app["mountpoint"].encode(),
            "startup_time": app["startup_time"],
            # uWSGI shows addresses here. A worker has one interpreter, so there is nothing to tell apart.
            "interpreter": 0,
            "callable": app["callable"],
            "requests": app["requests"],
            "exceptions": app["exceptions"],
            "chdir": app["chdir"].encode(),
        }
        for number, app in enumerate(statistics["apps"])
    )
    return row
