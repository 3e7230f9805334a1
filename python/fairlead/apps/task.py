"""What one task knows of itself, and what all tasks of a worker add up to.

A task is one run of an application for one request, whatever interface the application has. A `Task` lives as long as
its request, which knows it as its `task`. Servers' own modules for applications read it and leave marks on it (a log
line wanted, variables for that line). Nothing here calls or sends anything.
"""

from __future__ import annotations

from typing import Any

from fairlead._native import Request

__all__ = ["Task", "Totals"]


class Task:
    """One run of an application for one request. What few requests change has its first value in the class."""

    #: The request's variables by their CGI names, of which an interface makes what its application gets.
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
    #: It has taken too long, and is ended for that.
    is_overdue = False
    #: What the application adds to that line, and to the request for whatever looks at it afterwards.
    log_variables: dict[bytes, bytes] | None = None
    variables: dict[bytes, bytes] | None = None
    #: What the application has joined, by name; each has a `close`.
    memberships: dict[str, Any] | None = None

    def __init__(self, request: Request, response: Any, core: int, requests_before: int, started: float) -> None:
        self.request = request
        #: The interface's own: what else than its caller looks into it knows which interface that is.
        self.response = response
        self.core = core
        self.requests_before = requests_before
        #: `time.monotonic()`
        self.started = started


class Totals:
    """Sums over finished tasks; times in seconds, sizes in bytes."""

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

    def add(self, task: Task, sent_bytes: int, took_s: float) -> None:
        self.sent_bytes += sent_bytes
        self.running_s += took_s
        self.average_s = (self.average_s + took_s) / 2
        self.by_core[task.core] += 1
        mount = task.mount
        if mount is not None:
            if mount not in self.by_mount:
                self.by_mount.setdefault(mount, [0, 0])
            self.by_mount[mount][0] += 1
        if task.failed:
            self.exceptions += 1
            if mount is not None:
                self.by_mount[mount][1] += 1
