"""What a worker does for the module `uwsgi`: the verbs that reach the log, the master, the kernel, other tasks.

`compat/uwsgi/contract.py` says what is wanted; here is who answers. Nothing of uWSGI's names, types and texts is known
here, and nothing here waits without a limit except for locks.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable

from fairlead.apps.contract import Caller
from fairlead.apps.task import Task
from fairlead.current import find_request
from fairlead.locks import Locks
from fairlead.logs import Log
from fairlead.os_threads import allocate_lock, sleep
from fairlead.runners.contract import Runner
from fairlead.settings.options import Settings
from fairlead.statistics import row_of
from fairlead.worker.control import Control
from fairlead.worker.harakiri import Deadlines
from fairlead.worker.kernel import memory, queue_length
from fairlead.worker.process_title import rename_process

__all__ = ["Services"]

#: The master answers at once; if it does not, a caller gets what this worker knows by itself.
_MASTER_ANSWERS_S = 1.0


class Services:
    """The services of one worker; the worker tells what it has made as it comes to be."""

    def __init__(self, control: Control, start: dict[str, Any], settings: Settings, log: Log) -> None:
        self._control = control
        self._worker_id: int = start["worker_id"]
        self._processes = settings.processes
        self._log = log
        self._asking = allocate_lock()
        self._locks = Locks(
            start["locks_fd"], settings.locks + 1, None if settings.runner == "threads" else self._sleep
        )
        self._serves = False
        self._startup_s = 0.0
        self._mounts: dict[str, Any] = {}
        self._folder = ""
        self._caller: Caller[Any] | None = None
        self._runner: Runner | None = None
        self._running: Callable[[], int] = int
        self.deadlines = Deadlines(settings.harakiri_s, control.tell)

    # -- what the worker tells

    def app_is_loaded(self, mounts: dict[str, Any], startup_s: float) -> None:
        self._mounts, self._startup_s, self._folder = mounts, startup_s, os.getcwd()

    def runner_is_made(self, caller: Caller[Any], runner: Runner, running: Callable[[], int]) -> None:
        """`running` counts the tasks that run."""
        self._caller, self._runner, self._running = caller, runner, running

    def in_forked_child(self) -> None:
        """Nobody waits for a lock that one of the parent's threads held."""
        self._asking = allocate_lock()
        self.deadlines.in_forked_child()

    def is_serving(self) -> None:
        self._serves = True

    def is_killing(self) -> None:
        """What runs is ended now: that is no failure of the application."""
        if self._caller is not None:
            self._caller.is_killing = True

    def statistics(self) -> dict[str, Any]:
        """This worker's own, for the master's sums (master/statistics.py)."""
        rss, vsz = memory()
        statistics: dict[str, Any] = {"running": self._running(), "rss": rss, "vsz": vsz}
        by_mount: dict[str, list[int]] = {}
        if self._caller is not None:
            totals = self._caller.totals
            statistics.update(
                requests=totals.requests,
                exceptions=totals.exceptions,
                tx=totals.sent_bytes,
                running_time=int(totals.running_s * 1_000_000),
                avg_rt=int(totals.average_s * 1_000_000),
            )
            by_mount = totals.by_mount
        statistics["apps"] = [
            {
                "mountpoint": mount if isinstance(mount, str) else repr(mount),
                "startup_time": int(self._startup_s),
                "callable": id(app),
                "requests": by_mount.get(mount, (0, 0))[0],
                "exceptions": by_mount.get(mount, (0, 0))[1],
                "chdir": self._folder,
            }
            for mount, app in self._mounts.items()
        ]
        return statistics

    # -- what applications call

    def task(self) -> Task | None:
        request = find_request()
        return None if request is None else request.task

    def log(self, text: str) -> None:
        self._log.info(text)

    def warn(self, text: str) -> None:
        self._log.warning(text)

    def ask_master(self, action: str) -> bool:
        return self._control.tell(event="request", action=action)

    def workers(self) -> list[dict[str, Any]]:
        statistics = self.statistics()
        # One question at a time: the answers to hundreds of threads would not fit into the socket.
        with self._asking:
            answer = self._control.ask(_MASTER_ANSWERS_S, event="statistics", statistics=statistics)
        if answer is not None:
            rows: list[dict[str, Any]] = answer["workers"]
            return rows
        mine = self._worker_id
        return [
            row_of(one, os.getpid(), statistics) if one == mine else row_of(one, 0, {})
            for one in range(1, self._processes + 1)
        ]

    def is_ready(self) -> bool:
        return self._serves

    def memory(self) -> tuple[int, int]:
        return memory()

    def queue_length(self, fd: int) -> int:
        with contextlib.suppress(OSError):
            return queue_length(fd)
        return 0  # as uWSGI says where the system does not tell

    def rename_process(self, name: str) -> None:
        rename_process(name)

    def set_deadline(self, task: Any, seconds: int) -> None:
        self.deadlines.set(task, seconds)

    def lock(self, number: int) -> None:
        self._locks.acquire(number)

    def unlock(self, number: int) -> None:
        self._locks.release(number)

    def is_locked(self, number: int) -> bool:
        return self._locks.is_held(number)

    def _sleep(self, seconds: float) -> None:
        if self._runner is None:
            sleep(seconds)
        else:
            self._runner.sleep(seconds)
