"""What a host must supply: it takes requests from the engine, and runs one unit for each.

A host owns scheduling and nothing else. Sessions, time-outs and limits are the engine's; how an application is
called is `apps`. Waiting is not here either: the native verbs wait by themselves, each in the way of the host that took
the request (a greenlet parks in the hub, a thread blocks).
"""

from __future__ import annotations

from typing import Callable, Protocol

from fairlead._native import Engine, Request

#: Runs one unit to its end. Lets nothing but exits of the interpreter through.
RunUnit = Callable[[Request], None]


class Host(Protocol):
    """One running host."""

    def run(self) -> None:
        """Serve until `stop` was called and the last unit has ended. Called once, on the worker's main thread."""

    def stop(self) -> None:
        """Take no more requests; `run` returns when the running units have ended. From any thread."""

    def sleep(self, seconds: float) -> None:
        """Wait, while other units run as far as the model can. From any thread, also where no unit runs."""

    def kill(self) -> None:
        """End the units that wait, by an exception inside them, as far as the model can. From any thread."""


class HostFactory(Protocol):
    """How the worker makes a host: `slots` units at most run at a time."""

    def __call__(self, engine: Engine, run_unit: RunUnit, slots: int) -> Host: ...
