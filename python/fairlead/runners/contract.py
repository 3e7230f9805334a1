"""What a runner must supply: it takes requests from the engine, and runs one task for each.

A runner owns scheduling and nothing else. Sessions, time-outs and limits are the engine's; how an application is
called is `apps`. The native verbs wait by themselves, each in the way of the runner that took the request (a greenlet
parks in the hub, a thread blocks, a coroutine is suspended). What is left of waiting is here: for descriptors of the
application's own, and for other tasks. A runner leaves out what its model has not, so that who asks can tell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from typing import Any, Callable, Protocol

from fairlead._native import Engine, Request, Session, Subscription

#: Runs one task to its end, and lets nothing through that the application raises.
RunTask = Callable[[Request], None]


def go_on_until(
    is_over: Callable[[], bool], step: Callable[[], object], report: Callable[[BaseException], object]
) -> None:
    """Call `step`, which waits, until `is_over()`, and hand what it raises to `report`.

    A runner's own thread has the application's code on it: signal handlers, callbacks, greenlets. What they raise must
    not end a worker with everybody's connections, be it an exit or an interrupt.
    """
    error: BaseException | None = None
    while True:
        last, error = error, None
        try:
            if last is not None:
                report(last)
                last = None
            if is_over():
                return
            step()
        except BaseException as caught:
            # What comes while another one is reported is not: where `report` cannot work, that would have no end.
            error = caught if last is None else None


class WaitDescriptors(Protocol):
    """Parks the calling task until a descriptor is ready, at most `timeout_s` seconds.

    Returns the first descriptor found ready, -1 if it was `session`'s next message or end, None after the time-out.
    Raises OSError for a descriptor that cannot be polled.
    """

    def __call__(
        self, readable: list[int], writable: list[int], session: Session | None, timeout_s: float | None
    ) -> int | None: ...


class Runner(Protocol):
    """A concurrency model at work."""

    #: None where tasks cannot be suspended from outside their own calls (threads, gevent's own ways).
    wait_descriptors: WaitDescriptors | None
    #: Lets the other tasks run before the caller goes on; None where they run anyway.
    pause: Callable[[], None] | None
    #: Called in a task with its request: gives a call that ends it, from any thread, by an exception where it waits, as
    #: far as the model can; it does nothing once the request is over. None where no task can be ended from outside.
    ender: Callable[[Request], Callable[[], None]] | None
    #: What `kill` and an `ender` raise in a task, and the model's library where the application ends one by it: then
    #: nobody has failed. None where nothing ends a task from outside.
    task_exit: type[BaseException] | None
    #: Runs the rest of a task as an `asyncio.Task`, in the calling task's context; None where there is no asyncio loop.
    #: `kill` cancels it.
    start_task: Callable[[Coroutine[Any, Any, None]], None] | None
    #: How a coroutine of the runner's loop waits for a time, and a lock that lets coroutines in one by one, in their
    #: order; None where there is no asyncio loop.
    sleep_async: Callable[[float], Awaitable[None]] | None
    turn: AbstractAsyncContextManager[None] | None

    def subscribe(self, name: str, since: int | None, limit: int, drops: str) -> Subscription:
        """A membership of a channel for a task of this runner, which waits in its way; see fairlead.channels."""

    def run(self) -> None:
        """Serve until `stop` was called and the last task has ended. Called once, on the worker's main thread."""

    def stop(self) -> None:
        """Take no more requests; `run` returns when the running tasks have ended. From any thread."""

    def sleep(self, seconds: float) -> None:
        """Wait, while other tasks run as far as the model can. From any thread, also where no task runs."""

    def kill(self) -> None:
        """End the tasks that wait, by an exception inside them, as far as the model can. From any thread."""

    def ancestors(self) -> Iterable[Context]:
        """The contexts of the tasks that the calling code descends from, nearest first: a greenlet that a task has
        spawned belongs to that task's request."""


class RunnerFactory(Protocol):
    """How the worker makes a runner: `slots` tasks at most run at a time.

    A factory may have `prepare(settings)`, called before the application is loaded: what an application does at import
    time must find the library as its tasks will. A runner may have `about`, a line for the log.
    """

    #: Each task has a thread of its own, which its waits block; else one thread runs all, and a `yield` of an
    #: application lets the others run.
    blocks_threads: bool
    #: An application that is a generator waits at its yields, and nowhere else.
    waits_at_items_only: bool
    #: The runner's method, see there; None where there is no asyncio loop.
    start_task: Any

    def __call__(self, engine: Engine, run_task: RunTask, slots: int) -> Runner: ...
