"""Clients that left before they were answered: one line for the first, and a count of those that follow soon after.

Nobody has failed where a client goes, and anybody can go as often as they like: a traceback, or only a line, for each
would fill a disk and hide what matters. The caller notes them; the worker lets it tell what is left untold.
"""

from __future__ import annotations

import math
import time
from typing import Callable

from fairlead.os_threads import allocate_lock

__all__ = ["Disconnects"]

#: Seconds from one line to the next.
TELL_EVERY_S = 10.0


class Disconnects:
    """`log` writes a line. Safe to use from several threads."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = allocate_lock()
        self._last = -math.inf
        self._untold = 0

    def note(self, label: str) -> None:
        """The client of this request has left, and its application met that."""
        with self._lock:
            is_first = self._clock() - self._last >= TELL_EVERY_S and not self._untold
            if is_first:
                self._last = self._clock()
            else:
                self._untold += 1
        if is_first:
            self._log(f"{label}: the client left before it was answered")
        else:
            self.tell()

    def tell(self, at_once: bool = False) -> None:
        """Tell how many have followed, if it is time, or `at_once`."""
        with self._lock:
            is_time = at_once or self._clock() - self._last >= TELL_EVERY_S
            if not self._untold or not is_time:
                return
            count, self._untold = self._untold, 0
            self._last = self._clock()
        who = "1 more client left before it was" if count == 1 else f"{count} more clients left before they were"
        self._log(f"{who} answered")
