"""What one run of a WSGI application knows of itself, and what all runs of a worker add up to.

A `Unit` lives as long as its request, which knows it as its `unit`. Servers' own modules for applications read it and
leave marks on it (a log line wanted, variables for that line). Nothing here calls or sends anything.
"""

from __future__ import annotations

from typing import Any, Callable, Protocol

from fairlead._native import Request

__all__ = ["Tally", "Unit"]


class Response(Protocol):
    """As far as others than its application look into it."""

    def start_response(self, *arguments: Any, **keywords: Any) -> Any: ...
    def file(self, descriptor: int, offset: int, length: int) -> None: ...


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

    def __init__(self, request: Request, response: Response, core: int, requests_before: int, started: float) -> None:
        self.request = request
        self.response = response
        self.core = core
        self.requests_before = requests_before
        #: `time.monotonic()`
        self.started = started

    @property
    def start_response(self) -> Callable[..., Any]:
        return self.response.start_response


class Tally:
    """Sums over finished units; times in seconds, sizes in bytes."""

    def __init__(self, cores: int) -> None:
        self.exceptions = 0
        self.sent_bytes = 0
        self.running_s = 0.0
        #: uWSGI's way: the mean of the last request and of the mean before.
        self.average_s = 0.0
        #: Requests of each core.
        self.by_core = [0] * cores
        #: Requests and exceptions of each mount.
        self.by_mount: dict[str, list[int]] = {}

    @property
    def requests(self) -> int:
        return sum(self.by_core)

    def add(self, unit: Unit, sent_bytes: int, took_s: float) -> None:
        self.sent_bytes += sent_bytes
        self.running_s += took_s
        self.average_s = (self.average_s + took_s) / 2
        self.by_core[unit.core] += 1
        mount = unit.mount
        if mount is not None:
            if mount not in self.by_mount:
                self.by_mount.setdefault(mount, [0, 0])
            self.by_mount[mount][0] += 1
        if unit.failed:
            self.exceptions += 1
            if mount is not None:
                self.by_mount[mount][1] += 1
