"""The `uwsgi` module's calls of the async loop: wait for descriptors, suspend, sleep (compat §1.4).

uWSGI separates what others do in one step: `wait_fd_*` and `async_sleep` only note what to wait for, and the next
`suspend()`, or the next `yield` of a generator, waits for all of it. What is noted belongs to the running task, so it
lies in a context variable.
"""

from __future__ import annotations

import os
import socket
import stat
from contextvars import ContextVar
from typing import Any, Callable, NoReturn, Protocol

from fairlead import Session, current_request

__all__ = ["AsyncCalls", "AsyncRunner"]


WaitDescriptors = Callable[["list[int]", "list[int]", "Session | None", "float | None"], "int | None"]


class AsyncRunner(Protocol):
    """What is asked of the concurrency model: see the contract of runners; None for what it has not."""

    @property
    def wait_descriptors(self) -> WaitDescriptors | None: ...
    @property
    def pause(self) -> Callable[[], None] | None: ...


class _Noted:
    """What one task will wait for next, and how its last wait ended."""

    __slots__ = ("connection_fd", "for_session", "others", "ready_fd", "session", "timed_out", "timeout_s")

    def __init__(self) -> None:
        request = current_request()
        self.connection_fd = request.fileno()
        self.session = request.session
        #: The task's own WebSocket: waited for without a descriptor.
        self.for_session = False
        #: Descriptors besides it, to read from and to write to.
        self.others: tuple[list[int], list[int]] | None = None
        self.timeout_s = 0
        self.ready_fd = -1
        self.timed_out = False


_noted: ContextVar[_Noted | None] = ContextVar("fairlead.uwsgi.noted", default=None)

_in_generator: ContextVar[bool] = ContextVar("fairlead.uwsgi.in_generator", default=False)


