"""The `uwsgi` module: uWSGI's API for applications, over Fairlead's public names (compatibility spec §1).

`make` builds the module; the worker registers it in `sys.modules` before any user code runs, and it is never installed.
Names, types, texts and after-close behaviour are uWSGI's; what goes over the wire is RFC 6455. Names of subsystems that
Fairlead does not have are absent, so that `hasattr` tells the truth (spec §8). Errors of the WebSocket calls are plain
`OSError` with uWSGI's text alone; the typed reason is their `__cause__`.
"""

from __future__ import annotations

import os
import platform
import socket
import stat
import time
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Callable, NoReturn, Union

from fairlead import ConnectionClosed, HandshakeRefused, Request, __version__, current_request, current_session
from fairlead.compat import uwsgi_bodies
from fairlead.compat.uwsgi_async import AsyncCalls

__all__ = ["Process", "RequestContext", "make"]

#: What apps that compare versions get; 2.1 is the line whose API this is (spec §1.5).
VERSION = b"2.1"

Text = Union[str, bytes]
_TEXTS = {
    "receive": "unable to receive websocket message",
    "send_text": "unable to send websocket message",
    "send_binary": "unable to send websocket binary message",
}
_HANDSHAKE = "unable to complete websocket handshake"
_BLOCKING_IN_GENERATOR = (
    "a generator application waits by `yield`, and websocket_recv() has nothing yet: first "
    "`yield uwsgi.wait_fd_read(uwsgi.connection_fd(), 3)`, then call websocket_recv_nb(); or start with --greenlet too"
)
_NO_REQUEST = "you can call uwsgi api function only from the main callable"


@dataclass(frozen=True)
class Process:
    """What the module tells about the process; plain values, and the few verbs that reach the master."""

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
    log: Callable[[str], None]
    ask_master: Callable[[str], bool]
    requests: Callable[[], int]
    async_calls: AsyncCalls
    model: str
    mode: str | None = None
    pidfile: str | None = None
    started_on: int = field(default_factory=lambda: int(time.time()))


