"""The lock of a channels' region in the hands of a test, or of a process that is stopped with it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: Where the header keeps its mutex (crates/channel/src/layout.rs).
_LOCK_AT = 64

_TIMEOUT_S = 20.0


@contextlib.contextmanager
def hold_lock(region: str | Path) -> Iterator[None]:
    """Hold the lock as an engine does: POSIX's robust mutex in the header."""
    library = ctypes.CDLL(None)
    with open(region, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    lock = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory, _LOCK_AT)))
    assert library.pthread_mutex_lock(lock) == 0
    try:
        yield
    finally:
        assert library.pthread_mutex_unlock(lock) == 0


class StoppedHolder:
    """A process that was stopped while it has the lock."""

    def __init__(self, region: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(region)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Let it go on, give the lock back, and end."""
        os.kill(self.pid, signal.SIGCONT)
        self._process.communicate(b"\n", timeout=_TIMEOUT_S)

    def die(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=_TIMEOUT_S)


if __name__ == "__main__":
    with hold_lock(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.readline()
