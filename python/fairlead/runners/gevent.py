"""The gevent runner (`--gevent N`): each request is a `gevent.Greenlet` on gevent's own hub.

The hub watches the engine's two descriptors; when one is readable it calls the native `Hub.turn`, which starts tasks
and switches to those whose wait is over. Whatever else lives on the hub (the application's greenlets, its timers,
patched sockets) runs between the turns as it always does. Only here is gevent imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import gevent
import gevent.event
import gevent.exceptions
import gevent.monkey

from fairlead._native import Engine, Hub, Request, ancestors
from fairlead.runners.contract import RunTask, go_on_until

__all__ = ["GeventRunner"]

#: In gevent's spawn_tree_locals, which a greenlet shares with all that it spawns: the context of the tree's task.
_CONTEXT_KEY = "fairlead.context"

#: Seconds between two turns while the worker leaves: the end of a closing connection is no event.
_LEAVING_EVERY_S = 0.02

#: libev's EV_READ, which gevent names nowhere.
_READ = 1


class GeventRunner:
    blocks_threads = False
    waits_at_items_only = False
    # gevent.select and gevent.sleep do it, for any greenlet.
    wait_descriptors = None
    pause = None
    start_task = None
    sleep_async = None
    turn = None
    task_exit = gevent.GreenletExit

    def __init__(self, engine: Engine, run_task: RunTask, slots: int) -> None:
        self._native = Hub(engine, starts_itself=True)
        self._run_task = run_task
        self.subscribe = self._native.subscribe
        self._tasks: set[gevent.Greenlet] = set()
        self._is_over = gevent.event.Event()
        #: The application has destroyed the hub: nobody can be served any more.
        self._lost: gevent.exceptions.LoopExit | None = None
        # Not before the application is loaded, which may choose the loop. ImportError for one that is not installed.
        self._hub = gevent.get_hub()
        # gevent hands exits, interrupts and SystemError of any greenlet, callback or thread of its pool on to the main
        # greenlet, and with it ends a program. This one serves others too: the one that failed has failed, with its
        # traceback, exits' as well.
        self._hub.SYSTEM_ERROR = ()
        self._hub.NOT_ERROR = (gevent.GreenletExit,)
        self._hub.handle_system_error = lambda *error: None

    @staticmethod
    def prepare(settings: Any) -> None:
        """Replace the standard library's blocking calls, if the operator wants it, before the application sees them."""
        if settings.gevent_monkey_patch:
            gevent.monkey.patch_all()

    def run(self) -> None:
        loop = self._hub.loop
        watchers = [loop.io(descriptor, _READ) for descriptor in self._native.attach(self._hub)]
        for watcher in watchers:
            watcher.start(self._turn)
        # Before the first turn: from here on a change makes a descriptor readable.
        self._native.leave()
        try:
            go_on_until(lambda: self._lost is not None or self._is_over.is_set(), self._is_over.wait, self._report)
            if self._lost is not None:
                raise self._lost
        finally:
            for watcher in watchers:
                watcher.stop()
                watcher.close()

    def _report(self, error: BaseException) -> None:
        """Thrown into the main greenlet by the application, or raised in one of its own whose parent that is."""
        if isinstance(error, gevent.exceptions.LoopExit):
            self._lost = error
            return
        self._hub.print_exception("The worker's main greenlet, which goes on,", type(error), error, error.__traceback__)

    def stop(self) -> None:
        self._native.stop()
        self._native.spawn(self._leave_when_quiet)

    def kill(self) -> None:
        self._native.spawn(self._kill_tasks)

    def ender(self, request: Request) -> Callable[[], None]:
        task = gevent.getcurrent()

        def end() -> None:
            # A greenlet serves one request, but may be another's: of a pool of the application's, say.
            if task in self._tasks and not request.is_complete:
                task.kill(block=False)

        return lambda: self._native.spawn(end)

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)  # in another thread than the hub's it blocks that thread, on a hub of its own

    def ancestors(self) -> Iterator[Context]:
        # gevent copies no contexts, but all that a greenlet spawns shares its tree, from generation to generation.
        tree = getattr(gevent.getcurrent(), "spawn_tree_locals", None)
        if tree and _CONTEXT_KEY in tree:
            yield tree[_CONTEXT_KEY]
        yield from ancestors()

    def _start(self, request: Request) -> None:
        """Begin a task; called on the hub. It runs at once, until it waits for the first time."""
        task = gevent.Greenlet(self._live, request)
        # Its own, not those of the hub, which has spawned it; and what one task sets the next must not see.
        task.gr_context = context = Context()
        task.spawn_tree_locals = {_CONTEXT_KEY: context}
        self._tasks.add(task)
        task.switch()

    def _live(self, request: Request) -> None:
        task = gevent.getcurrent()
        try:
            self._run_task(request)
        finally:
            self._tasks.discard(task)
            # What the task has spawned may go on, and must not hold the request.
            task.spawn_tree_locals.pop(_CONTEXT_KEY, None)

    def _turn(self) -> None:
        """What the engine has for its tasks, and what they sent; called on the hub, by its loop."""
        goes_on = True
        try:
            goes_on = self._native.turn(self._start)
        finally:
            # Whatever happened, or no descriptor would ever become readable again.
            self._native.leave()
        if not goes_on:
            self._is_over.set()

    def _leave_when_quiet(self) -> None:
        """On the hub's thread: look for the end until it comes."""
        timer = self._hub.loop.timer(_LEAVING_EVERY_S, _LEAVING_EVERY_S)
        timer.start(self._turn)
        self._is_over.rawlink(lambda _: timer.close())

    def _kill_tasks(self) -> None:
        """On the hub's thread: tasks end wherever they wait, in a verb of ours or in a call of gevent's."""
        gevent.killall(list(self._tasks), block=False)
