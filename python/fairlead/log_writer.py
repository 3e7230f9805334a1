"""Bytes on their way to the log: nobody who logs something ever waits for whoever reads it.

A line is written at once as long as the reader keeps up, without waiting, so what was logged before a crash is in the
log. When the reader does not take it, lines wait in a queue, and a thread of this file writes them; beyond `MOST_BYTES`
they are lost, and counted in a line of their own. The invariants: lines leave in their order, each in one write(2) if
the reader takes it whole; no lock here is waited for, because a signal handler or a finalizer may log while its own
thread is at work here; an error of writing (a full disk, a closed terminal) loses lines and stops nobody.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic

from fairlead.os_threads import allocate_lock, start_thread, wait_ready

__all__ = ["MOST_BYTES", "LogWriter"]

#: Bytes that wait for the reader: some 25,000 lines of requests, more than a second of a busy server.
MOST_BYTES = 4 * 1024 * 1024

#: What a line takes besides its bytes, so that many empty ones find an end as well.
_LINE = 64

#: linux/fs.h: fail with EAGAIN instead of waiting. Python's `os` has the name for reading only.
_RWF_NOWAIT = 0x8

#: How kernels say that they cannot write so to this kind of file; EPERM is a container's filter of system calls.
_HAS_NO_NOWAIT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE, errno.EPERM)

#: How often the descriptor is looked at: the application may lead it elsewhere.
LOOK_EVERY_S = 1.0

#: No way to write without waiting: a descriptor that stands for it.
_NONE = -1


class LogWriter:
    """Writes to `fd`, or to what it becomes by dup2. `lost_line` makes the line that says how many were lost."""

    def __init__(self, fd: int, lost_line: Callable[[int], bytes]) -> None:
        self._fd = fd
        self._lost_line = lost_line
        self._look_at = 0.0
        self._is_regular = False
        #: The file that `fd` stood for when it was looked at, and a descriptor for it that does not block, opened where
        #: it is needed.
        self._file: tuple[int, int] | None = None
        self._copy: int | None = None
        self._start_anew()
        _writers.add(self)

    def _start_anew(self) -> None:
        #: Lines; a number stands for so many that were lost.
        self._waiting: deque[bytes | int] = deque()
        #: What they take; nearly, because nothing here is locked, and exactly again whenever nothing waits.
        self._size = 0
        #: The part of the first one that has yet to leave.
        self._rest = b""
        #: What stands last in the file is a part of a line.
        self._is_torn = False
        self._lost = 0
        #: Held by whoever takes lines out of the queue; never waited for, but by `finish`.
        self._writing = allocate_lock()
        #: Released when the thread is to write: it takes the lock above over.
        self._call = allocate_lock()
        self._call.acquire()
        self._has_thread = False

    def put(self, line: bytes) -> None:
        """Write the line, now or when the reader takes it."""
        if not self._waiting and not self._lost and self._writing.acquire(blocking=False):
            # The usual case in short, as each request pays for it: nothing waits, and the line leaves at once.
            left = line
            try:
                if not self._waiting:
                    left = line[self._write(line) :]
                    self._is_torn = bool(left)
            except BlockingIOError:
                pass
            except OSError:
                left = b""
                self._lost += 1
            finally:
                if left:
                    size = len(line) + _LINE
                    self._size += size
                if left and not self._rest:
                    self._rest = left
                    self._waiting.appendleft(line)
                elif left:
                    self._waiting.append(line)
                self._writing.release()
            self._drain()
            return
        size = len(line) + _LINE
        if self._size + size > MOST_BYTES:
            self._lost += 1
            return
        self._size += size
        self._note_lost()
        self._waiting.append(line)
        self._drain()

    def look(self) -> None:
        """The descriptor has become another file: look before the next line."""
        self._look_at = 0.0

    def finish(self, timeout_s: float) -> None:
        """The process ends: give the reader so long to take what waits, if it takes anything."""
        # The thread holds the lock until nothing waits any more.
        if self._waiting and self._writing.acquire(timeout=timeout_s):
            self._writing.release()

    def _note_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            self._waiting.append(lost)

    def _drain(self) -> None:
        """Write what waits, unless somebody does so already."""
        # Asked again after each release: a line may have come when its writer found the lock taken.
        while self._waiting and self._writing.acquire(blocking=False):
            takes_over = False
            try:
                takes_over = not self._write_nowait() and self._call_thread()
            finally:
                if not takes_over:
                    self._writing.release()
            if takes_over or self._rest:
                return

    def _write_nowait(self) -> bool:
        """Write what waits; False if the reader does not take it now. The caller holds the lock."""
        while self._waiting:
            if not self._rest:
                first = self._waiting[0]
                line = first if isinstance(first, bytes) else self._lost_line(first)
                # A disk that is full takes the beginning of a line: the next one must not stand behind that.
                self._rest = b"\n" + line if self._is_torn else line
            try:
                self._rest = self._rest[self._write(self._rest) :]
                self._is_torn = bool(self._rest)
            except BlockingIOError:
                return False
            except OSError:
                self._lose_first()
            else:
                if not self._rest:
                    self._take_first()
        return True

    def _take_first(self) -> bytes | int:
        first = self._waiting.popleft()
        if not self._waiting:
            self._size = 0
        elif isinstance(first, bytes):
            size = len(first) + _LINE
            self._size -= size
        self._rest = b""
        return first

    def _lose_first(self) -> None:
        first = self._take_first()
        self._lost += 1 if isinstance(first, bytes) else first

    def _write(self, data: bytes) -> int:
        """Raises BlockingIOError where the file takes nothing now, or cannot say so without waiting."""
        now = monotonic()
        if now >= self._look_at:
            self._look(now)
        if self._is_regular:
            return os.write(self._fd, data)
        if self._copy is None:
            try:
                return os.pwritev(self._fd, [data], -1, _RWF_NOWAIT)
            except OSError as error:  # Linux does it for sockets, and since 6.5 for pipes
                if error.errno not in _HAS_NO_NOWAIT:
                    raise
            try:
                # Another description of the same file: O_NONBLOCK on ours would be everybody's who shares it.
                flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._copy = os.open(f"/proc/self/fd/{self._fd}", flags)
            except OSError:  # not ours to open any more, after a drop of privileges
                self._copy = _NONE
        if self._copy != _NONE and not self._is_still_ours(self._copy):
            self._copy = _NONE
        if self._copy == _NONE:
            raise BlockingIOError
        return os.write(self._copy, data)

    def _look(self, now: float) -> None:
        """See what kind of file it is."""
        about = os.fstat(self._fd)
        self._look_at = now + LOOK_EVERY_S
        self._is_regular = stat.S_ISREG(about.st_mode)
        if self._file != (about.st_dev, about.st_ino):
            self._file = about.st_dev, about.st_ino
            if self._copy is not None and self._copy != _NONE:
                os.close(self._copy)
            self._copy = None

    def _is_still_ours(self, copy: int) -> bool:
        """An application may close descriptors that are not its own; then the number becomes another file's."""
        try:
            about = os.fstat(copy)
        except OSError:
            return False
        return (about.st_dev, about.st_ino) == self._file

    # -- the thread

    def _call_thread(self) -> bool:
        """Let the thread write, which takes the lock over; False if there can be none."""
        if not self._has_thread:
            try:
                start_thread(self._run, "fairlead-lines")
            except RuntimeError:  # the system has no thread left: the next line tries again
                return False
            self._has_thread = True
        self._call.release()
        return True

    def _run(self) -> None:
        while True:
            self._call.acquire()
            while not self._write_nowait():
                self._wait_for_room()
            self._note_lost()
            self._writing.release()
            self._drain()

    def _wait_for_room(self) -> None:
        """Wait until the file takes something; or, where that cannot be told, until it has taken it."""
        if self._copy != _NONE:
            wait_ready(self._fd, LOOK_EVERY_S, reads=False, writes=True)
            return
        try:
            self._rest = self._rest[os.write(self._fd, self._rest) :]
            self._is_torn = bool(self._rest)
        except OSError:
            self._lose_first()
        else:
            if not self._rest:
                self._take_first()


_writers: weakref.WeakSet[LogWriter] = weakref.WeakSet()


def _after_fork() -> None:
    """In a process that the application forked: what waits is the parent's to write, and so is the thread."""
    for writer in list(_writers):
        writer._start_anew()


os.register_at_fork(after_in_child=_after_fork)
