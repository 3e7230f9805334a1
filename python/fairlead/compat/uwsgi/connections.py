"""The calls of the module `uwsgi` about descriptors: the client's, and plain blocking ones of the application's own.

compat §1.4, as far as it needs no event loop. The client's socket belongs to the engine, which frames what goes over
it; `connection_fd()` gives a descriptor to wait on, not to read or write. So raw `send` and `recv` on it are what uWSGI
calls a failure: they return None, and the log says what to call instead. `close` of it is `disconnect`.

Calls that wait release the GIL. They hold up their thread; under a runner with one thread for all tasks, all tasks.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import Any

from fairlead.compat.uwsgi.arguments import MISSING, integer, native, public, request_of, task_of
from fairlead.compat.uwsgi.contract import Process

__all__ = ["connection_calls"]

#: `recv` reads no more at a time (compat §1.4).
_LARGEST_READ = 4096

#: poll(2) counts milliseconds in 31 bits, 24.8 days, and Python raises OverflowError beyond.
_LONGEST_POLL_S = 24 * 86400.0


def connection_calls(process: Process) -> dict[str, Any]:
    """The functions by name."""

    def connection_fd() -> int:
        return request_of().fileno()

    def is_connected(fd: int, /) -> bool:
        if _is_the_clients(integer(fd)):
            if task_of(process).is_cut:
                return False
            session = request_of().session
            if session is None:
                return not request_of().is_gone()
            # uWSGI does not notice an orderly close, and what came before it can still be received.
            closed = session.closed
            return closed is None or closed.by != "lost"
        try:
            with socket.socket(fileno=os.dup(fd)) as copy:
                return copy.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        except OSError:
            return False

    def disconnect() -> None:
        request = request_of()
        task_of(process).is_cut = True
        session = request.session
        if session is not None:
            session.disconnect()
        else:
            request.abort("the application called uwsgi.disconnect()")

    def connect(addr: str, timeout: int = 0, /) -> int:
        address = native("connect", addr)
        limit_s = integer(timeout)
        try:
            return _connected(address, min(limit_s if limit_s > 0 else process.send_timeout_s, _LONGEST_POLL_S))
        except (OSError, ValueError, OverflowError):
            return -1

    def send(fd_or_data: Any, data: Any = MISSING, /) -> bool | None:
        payload = fd_or_data if data is MISSING else data
        fd = None if data is MISSING else integer(fd_or_data)
        if not isinstance(payload, bytes):
            raise TypeError(f"send() data must be bytes, not {type(payload).__name__}")
        if fd is None or _is_the_clients(fd):
            _refuse("send", "answer with start_response and write, or uwsgi.websocket_send")
            return None
        try:
            _write_all(fd, payload, process.send_timeout_s)
        except OSError as error:
            process.services.warn(f"uwsgi.send({fd}, …): {error.strerror}")
            return None
        return True

    def recv(fd: int, max: int = _LARGEST_READ, /) -> bytes | None:
        size = min(integer(max), _LARGEST_READ)
        if _is_the_clients(integer(fd)):
            _refuse("recv", "read environ['wsgi.input'], or uwsgi.websocket_recv")
            return None
        if size <= 0:
            return None
        try:
            return os.read(fd, size) or None
        except OSError:
            return None

    def close(fd: int, /) -> None:
        if _is_the_clients(integer(fd)):
            disconnect()
        else:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _refuse(call: str, instead: str) -> None:
        process.services.warn(
            f"{request_of().label}: uwsgi.{call}() cannot use the client's socket, which is the engine's; {instead}"
        )

    return public(locals())


def _is_the_clients(fd: int) -> bool:
    """Whether `fd` is what `connection_fd()` gives to the running task."""
    try:
        return request_of().fileno() == fd
    except (SystemError, OSError):
        return False


def _connected(address: str, timeout_s: float) -> int:
    """A connected blocking socket's descriptor, which is the caller's to close; addresses as in compat §4.2."""
    host, colon, port = address.rpartition(":")
    if colon and "/" not in address and not address.startswith("@"):
        with socket.create_connection((host.strip("[]") or None, int(port)), timeout_s) as connection:
            return _detached(connection)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect("\0" + address[1:] if address.startswith("@") else address)
        return _detached(connection)


def _detached(connection: socket.socket) -> int:
    connection.settimeout(None)
    return connection.detach()


def _write_all(fd: int, data: bytes, timeout_s: float) -> None:
    """Write everything. A descriptor that does not block and has no room at all is an error at once, as in uWSGI; once
    something has left, what follows may wait, because nobody could say how much is missing."""
    sent = os.write(fd, data)
    deadline = time.monotonic() + timeout_s
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    while sent < len(data):
        left_s = max(0.0, deadline - time.monotonic())
        if not poller.poll(min(left_s, _LONGEST_POLL_S) * 1000):
            raise TimeoutError(None, f"only {sent} of {len(data)} bytes could be written within {timeout_s:g} s")
        with contextlib.suppress(BlockingIOError):
            sent += os.write(fd, data[sent:])
