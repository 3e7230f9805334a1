"""Signals as readable bytes: the master's loop learns of them from a descriptor, like of everything else.

Nothing is decided here. The invariant: no code runs in a signal handler; Python's C handler writes the number
into a socket pair (`signal.set_wakeup_fd`), the loop reads it when it comes round. So no signal is lost
between a check and a wait, and no handler meets the master in mid-change. Main thread only, as Python
demands.

The meanings (compat §4.2, with two differences): SIGHUP reloads; SIGTERM, SIGINT and SIGQUIT stop in order, a
second one at once; SIGCHLD says that a worker ended; SIGUSR1 opens the log's file anew, as in nginx and gunicorn;
SIGUSR2 does nothing. uWSGI prints statistics for both. In uWSGI 2.0 SIGTERM reloads unless --die-on-term is given,
which service managers and people trip over; uWSGI 2.1-dev gave it up, and Fairlead accepts --die-on-term without
needing it.
"""

from __future__ import annotations

import signal
import socket
from types import FrameType
from typing import Any

RELOAD = frozenset({signal.SIGHUP})
STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
CHILD = frozenset({signal.SIGCHLD})
REOPEN = frozenset({signal.SIGUSR1})
#: It means nothing here, but its default action would end the master.
MEANINGLESS = frozenset({signal.SIGUSR2})


class SignalPipe:
    """A context manager that collects the signals above while it is open, and restores what was before."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before: dict[int, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> SignalPipe:
        # A full pipe loses nothing that matters: it already holds bytes that will wake the loop.
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in RELOAD | STOP | CHILD | REOPEN | MEANINGLESS:
            self._before[number] = signal.signal(number, _ignore)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._fd_before)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Readable while signals wait."""
        return self._reader.fileno()

    def read_nowait(self) -> list[int]:
        """The numbers of the signals that came since the last call, in order."""
        try:
            return list(self._reader.recv(4096))
        except BlockingIOError:
            return []


def _ignore(number: int, frame: FrameType | None) -> None:
    """Keeps the signal's default action from happening; the wake-up descriptor does the rest."""


def name_of(number: int) -> str:
    """`SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