class RequestContext:
    """Opaque: names a request, so that another greenlet or thread can use its WebSocket."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request


RequestContext.__module__ = "uwsgi"


def make(process: Process) -> ModuleType:
    """Build the module for this process."""
    module = ModuleType("uwsgi", "uWSGI's API, by Fairlead")
    names: dict[str, Any] = {}
    names.update(_websocket_calls(process))
    names.update(_connection_calls())
    names.update(process.async_calls.names())
    names.update(_process_information(process))
    names.update(uwsgi_bodies.names())
    for name, value in names.items():
        if isinstance(value, type(make)):
            value.__module__ = "uwsgi"
        setattr(module, name, value)
    return module


_MISSING: Any = object()


def _request_of(context: Any) -> Request:
    if context is _MISSING:
        try:
            return current_request()
        except LookupError:
            raise SystemError(_NO_REQUEST) from None
    if type(context) is not RequestContext:
        raise TypeError("Invalid argument!")
    return context._request


def _websocket_calls(process: Process) -> dict[str, Any]:
    """Spec §1.3."""

    def websocket_handshake(key: Text = "", origin: Text = "", proto: Text = "", /) -> None:
        request = _request_of(_MISSING)
        chosen_key = _text(key)
        _text(origin)  # checked like the others; the reply has no header for it any more (spec §2.5, row 15)
        offered = request.offered_subprotocols
        wanted = _text(proto)
        subprotocol = wanted if wanted in offered else None
        if not wanted and offered:
            subprotocol = offered[0]
        try:
            request.accept(chosen_key or None, subprotocol, process.send_timeout_s)
        except HandshakeRefused as error:
            raise OSError(_HANDSHAKE) from error

    def translate(verb: str, error: BaseException | None) -> BaseException:
        if error is None and not _in_a_request():
            return SystemError(_NO_REQUEST)
        # Before the handshake uWSGI would read and write raw frames; spec §1.3 wants the usual error.
        return OSError(_TEXTS[verb])

    # The hot calls are the engine's own callables: a Python frame for each would double the price of a small message.
    verbs = current_session(_request_of, translate)
    websocket_recv: Callable[..., bytes] = verbs.receive_bytes
    websocket_recv_nb = verbs.receive_bytes_nowait
    websocket_send = verbs.send_text
    websocket_send_binary = verbs.send_binary

    def websocket_send_lenient(message: Text, request_context: Any = _MISSING) -> None:
        if isinstance(message, str) or _is_utf8(message):
            verbs.send_text(message, *_given(request_context))
        else:
            verbs.send_binary(message, *_given(request_context))

    def websocket_recv_unless_in_generator(request_context: Any = _MISSING) -> bytes:
        try:
            session = _request_of(request_context).session
            message = None if session is None else session.receive_bytes_nowait()
        except ConnectionClosed as error:
            raise OSError(_TEXTS["receive"]) from error
        if session is None:
            raise OSError(_TEXTS["receive"])
        if message is None:
            if process.async_calls.is_in_generator():
                raise RuntimeError(_BLOCKING_IN_GENERATOR)
            return verbs.receive_bytes(*_given(request_context))
        return message

    def request_context() -> RequestContext:
        return RequestContext(_request_of(_MISSING))

    return {
        "websocket_handshake": websocket_handshake,
        "websocket_recv": websocket_recv_unless_in_generator if process.model == "generators" else websocket_recv,
        "websocket_recv_nb": websocket_recv_nb,
        "websocket_send": websocket_send_lenient if process.text_lenient else websocket_send,
        "websocket_send_binary": websocket_send_binary,
        "request_context": request_context,
    }


def _connection_calls() -> dict[str, Any]:
    """Spec §1.4, as far as it needs no event loop."""

    def connection_fd() -> int:
        return _request_of(_MISSING).fileno()

    def is_connected(fd: int) -> bool:
        try:
            with socket.socket(fileno=os.dup(fd)) as copy:
                return copy.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        except OSError:
            return False

    def disconnect() -> None:
        request = _request_of(_MISSING)
        session = request.session
        if session is not None:
            session.disconnect()
        else:
            request.abort("the application called uwsgi.disconnect()")

    return _public(locals())


def _process_information(process: Process) -> dict[str, Any]:
    """Spec §1.5. Byte strings are `bytes`, which surprises apps, but is so."""
    version = platform.node().encode()
    names: dict[str, Any] = {
        "version": VERSION,
        "version_info": (2, 1, 0, 0, b""),
        "fairlead_version": __version__,
        "hostname": version,
        "loop": None,
        "opt": process.options,
        "numproc": process.numproc,
        "cores": process.cores,
        "has_threads": int(process.has_threads),
        "buffer_size": process.buffer_size,
        "started_on": process.started_on,
        "sockets": process.sockets,
        "magic_table": {},
        "applications": None,
        "unbit": None,
        "is_a_reload": process.is_a_reload,
        "SPOOL_OK": -2,
        "SPOOL_RETRY": -1,
        "SPOOL_IGNORE": 0,
        "RequestContext": RequestContext,
    }
    if process.mode is not None:
        names["mode"] = process.mode.encode()
    if process.pidfile is not None:
        names["pidfile"] = process.pidfile.encode()

    def worker_id() -> int:
        return process.worker_id

    def mule_id() -> int:
        return 0

    def masterpid() -> int:
        return process.master_pid

    def total_requests() -> int:
        return process.requests()

    def request_id() -> int:
        _request_of(_MISSING)
        return process.requests()

    def logsize() -> int:
        try:
            status = os.fstat(2)
        except OSError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def cl() -> int:
        length = _request_of(_MISSING).header("Content-Length")
        return int(length) if length else 0

    def mem() -> tuple[int, int]:
        with open("/proc/self/statm") as file:
            vsz, rss = file.read().split()[:2]
        page = os.sysconf("SC_PAGESIZE")
        return int(rss) * page, int(vsz) * page

    def micros() -> int:
        return time.time_ns() // 1000

    def log(message: str) -> bool:
        process.log(_native_text(message))
        return True

    def reload() -> bool | None:
        return True if process.ask_master("reload") else None

    def stop() -> bool | None:
        return True if process.ask_master("stop") else None

    functions = _public(locals())
    names.update({name: value for name, value in functions.items() if callable(value)})
    return names


def _in_a_request() -> bool:
    try:
        current_request()
    except LookupError:
        return False
    return True


def _given(context: Any) -> tuple[Any, ...]:
    return () if context is _MISSING else (context,)


def _is_utf8(data: Any) -> bool:
    try:
        bytes(data).decode()
    except UnicodeDecodeError:
        return False
    return True


def _public(names: dict[str, Any]) -> dict[str, Any]:
    """The functions among a maker's local names."""
    return {name: value for name, value in names.items() if isinstance(value, type(make))}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return _wrong(value)


def _native_text(value: Any) -> str:
    return value if isinstance(value, str) else _wrong(value)


def _wrong(value: Any) -> NoReturn:
    raise TypeError(f"argument must be str or bytes, not {type(value).__name__}")
