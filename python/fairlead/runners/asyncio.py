"""The asyncio runner (`--asyncio N`): each request is a greenlet whose parent runs an asyncio loop.

The loop watches the engine's two descriptors; when one is readable it calls `Hub.turn`, which starts tasks and goes on
with those whose wait is over, and then `Hub.leave`. So whatever else lives on the loop (an application's own tasks,
readers, timers) runs between the turns, and may switch to its tasks as it likes. Only here is asyncio imported.

To a synchronous application no loop is running (the hub sees to that): it blocks like any other, and libraries that
refuse to block a loop do not refuse it. `asyncio.get_event_loop()` gives it the worker's loop, for callbacks and tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Coroutine
from typing import Any, Callable

from fairlead._native import Engine, Hub, Request, ancestors
from fairlead.errors import LoadError
from fairlead.os_threads import get_ident, sleep
from fairlead.runners.contract import RunTask, go_on_until

__all__ = ["AsyncioRunner"]

#: Seconds between two looks while the worker leaves: the end of a closing connection is no event.
_LEAVING_EVERY_S = 0.02


class _Turn(asyncio.Lock):
    """A lock for coroutines of one loop; on another it would bind to that, and fail those it is for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._of = loop

    async def __aenter__(self) -> None:
        if asyncio.get_running_loop() is not self._of:
            raise RuntimeError("this is awaited on the worker's own loop only; elsewhere call it without `_async`")
        await super().__aenter__()


class AsyncioRunner:
    blocks_threads = False
    waits_at_items_only = False
    _prepared: asyncio.AbstractEventLoop | None = None
    ancestors = staticmethod(ancestors)
    sleep_async = staticmethod(asyncio.sleep)

    def __init__(self, engine: Engine, run_task: RunTask, slots: int) -> None:
        self._hub = Hub(engine)
        self.subscribe = self._hub.subscribe
        self.task_exit = self._hub.task_exit
        self._run_task = run_task
        self.wait_descriptors = self._hub.wait_descriptors
        assert self._prepared is not None, "prepare goes first"
        self._loop = self._prepared
        #: What of our tasks goes on as a task of asyncio's; a loop keeps no reference to those.
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_new_tasks = False
        self.turn = _Turn(self._loop)
        #: The same by what they serve; and the one that was made last.
        self._rests: dict[Request, asyncio.Task[None]] = {}
        self._made: asyncio.Task[None] | None = None
        self._is_over = False
        #: The loop's thread while it runs.
        self._thread = 0
        self.about = f"the loop is {type(self._loop).__module__.partition('.')[0]}'s"

    @classmethod
    def prepare(cls, settings: Any) -> None:
        """Make the loop that `--asyncio-loop` names, before the application is loaded and may ask for it."""
        cls._prepared = _new_loop(settings.asyncio_loop)
        asyncio.set_event_loop(cls._prepared)

    def run(self) -> None:
        loop = self._loop
        # Again: the application may have called `asyncio.run` while it was loaded, which leaves no loop behind.
        asyncio.set_event_loop(loop)
        descriptors = self._hub.attach(asyncio_loop=loop)
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._turn)
        loop.call_soon(self._turn)
        self._thread = get_ident()
        self._run_until(lambda: self._is_over, loop.run_forever)
        self._thread = 0
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
        ending = asyncio.Task(self._end(), loop=loop)
        self._run_until(ending.done, lambda: loop.run_until_complete(ending))
        loop.close()

    def stop(self) -> None:
        self._hub.stop()
        self._call_soon(self._leave_soon)

    def kill(self) -> None:
        self._hub.kill()
        self._call_soon(self._cancel_tasks)

    def ender(self, request: Request) -> Callable[[], None]:
        task = self._hub.current()

        def end() -> None:
            if request in self._rests:
                self._call_soon(lambda: self._cancel(request))
            else:
                self._hub.end(task, request)

        return end

    def sleep(self, seconds: float) -> None:
        if get_ident() == self._thread:
            self._hub.sleep(seconds)
        else:  # a thread of the application's own, or the loop does not run
            sleep(seconds)

    def pause(self) -> None:
        self._hub.sleep(0.0)

    def start_task(self, rest: Coroutine[Any, Any, None]) -> None:
        # By hand: a task factory of the application's might begin it here, in a greenlet that must go on with others.
        task = asyncio.Task(rest, loop=self._loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._made = task
        self._has_new_tasks = True

    def _run_until(self, is_over: Callable[[], bool], run: Callable[[], object]) -> None:
        """`run` the loop, again and again: asyncio hands exits and interrupts of any task or callback on to whoever
        runs it. The worker serves others too: the one that failed has failed."""

        def step() -> None:
            run()
            if not is_over():
                self._complain("the application has stopped the worker's event loop; it goes on", None)

        def report(error: BaseException) -> None:
            self._complain("an exit or an interrupt behind a request; the worker goes on", error)

        go_on_until(lambda: is_over() or self._loop.is_closed(), step, report)

    def _complain(self, text: str, error: BaseException | None) -> None:
        try:
            self._loop.call_exception_handler({"message": text, **({"exception": error} if error else {})})
        except BaseException:  # the application's own handler is no better
            traceback.print_exception(error)

    def _turn(self) -> None:
        goes_on = True
        try:
            goes_on = self._hub.turn(self._live)
        finally:
            if self._has_new_tasks or self._hub.has_woken_tasks:
                # In the next round, as asyncio's own futures do it; and what all of them answer leaves together.
                self._has_new_tasks = False
                self._loop.call_soon(self._end_turn)
            else:
                self._hub.leave()
        if not goes_on:
            self._is_over = True
            self._loop.stop()

    def _end_turn(self) -> None:
        self._hub.resume_tasks()
        self._hub.leave()

    def _live(self, first: Request) -> None:
        """The life of one greenlet: one task after the other."""
        request: Request | None = first
        del first  # held here it would outlive its task
        while request is not None:
            self._run_task(request)
            if self._made is not None:  # as the last thing that the task has done
                self._serve_by(self._made, request)
            request = None
            # `asyncio.run` leaves none behind, and the next application may ask for it.
            asyncio.set_event_loop(self._loop)
            request = self._hub.rest()

    def _serve_by(self, task: asyncio.Task[None], request: Request) -> None:
        self._made = None
        self._rests[request] = task
        task.add_done_callback(lambda _: self._rests.pop(request, None))

    def _call_soon(self, step: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing left to end
            self._loop.call_soon_threadsafe(step)

    def _leave_soon(self) -> None:
        if not self._is_over:
            self._turn()
            self._loop.call_later(_LEAVING_EVERY_S, self._leave_soon)

    def _cancel(self, request: Request) -> None:
        rest = self._rests.get(request)
        if rest is not None:
            rest.cancel()

    def _cancel_tasks(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()

    async def _end(self) -> None:
        """What the application has left on the loop ends as `asyncio.run` ends it."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


def _new_loop(choice: str) -> asyncio.AbstractEventLoop:
    """The loop of `--asyncio-loop`: auto, uvloop or asyncio. Raises LoadError where uvloop is asked for and missing."""
    if choice != "asyncio":
        try:
            import uvloop
        except ImportError as error:
            if choice == "uvloop":
                raise LoadError(
                    f"--asyncio-loop uvloop: uvloop is not installed ({error}); pip install 'fairlead[asyncio]'."
                ) from None
        else:
            return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()