class AsyncCalls:
    """The calls, for one process. `serve` names the runner before the first request."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._wait: WaitDescriptors | None = None
        self._pause: Callable[[], None] | None = None

    def serve(self, runner: AsyncRunner) -> None:
        """Take what the runner can do."""
        self._wait, self._pause = runner.wait_descriptors, runner.pause

    def names(self) -> dict[str, Callable[..., Any]]:
        """The module's functions."""
        functions = {name: getattr(self, name) for name in _NAMES}
        functions["green_schedule"] = self.suspend
        return functions

    def wait_fd_read(self, fd: int, timeout: int = 0, /) -> bytes:
        """Note that the next suspension is to end when `fd` is readable, or after `timeout` seconds (0: none)."""
        noted = _noted.get()
        if noted is None or type(fd) is not int or type(timeout) is not int:
            noted = self._checked(fd, timeout)
        if fd == noted.connection_fd:
            noted.for_session = True
        else:
            _others(noted, fd)[0].append(fd)
        if timeout > 0 and not noted.timeout_s:
            noted.timeout_s = timeout
        return b""

    def wait_fd_write(self, fd: int, timeout: int = 0, /) -> bytes:
        """The same for a writable `fd`."""
        noted = self._checked(fd, timeout)
        _others(noted, fd)[1].append(fd)
        if timeout > 0 and not noted.timeout_s:
            noted.timeout_s = timeout
        return b""

    def async_sleep(self, seconds: float, /) -> bytes:
        """Note that the next suspension ends after `seconds`, cut to whole ones; below one nothing happens."""
        whole = int(seconds)
        if whole >= 1 and self._wait is not None:
            noted = _noted.get() or _begin()
            noted.timeout_s = noted.timeout_s or whole
        return b""

    def async_connect(self, address: str, /) -> int:
        """Begin to connect to `host:port` or to the UNIX socket of that path.

        Returns the descriptor, which is writable once connected; -1 on failure.
        """
        if not isinstance(address, str):
            raise TypeError(f"argument must be str, not {type(address).__name__}")
        host, colon, port = address.rpartition(":")
        try:
            if colon and port.isdecimal():
                family, kind, protocol, _, target = socket.getaddrinfo(
                    host or "127.0.0.1", port, type=socket.SOCK_STREAM
                )[0]
                client = socket.socket(family, kind, protocol)
            else:
                client, target = socket.socket(socket.AF_UNIX), address  # type: ignore[assignment]
        except OSError:
            return -1
        client.setblocking(False)
        try:
            client.connect(target)
        except BlockingIOError:
            pass
        except OSError:
            client.close()
            return -1
        return client.detach()

    def suspend(self) -> bool:
        """Let others run until something noted happens; at once the caller's turn again if nothing is noted."""
        self._suspend(_noted.get())
        return True

    def ready_fd(self) -> int:
        """The descriptor that ended the last suspension, -1 if none did."""
        noted = _noted.get()
        return -1 if noted is None else noted.ready_fd

    def begin_items(self) -> None:
        """The running task is a generator from here on: it waits by `yield`."""
        _in_generator.set(True)

    def is_in_generator(self) -> bool:
        """True in the code of a generator application, under the model that has these only."""
        return _in_generator.get()

    def suspend_for(self, environ: dict[str, Any]) -> None:
        """What a `yield` of the application means: a suspension, told in its environ (compat §3.1)."""
        noted = _noted.get()
        self._suspend(noted)
        if noted is not None:
            environ["x-wsgiorg.fdevent.timeout"] = True if noted.timed_out else None
            environ["uwsgi.ready_fd"] = None if noted.ready_fd == -1 else noted.ready_fd

    def _suspend(self, noted: _Noted | None) -> None:
        # The frequent case, a task's own WebSocket alone, has a way of its own: generators come here for each message.
        if noted is not None and noted.for_session and noted.session is not None and noted.others is None:
            timeout_s = noted.timeout_s
            noted.for_session, noted.timeout_s = False, 0
            in_time = noted.session.wait(timeout_s or None)
            noted.timed_out, noted.ready_fd = not in_time, noted.connection_fd if in_time else -1
        elif noted is None or self._wait is None or not (noted.for_session or noted.others or noted.timeout_s):
            if self._pause is not None:
                self._pause()
        else:
            self._wait_for_all(noted, self._wait)

    def _wait_for_all(self, noted: _Noted, wait: WaitDescriptors) -> None:
        readable, writable = noted.others or ([], [])
        session = None
        if noted.for_session:
            session = noted.session = noted.session or current_request().session
            if session is None:
                readable.append(noted.connection_fd)  # no handshake yet
        timeout_s = noted.timeout_s or None
        # Before the wait: an exception that ends it must not leave the next one something to wait for.
        noted.for_session, noted.others, noted.timeout_s = False, None, 0
        found = wait(readable, writable, session, timeout_s)
        noted.timed_out = found is None
        noted.ready_fd = -1 if found is None else noted.connection_fd if found == -1 else found

    def environ(self) -> dict[str, Any]:
        """The keys that async modes add to each environ."""
        return {
            "x-wsgiorg.fdevent.readable": self.wait_fd_read,
            "x-wsgiorg.fdevent.writable": self.wait_fd_write,
            "x-wsgiorg.fdevent.timeout": None,
        }

    def _checked(self, fd: int, timeout: int) -> _Noted:
        """What the running task has noted so far; raises for what cannot be added to it."""
        if not isinstance(fd, int):
            raise TypeError(f"an integer is required (got type {type(fd).__name__})")
        if not isinstance(timeout, int):
            raise TypeError(f"integer argument expected, got {type(timeout).__name__}")
        if self._wait is None:
            self._log("ASYNC call without async mode !!!")
            _refuse(fd)
        return _noted.get() or _begin()


_NAMES = ("wait_fd_read", "wait_fd_write", "async_sleep", "async_connect", "suspend", "ready_fd")


def _begin() -> _Noted:
    try:
        noted = _Noted()
    except LookupError:
        raise SystemError("you can call uwsgi api function only from the main callable") from None
    _noted.set(noted)
    return noted


def _others(noted: _Noted, fd: int) -> tuple[list[int], list[int]]:
    """Where `fd` is to be noted. Raises OSError for one that cannot be polled."""
    try:
        mode = os.fstat(fd).st_mode
    except (OSError, OverflowError):
        _refuse(fd)
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        # Always ready, and so refused by the system's poller.
        _refuse(fd)
    if noted.others is None:
        noted.others = [], []
    return noted.others


def _refuse(fd: int) -> NoReturn:
    raise OSError(f"unable to fd {fd} to the event queue")
