"""The master's part of TLS: it reads certificates and keys, hands them to workers, and sees when they have changed.

It reads while it may (as root, before --uid), into memory that the workers inherit; what the text means only a worker's
engine knows. A new set is appended to that memory, so what a worker was told stays where it is. The invariant: a set
that some worker has taken is kept until another was taken, so a worker always has one that works. Before the first set
lie the keys of session tickets (ticket_keys.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairlead.errors import MasterError
from fairlead.locks import make_memory
from fairlead.logs import Log
from fairlead.master.listeners import Listener
from fairlead.master.reload import Watch
from fairlead.master.ticket_keys import LIFETIME_S, SIZE, TicketKeys
from fairlead.master.worker_process import WorkerProcess
from fairlead.settings.tls import SecureAddress

#: How often the files are looked at. A certificate and its key are rarely written in the same moment: they are read
#: when a further look has found them unchanged.
LOOK_EVERY_S = 1.0

#: A chain of certificates has some 10 KB. Whatever is larger is another file.
_LARGEST_FILE = 4 * 1024 * 1024

#: Where a set lies in the memory: offset and length.
_Place = tuple[int, int]


class Certificates:
    """Those of all listeners. Without any that speaks TLS, nothing is done."""

    def __init__(
        self, listeners: Sequence[Listener], log: Log, now: float, open_file: Callable[[str], int] | None = None
    ) -> None:
        """`open_file` opens a file to read it, as root does that. Raises MasterError when one cannot be read."""
        self._listeners = listeners
        self._open_file = open_file
        self._log = log
        self.fd = -1
        self._end = SIZE
        self._latest: _Place = (0, 0)
        self._taken: _Place | None = None
        self._refused: _Place | None = None
        self._has_changed = False
        self._content = b""
        self._watch: Watch | None = None
        self._ticket_keys: TicketKeys | None = None
        paths = [path for listener in listeners for secure in listener.secure for path in secure.files]
        if paths:
            self._content = self._read()
            self.fd = make_memory("fairlead-certificates")
            self._ticket_keys = TicketKeys(self.fd, now)
            self._append()
            self._watch = Watch(paths, LOOK_EVERY_S, now)

    @property
    def due_at(self) -> list[float]:
        """When `on_time` has to be called."""
        return [what.due_at for what in (self._watch, self._ticket_keys) if what is not None]

    def for_worker(self) -> dict[str, Any] | None:
        """What a new worker is told: the latest set, and the one to fall back on."""
        if self.fd < 0:
            return None
        fallback = self._taken if self._taken != self._latest else None
        return {
            "fd": self.fd,
            "latest": self._latest,
            "fallback": fallback,
            "is_first": self._taken is None,
            "ticket_keys": {"at": (0, SIZE), "lifetime_s": LIFETIME_S},
        }

    def on_time(self, now: float, workers: Sequence[WorkerProcess]) -> None:
        """Look at the files, and change the keys of session tickets, when it is time to."""
        if self._ticket_keys is not None and now >= self._ticket_keys.due_at:
            self._ticket_keys.rotate(now)
            for worker in workers:
                worker.send({"command": "ticket_keys"})
        if self._watch is None or now < self._watch.due_at:
            return
        if self._watch.changed(now):
            self._has_changed = True
        elif self._has_changed:
            self.renew(workers)

    def renew(self, workers: Sequence[WorkerProcess]) -> None:
        """Read the files again; if they have changed, these workers show the new certificates from now on."""
        self._has_changed = False
        if self._watch is None:
            return
        try:
            content = self._read()
        except MasterError as error:
            self._log.error(f"the old certificates stay in use: {error}")
            return
        if content == self._content:
            return
        self._content = content
        self._append()
        for worker in workers:
            worker.send({"command": "certificates", "latest": self._latest})

    def on_message(self, message: Mapping[str, Any]) -> None:
        """A worker has taken a set, or refuses it: `{"event": "certificates", "at", "refused"}`."""
        place, why = message["at"], message["refused"]
        if place != list(self._latest) or self._latest in (self._taken, self._refused):
            return  # an older one, or another worker has said so
        if why:
            self._log.error(f"the old certificates stay in use: {why}")
            self._refused = self._latest
            self._latest = self._taken or self._latest
        else:
            if self._taken is not None:
                self._log.info("new certificates are in use")
            self._taken = self._latest

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _append(self) -> None:
        self._latest = (self._end, os.pwrite(self.fd, self._content, self._end))
        self._end += len(self._content)

    def _read(self) -> bytes:
        """All files of all listeners, as JSON: a list with an object, or null, for each listener."""
        plain = [
            plain_of(listener.kind, listener.secure, self._open_file) if listener.secure else None
            for listener in self._listeners
        ]
        return json.dumps(plain).encode()


def plain_of(
    kind: str, secure: Sequence[SecureAddress], open_file: Callable[[str], int] | None = None
) -> dict[str, Any]:
    """All files of one address of the option `kind`, as JSON has them. Raises MasterError when one cannot be read."""
    what = f"--{kind} {secure[0].text}"
    with_ca = next((one for one in secure if one.client_ca), None)
    needs_client = any(one.needs_client for one in secure)
    return {
        "option": what,
        "certificates": [
            [[path, _text(what, path, open_file)] for path in (one.certificate, one.key)] for one in secure
        ],
        "ciphers": next((one.ciphers for one in secure if one.ciphers), ""),
        "client_ca": with_ca and [with_ca.client_ca, _text(what, with_ca.client_ca, open_file), needs_client],
    }


def _text(what: str, path: str, open_file: Callable[[str], int] | None) -> str:
    try:
        with open(path if open_file is None else open_file(path), "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise MasterError(f"{what}: {path} cannot be read: {why}; check the path and who may read it.") from None
    if len(content) > _LARGEST_FILE:
        raise MasterError(f"{what}: {path} is too large for a certificate.")
    return content.decode("latin-1")
