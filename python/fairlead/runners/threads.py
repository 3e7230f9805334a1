"""The threads runner (`--threads N`): N threads, each serves one request after the other and reads its own socket.

A thread that waits in a verb of the engine has released the GIL. Threads cannot be ended from outside: `kill` does
nothing, and the worker leaves without those that do not return.
"""

from __future__ import annotations

import threading
import time
from contextvars import Context

from fairlead._native import Engine, ancestors
from fairlead.runners.contract import RunTask

__all__ = ["Threads"]


class Threads:
    blocks_threads = True
    waits_at_items_only = False
    wait_descriptors = None
    pause = None
    start_task = None
    task_exit = None
    ancestors = staticmethod(ancestors)

    def __init__(self, engine: Engine, run_task: RunTask, slots: int) -> None:
        self._engine = engine
        self._run_task = run_task
        self.subscribe = engine.subscribe
        # Daemons: a thread that an application holds up for ever must not hold up the end of the process.
        self._threads = [
            threading.Thread(target=self._serve, name=f"fairlead-{n}", daemon=True) for n in range(1, slots + 1)
        ]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        self._engine.dismiss()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def kill(self) -> None:
        pass

    def _serve(self) -> None:
        while (request := self._engine.wait_request()) is not None:
            # A context of its own for each task, as a greenlet has: what one sets the next must not see.
            Context().run(self._run_task, request)
