"""Locks that all workers of an instance share: bytes of one nameless file, number n is byte n (`uwsgi.lock`).

The master makes the file and hands it down; each worker opens it anew, at its first lock. They are locks of an open
file description (fcntl(2), "OFD"): the kernel frees them when the process that holds them ends, however it ends, so
nothing has to be tidied up; and it does not search for deadlocks, which for locks of whole processes finds some that
threads do not have. Within the process an ordinary lock beside each byte keeps threads and greenlets apart.

Waiting is the runner's business. Where each task has a thread, that blocks, without the GIL. Where one thread runs all
tasks it must not: the task asks again and again, and sleeps in between, so that the others run, and the holder among
them can come to its `release`.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
from typing import Callable

from fairlead.os_threads import allocate_lock

__all__ = ["Locks", "make_lock_file", "make_memory"]

#: Seconds between two tries of a task that may not block: doubling from the first to the second.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.001, 0.016

#: `struct flock`: type, whence, start, length, process (0 for OFD locks), and the padding to its end.
_FLOCK = struct.Struct("hhqqi4x")


def make_lock_file() -> int:
    """The descriptor of a new nameless file, for the workers to inherit."""
    return make_memory("fairlead-locks")


def make_memory(name: str) -> int:
    """The descriptor of a new nameless file; `name` is for those who look at the process from outside."""
    if hasattr(os, "memfd_create"):  # needs no folder that can be written
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Locks:
    """One worker's view. `sleep` lets a task wait while others run; None where a task may block its thread."""

    def __init__(self, inherited: int, count: int, sleep: Callable[[float], None] | None) -> None:
        self._inherited = inherited
        self._sleep = sleep
        self._opening = allocate_lock()
        self._opened: int | None = None
        self._inside = [allocate_lock() for _ in range(count)]
        self._held: set[int] = set()
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def acquire(self, number: int) -> None:
        """Wait until the lock is free, and take it. Whoever holds it already waits for ever, as in uWSGI."""
        if self._sleep is None:
            self._inside[number].acquire()
            self._take(number, fcntl.F_OFD_SETLKW)
            return
        wait_s = FIRST_WAIT_S
        while not (self._inside[number].acquire(blocking=False) and self._take(number, fcntl.F_OFD_SETLK)):
            self._sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def release(self, number: int) -> None:
        """Free it, whichever task of this worker took it; nothing happens if none did."""
        try:
            self._held.remove(number)
        except KeyError:
            return
        fcntl.fcntl(self._file(), fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, number))
        self._inside[number].release()

    def is_held(self, number: int) -> bool:
        """Whether any task of any worker holds it."""
        if self._inside[number].locked():
            return True
        found = fcntl.fcntl(self._file(), fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, number))
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def _take(self, number: int, command: int) -> bool:
        """Lock the byte; the lock inside the process is ours already, and is given back if that fails."""
        try:
            fcntl.fcntl(self._file(), command, _flock(fcntl.F_WRLCK, number))
        except BlockingIOError:
            self._inside[number].release()
            return False
        except BaseException:
            self._inside[number].release()
            raise
        self._held.add(number)
        return True

    def _file(self) -> int:
        """A description of the file that no other process has, or they would share their locks."""
        with self._opening:
            if self._opened is None:
                self._opened = os.open(f"/proc/self/fd/{self._inherited}", os.O_RDWR | os.O_CLOEXEC)
            return self._opened

    def _leave_to_parent(self) -> None:
        """In a process that the application forked: the locks stay the parent's, and end with it."""
        if self._opened is not None:
            os.close(self._opened)
        self._opening = allocate_lock()
        self._opened = None
        self._inside = [allocate_lock() for _ in self._inside]
        self._held = set()


def _flock(kind: int, number: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0)
