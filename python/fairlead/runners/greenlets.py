"""The greenlet runner, which is called in two ways: `--async N --greenlet`, and `--async N` alone for generators.

Each request is a greenlet, one thread runs them all. The innermost loop is native (`Hub`); a task that waits in a verb
of the engine parks there. Other blocking calls of the application (a database, `time.sleep`) stop all tasks of the
worker; the engine goes on answering pings meanwhile.

Both ways schedule alike, so they are one class and a constant: they differ in where an application may wait.
"""

from __future__ import annotations

from collections.abc import Callable

from fairlead._native import Engine, Hub, Request, ancestors
from fairlead.os_threads import get_ident, sleep
from fairlead.runners.contract import RunTask

__all__ = ["Generators", "Greenlets"]


class Greenlets:
    """`--async N --greenlet`: an application waits wherever it calls a verb."""

    blocks_threads = False
    waits_at_items_only = False
    start_task = None
    sleep_async = None
    turn = None
    ancestors = staticmethod(ancestors)

    def __init__(self, engine: Engine, run_task: RunTask, slots: int) -> None:
        self._hub = Hub(engine)
        self._run_task = run_task
        self.wait_descriptors = self._hub.wait_descriptors
        self.subscribe = self._hub.subscribe
        self.task_exit = self._hub.task_exit
        #: The hub's thread while it runs.
        self._thread = 0

    def run(self) -> None:
        self._thread = get_ident()
        try:
            self._hub.run(self._live)
        finally:
            self._thread = 0

    def _live(self, first: Request) -> None:
        """The life of one greenlet: one task after the other."""
        request: Request | None = first
        del first  # held here it would outlive its task
        while request is not None:
            self._run_task(request)
            request = None
            request = self._hub.rest()

    def stop(self) -> None:
        self._hub.stop()

    def sleep(self, seconds: float) -> None:
        if get_ident() == self._thread:
            self._hub.sleep(seconds)
        else:  # a thread of the application's own, or the hub does not run
            sleep(seconds)

    def kill(self) -> None:
        self._hub.kill()

    def ender(self, request: Request) -> Callable[[], None]:
        task = self._hub.current()
        return lambda: self._hub.end(task, request)

    def pause(self) -> None:
        self._hub.sleep(0.0)


class Generators(Greenlets):
    """`--async N` alone: an application that is a generator waits at its yields, as in uWSGI, which has no coroutines
    there."""

    waits_at_items_only = True
