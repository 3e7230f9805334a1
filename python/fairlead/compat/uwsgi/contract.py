"""What the module `uwsgi` needs of the worker: facts about the process, and verbs that reach beyond one call.

The worker supplies these (worker/services.py); the module knows neither worker nor master nor settings. Every verb may
be called from any thread, and from requests as well as outside of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from fairlead.compat.uwsgi.async_calls import AsyncCalls

__all__ = ["Process", "Services", "Task"]


class Task(Protocol):
    """One run of the application for one request, as far as the module looks into it."""

    environ: dict[str, Any]
    #: The number of the slot; 0 if the worker has one only.
    core: int
    #: How many requests this core had served when this one began.
    requests_before: int
    #: True once the application has disconnected its client.
    is_cut: bool
    #: True when the request's line in the log is wanted whatever the settings say.
    is_logged: bool
    #: What `set_logvar` keeps, for that line.
    log_variables: dict[bytes, bytes] | None
    #: What `add_var` keeps.
    variables: dict[bytes, bytes] | None
    #: What the application has joined, by name; closed when the task is over.
    memberships: dict[str, Any] | None
    #: Of a WSGI application: it has `start_response`.
    response: Any


class Services(Protocol):
    """The verbs that the worker answers."""

    def task(self) -> Task | None:
        """The running task; None outside a request."""

    def log(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def ask_master(self, action: str) -> bool:
        """Ask for "reload" or "stop"; False when the master is gone."""

    def workers(self) -> list[dict[str, Any]]:
        """The statistics of all workers by id, as JSON has them; this worker's are fresh, the others' a second old."""

    def is_ready(self) -> bool:
        """True once this worker serves."""

    def memory(self) -> tuple[int, int]:
        """Resident and virtual memory of this process, in bytes."""

    def queue_length(self, fd: int) -> int:
        """Connections that wait to be accepted at a listener. Raises OSError."""

    def rename_process(self, name: str) -> None: ...

    def set_deadline(self, task: Task, seconds: int) -> None:
        """Let the master kill this worker if `task` still runs after `seconds`; 0 takes that back."""

    def lock(self, number: int) -> None:
        """Wait for a lock that all workers share."""

    def unlock(self, number: int) -> None: ...

    def is_locked(self, number: int) -> bool: ...


@dataclass(frozen=True)
class Process:
    """What does not change while the process lives, and the services."""

    services: Services
    worker_id: int
    master_pid: int
    numproc: int
    cores: int
    has_threads: bool
    buffer_size: int
    sockets: list[int]
    is_a_reload: bool
    options: dict[str, Any]
    send_timeout_s: float
    text_lenient: bool
    async_calls: AsyncCalls
    #: The concurrency model, as `Settings.runner` names it.
    model: str
    #: Locks that may be taken, number 0 included.
    locks: int = 1
    #: One-letter placeholders of the configuration and their values.
    magic: dict[str, str] = field(default_factory=dict)
    #: Channels that the calls know, and how many messages wait for `channel_recv` at most.
    channels: frozenset[str] = frozenset()
    channel_queue: int = 10_000
    mode: str | None = None
    pidfile: str | None = None
    loop: str | None = None
    #: Why a name that uWSGI has is not here, to complete a sentence; "" for any other name.
    why_absent: Callable[[str], str] = lambda name: ""
    started_on: int = field(default_factory=lambda: int(time.time()))
