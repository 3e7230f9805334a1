"""A worker's part of TLS: what the master has read (master/certificates.py) and the keys of session tickets that it has
made (master/ticket_keys.py) become the engine's, and again when they change."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from fairlead._native import TicketKeys, Tls
from fairlead.errors import LoadError
from fairlead.logs import Log
from fairlead.worker.control import Control

__all__ = ["WorkerTls", "tls_of"]


class WorkerTls:
    """The TLS of each listener, `by_listener`: None for one without."""

    def __init__(self, start: dict[str, Any], control: Control, log: Log) -> None:
        """Raises LoadError for a first set that does not work."""
        self._control = control
        self._exports = bool(start["settings"].get("https_export_cert"))
        self._http2 = not start["settings"].get("disable_http2")
        about = start.get("certificates")
        self._fd: int = about["fd"] if about else -1
        self.by_listener: list[Tls | None] = [None for _ in start["listeners"]]
        self._ticket_keys: TicketKeys | None = None
        if not about:
            return
        self._ticket_keys_at: Sequence[int] = about["ticket_keys"]["at"]
        self._ticket_keys = TicketKeys(self._read(self._ticket_keys_at), about["ticket_keys"]["lifetime_s"])
        try:
            # A set that others have taken is taken as well, although its time may have passed since.
            is_new = about["fallback"] is not None
            self.by_listener = self._understood(about["latest"], refuses_expired=is_new)
            self._tell(about["latest"])
        except ValueError as error:
            if about["is_first"]:
                raise LoadError(str(error)) from None
            self._tell(about["latest"], str(error))
            self.by_listener = self._understood(about["fallback"] or about["latest"], refuses_expired=False)
        for tls in self.by_listener:
            for sentence in tls.warnings if tls is not None else ():
                log.warning(sentence)

    def renew(self, place: Sequence[int]) -> None:
        """From now on new connections are shown the certificates there; if they do not work, the old ones."""
        try:
            new = self._understood(place, refuses_expired=True)
        except ValueError as error:
            self._tell(place, str(error))
            return
        for old, other in zip(self.by_listener, new):
            if old is not None and other is not None:
                old.renew(other)
        self._tell(place)

    def renew_ticket_keys(self) -> None:
        """The master has changed them."""
        if self._ticket_keys is not None:
            self._ticket_keys.renew(self._read(self._ticket_keys_at))

    def _read(self, place: Sequence[int]) -> bytes:
        offset, length = place
        return os.pread(self._fd, length, offset)

    def _understood(self, place: Sequence[int], *, refuses_expired: bool) -> list[Tls | None]:
        return [
            None
            if plain is None
            else tls_of(
                plain,
                exports=self._exports,
                refuses_expired=refuses_expired,
                http2=self._http2,
                ticket_keys=self._ticket_keys,
            )
            for plain in json.loads(self._read(place))
        ]

    def _tell(self, place: Sequence[int], refused: str = "") -> None:
        self._control.tell(event="certificates", at=list(place), refused=refused)


def tls_of(
    plain: dict[str, Any],
    *,
    exports: bool = False,
    refuses_expired: bool = True,
    http2: bool = True,
    ticket_keys: TicketKeys | None = None,
) -> Tls:
    """The engine's, of what the master has read for one address. Raises ValueError, with the option."""

    def file(of: Sequence[str]) -> tuple[str, bytes]:
        return of[0], of[1].encode("latin-1")

    authority = plain["client_ca"]
    try:
        return Tls(
            [(file(certificate), file(key)) for certificate, key in plain["certificates"]],
            plain["ciphers"],
            client_ca=(*file(authority), authority[2]) if authority else None,
            export_certificate=exports,
            refuse_expired=refuses_expired,
            http2=http2,
            ticket_keys=ticket_keys,
        )
    except ValueError as error:
        raise ValueError(f"{plain['option']}: {error}.") from None
