"""Says in the log that all slots of this worker are taken and clients wait, and when that is over.

Without it a full server looks like a dead one: connections hang, health checks too, and nothing says why. Clients wait
in two places: those whose request was read in the engine's queue, the others in the kernel's queues of the listeners,
which a full worker leaves to its siblings. The worker's control thread looks once a second; a queue of a moment is no
news, and a server that is full again and again says so once a minute.
"""

from __future__ import annotations

import math
import time
from typing import Callable, Protocol

from fairlead._native import Engine
from fairlead.settings.options import Settings

__all__ = ["SlotWatch", "watch_slots"]

#: Looks in a row that have to find somebody waiting, or nobody, before that counts.
_LOOKS = 2

#: Seconds from one report of a full worker to the next.
TELL_EVERY_S = 60.0


class Log(Protocol):
    def info(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...


def watch_slots(engine: Engine, settings: Settings, outside: Callable[[], int], log: Log) -> SlotWatch:
    """A watch over this engine; `outside()` counts connections that nobody has accepted yet."""

    def waiting() -> int:
        busy = engine.busy()
        # With a free slot the next turn of the engine takes who is there.
        return busy.waiting + outside() if busy.running >= settings.slots else 0

    return SlotWatch(settings.slots, waiting, log, remedy(settings))


def remedy(settings: Settings) -> str:
    """What an operator can do about a worker without a free slot."""
    option = {"greenlets": "async", "generators": "async"}.get(settings.runner, settings.runner)
    text = f"--{option} {settings.slots} can be more, and so can --processes {settings.processes}"
    if settings.request_queue_timeout_s is None and settings.request_queue_size is None:
        text += "; --request-queue-timeout answers 503 after a while, and a route answers a health check at once"
    return text


class SlotWatch:
    """`waiting()` counts who waits for a slot at present, 0 while one is free; `remedy` is what the operator can do."""

    def __init__(
        self,
        slots: int,
        waiting: Callable[[], int],
        log: Log,
        remedy: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._waiting = waiting
        self._log = log
        self._remedy = remedy
        self._clock = clock
        #: How many looks in a row have found the same, somebody or nobody.
        self._looks = 0
        self._was_waiting = False
        self._since = 0.0
        self._most = 0
        self._is_told = False
        self._told_at = -math.inf

    def look(self) -> None:
        """To be called about once a second."""
        try:
            waiting = self._waiting()
        except OSError:
            return  # no descriptor is free to ask the kernel with
        self._looks = self._looks + 1 if bool(waiting) == self._was_waiting else 1
        self._was_waiting = bool(waiting)
        now = self._clock()
        if waiting:
            if self._looks == 1 and not self._is_told:
                self._since, self._most = now, 0
            self._most = max(self._most, waiting)
            if self._looks >= _LOOKS and not self._is_told and now - self._told_at >= TELL_EVERY_S:
                self._is_told, self._told_at = True, now
                taken = "the only slot is" if self._slots == 1 else f"all {self._slots} slots are"
                waits = "1 client waits" if waiting == 1 else f"{waiting} clients wait"
                self._log.warning(f"{taken} taken, {waits}; {self._remedy}")
        elif self._is_told and self._looks >= _LOOKS:
            self._is_told = False
            lasted_s = now - self._since
            much = f"{lasted_s:.0f} s and at most {self._most} at a time"
            self._log.info(f"no client waits for a slot any more, after {much}")
