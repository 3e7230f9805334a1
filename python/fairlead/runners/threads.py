"""The threads runner (`--threads N`): N threads, each serves one request after the other and reads its own socket.

A thread that waits in a verb of the engine has released the GIL. Threads cannot be ended from outside: `kill` does
nothing, and the worker leaves without those that do not return. They are the system's own, not `threading`'s: an
application that patches that module would get greenlets, which nobody runs.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from contextvars import Context

from fairlead._native import Engine, ancestors
from fairlead.os_threads import Latch, allocate_lock, sleep, start_thread
from fairlead.runners.contract import RunTask, go_on_until

__all__ = ["Threads"]


class Threads:
    blocks_threads = True
    waits_at_items_only = False
    wait_descriptors = None
    pause = None
    start_task = None
    sleep_async = None
    turn = None
    task_exit = None
    ender = None
    ancestors = staticmethod(ancestors)
    sleep = staticmethod(sleep)

    def __init__(self, engine: Engine, run_task: RunTask, slots: int) -> None:
        self._engine = engine
        self._run_task = run_task
        self.subscribe = engine.subscribe
        self._slots = slots
        self._counting = allocate_lock()
        self._serving = slots
        self._have_ended = Latch()
        #: Why not all could be started.
        self._failure: BaseException | None = None

    def run(self) -> None:
        # Only signal handlers of the application's run on this thread, so not even the starting is left to it.
        start_thread(self._start_all, "fairlead-start")
        go_on_until(self._have_ended.is_set, self._have_ended.wait, traceback.print_exception)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._engine.dismiss()

    def kill(self) -> None:
        pass

    def _start_all(self) -> None:
        try:
            for number in range(1, self._slots + 1):
                self._start(f"fairlead-{number}")
        except BaseException as error:  # the system has no thread left, or no memory for it
            self._failure = error
            self._have_ended.set()

    def _start(self, name: str) -> None:
        # The end of the process does not wait for them: an application may hold one up for ever.
        start_thread(lambda: self._live(name), name)

    def _live(self, name: str) -> None:
        try:
            # What `threading.Thread` does for its own: a name for the application's log, debuggers, profilers.
            with contextlib.suppress(Exception):
                threading.current_thread().name = name
                sys.settrace(threading.gettrace())
                sys.setprofile(threading.getprofile())
            self._serve()
        finally:
            with self._counting:
                self._serving -= 1
                if not self._serving:
                    self._have_ended.set()

    def _serve(self) -> None:
        while (request := self._engine.wait_request()) is not None:
            try:
                # A context of its own for each task, as a greenlet has: what one sets the next must not see.
                Context().run(self._run_task, request)
            except BaseException:
                # Not the application's, which a task lets out of nothing: memory that ran out, a fault of ours. It is
                # this task's; the thread has others to serve.
                traceback.print_exc()
            # Not kept until the next one comes.
            del request
