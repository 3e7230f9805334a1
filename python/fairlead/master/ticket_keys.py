"""The keys that seal session tickets of TLS (RFC 5077 §5.5): made here, the same for all workers, kept over reloads.

They lie at the beginning of a memory that workers inherit, and go over no socket, into no log. The invariant: a key is
known to every worker for a whole period before it seals its first ticket, so a worker that hears late of a change still
opens what the others seal; and for a whole period after its last. Then it is overwritten here and forgotten there.
"""

from __future__ import annotations

import os

#: As rustls does it by itself: a ticket is good for six hours at least and twelve at most.
ROTATE_EVERY_S = 6 * 60 * 60.0

#: What clients are told: need not try later.
LIFETIME_S = int(2 * ROTATE_EVERY_S)

_KEY = 32

#: What they take of the memory, in bytes: the one that seals, the next one, the last one.
SIZE = 3 * _KEY


class TicketKeys:
    """Written to the first `SIZE` bytes of `fd`."""

    def __init__(self, fd: int, now: float) -> None:
        self._fd = fd
        # There was none before the first; a random one opens nothing.
        self._keys = [os.urandom(_KEY) for _ in range(SIZE // _KEY)]
        self._write()
        #: When `rotate` has to be called.
        self.due_at = now + ROTATE_EVERY_S

    def rotate(self, now: float) -> None:
        """The next key seals from now on. Who was late by whole periods (a process that stood still) makes up for
        them, so that no key lives longer than it should."""
        while self.due_at <= now:
            sealing, following, _ = self._keys
            self._keys = [following, os.urandom(_KEY), sealing]
            self.due_at += ROTATE_EVERY_S
        self._write()

    def _write(self) -> None:
        os.pwrite(self._fd, b"".join(self._keys), 0)
