"""What a host must supply: it takes requests from the engine, and runs one unit for each.

A host owns scheduling and nothing else. Sessions, time-outs and limits are the engine's; how an application is
called is `apps`. The native verbs wait by themselves, each in the way of the host that took the request (a greenlet
parks in the hub, a thread blocks, a coroutine is suspended). What is left of waiting is here: for descriptors of the
application's own, and for other units. A host leaves out what its model has not, so that who asks can tell.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from contextvars import Context
from typing import Any, Callable, Protocol

from fairlead._native import Engine, Request, Session, Subscription

#: Runs one unit to its end. Lets nothing but exits of the interpreter through.
RunUnit = Callable[[Request], None]


class WaitDescriptors(Protocol):
    """Parks the calling unit until a descriptor is ready, at most `timeout_s` seconds.

    Returns the first descriptor found ready, -1 if it was `session`'s next message or end, None after the time-out.
    Raises OSError for a descriptor that cannot be polled.
    """

    def __call__(
        self, readable: list[int], writable: list[int], session: Session | None, timeout_s: float | None
    ) -> int | None: ...


class Host(Protocol):
    """One running host."""

    #: None where units cannot be suspended from outside their own calls (threads, gevent's own ways).
    wait_descriptors: WaitDescriptors | None
    #: Lets the other units run before the caller goes on; None where they run anyway.
    pause: Callable[[], None] | None
    #: Runs the rest of a unit as a task of an asyncio loop, in the calling unit's context; None where there is no such
    #: loop. `kill` cancels it.
    start_task: Callable[[Coroutine[Any, Any, None]], None] | None

    def subscribe(self, name: str, since: int | None, limit: int, drops: str) -> Subscription:
        """A membership of a channel for a unit of this host, which waits in the host's way; see fairlead.channels."""

    def run(self) -> None:
        """Serve until `stop` was called and the last unit has ended. Called once, on the worker's main thread."""

    def stop(self) -> None:
        """Take no more requests; `run` returns when the running units have ended. From any thread."""

    def sleep(self, seconds: float) -> None:
        """Wait, while other units run as far as the model can. From any thread, also where no unit runs."""

    def kill(self) -> None:
        """End the units that wait, by an exception inside them, as far as the model can. From any thread."""

    def ancestors(self) -> Iterable[Context]:
        """The contexts of the units that the calling code descends from, nearest first: a greenlet that a unit has
        spawned belongs to that unit's request."""


class HostFactory(Protocol):
    """How the worker makes a host: `slots` units at most run at a time.

    A factory may have `prepare(settings)`, called before the application is loaded: what an application does at import
    time must find the library as its units will. A host may have `about`, a line for the log.
    """

    def __call__(self, engine: Engine, run_unit: RunUnit, slots: int) -> Host: ...
