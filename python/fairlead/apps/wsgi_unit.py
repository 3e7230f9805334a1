"""What one run of a WSGI application knows of itself, and what all runs of a worker add up to.

A `Unit` lives as long as its request; the running one is found by `current_unit`. Servers' own modules for applications
read it and leave marks on it (a log line wanted, variables for that line). Nothing here calls or sends anything.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Callable

from fairlead._native import Request

__all__ = ["Tally", "Unit", "current_unit"]


class Unit:
    """One run of the application for one request. What few requests change has its first value in the class."""

    environ: dict[str, Any] = {}  # noqa: RUF012, it is never changed here
    #: The mount whose application ran; None when none was found.
    mount: str | None = None
    failed = False
    #: The application has disconnected its client.
    is_cut = False
    #: A line in the log is wanted whatever the settings say.
    is_logged = False
    #: None is wanted: a route said `donotlog:`.
    is_unlogged = False
    #: A deadline is set somewhere, and wants to hear of the end.
    is_watched = False
    #: What the application adds to that line, and to the request for whatever looks at it afterwards.
    log_variables: dict[bytes, bytes] | None = None
    variables: dict[bytes, bytes] | None = None
    #: What the application has joined, by name; each has a `close`.
    memberships: dict[str, Any] | None = None

    def __init__(
        self, request: Request, start_response: Callable[..., Any], core: int, requests_before: int, started: float
    ) -> None:
        self.request = request
        self.start_response = start_response
        self.core = core
        self.requests_before = requests_before
        #: `time.monotonic()`
        self.started = started


#: The running unit. Each unit has a context of its own, so it is never taken back.
current_unit: ContextVar[Unit | None] = ContextVar("fairlead.unit", default=None)


class Tally:
    """Sums over finished units; times in seconds, sizes in bytes."""

    def __init__(self, cores: int) -> None:
        self.requests = 0
        self.exceptions = 0
        self.sent_bytes = 0
        self.running_s = 0.0
        #: uWSGI's way: the mean of the last request and of the mean before.
        self.average_s = 0.0
        #: Requests of each core.
        self.by_core = [0] * cores
        #: Requests and exceptions of each mount.
        self.by_mount: dict[str, list[int]] = {}

    def add(self, unit: Unit, sent_bytes: int, took_s: float) -> None:
        self.requests += 1
        self.sent_bytes += sent_bytes
        self.running_s += took_s
        self.average_s = (self.average_s + took_s) / 2
        self.by_core[unit.core] += 1
        if unit.mount is not None:
            counts = self.by_mount.get(unit.mount)
            if counts is None:
                counts = self.by_mount.setdefault(unit.mount, [0, 0])
            counts[0] += 1
            counts[1] += unit.failed
        self.exceptions += unit.failed
