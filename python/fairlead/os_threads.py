"""Threads and waiting as the operating system has them, whatever a library makes of the standard modules.

gevent's monkey patching, which an application may do under any runner, turns threads into greenlets of the thread that
starts them. The worker's own threads sit in native calls and in `poll`; as greenlets they would stop the hub and all
its tasks, and under threads no request would ever be answered. So the originals are taken here, when this module is
imported, before any library is. What the worker and its runners need of the modules that can be patched they take from
here; tests/architecture holds them to it.
"""

from __future__ import annotations

import contextlib
import math
from _thread import allocate_lock, get_ident, get_native_id, start_new_thread
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, poll
from socket import socket as Socket
from time import sleep
from typing import Callable

__all__ = [
    "LONGEST_SLEEP_S",
    "Latch",
    "Socket",
    "allocate_lock",
    "get_ident",
    "sleep",
    "start_thread",
    "wait_ready",
]

#: poll(2) and epoll(7) count milliseconds in 31 bits, 24.8 days, and Python raises OverflowError beyond. Who may have
#: to wait for longer waits for this, and then looks again.
LONGEST_SLEEP_S = 24 * 86400.0


def start_thread(work: Callable[[], object], name: str) -> None:
    """Run `work()` in a thread that the end of the process does not wait for. `name`: for ps and top, which show 15
    characters of it."""

    def run() -> None:
        # The kernel's own interface for names (proc(5)); Python before 3.14 has none.
        with contextlib.suppress(OSError), open(f"/proc/self/task/{get_native_id()}/comm", "w") as comm:
            comm.write(name)
        work()

    start_new_thread(run, ())


def wait_ready(
    descriptor: int, timeout_s: float | None, *, reads: bool = True, writes: bool = False
) -> tuple[bool, bool]:
    """Blocks the thread until the descriptor is ready for one of what is asked, or has ended or failed; says whether it
    can be read and whether it can be written. Both are False after `timeout_s` seconds, at most `LONGEST_SLEEP_S`."""
    # Not select(2), which knows no descriptor above 1023.
    waiting = poll()
    waiting.register(descriptor, (POLLIN if reads else 0) | (POLLOUT if writes else 0))
    timeout_ms = None if timeout_s is None else math.ceil(min(timeout_s, LONGEST_SLEEP_S) * 1000)
    events = sum(mask for _, mask in waiting.poll(timeout_ms))
    has_ended = bool(events & (POLLERR | POLLHUP | POLLNVAL))
    return reads and (has_ended or bool(events & POLLIN)), writes and (has_ended or bool(events & POLLOUT))


class Latch:
    """Set once, from any thread; waited for by threads of the system only."""

    def __init__(self) -> None:
        self._closed = allocate_lock()
        self._closed.acquire()
        self._is_set = False

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._closed.release()

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Blocks the thread until it is set; False after `timeout_s` seconds."""
        if not self._is_set and self._closed.acquire(timeout=-1 if timeout_s is None else timeout_s):
            self._closed.release()  # for the next who waits
        return self._is_set
