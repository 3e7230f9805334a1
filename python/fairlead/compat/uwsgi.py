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
import time
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Callable, NoReturn, Optional, Union

from fairlead import ConnectionClosed, HandshakeRefused, Request, Session, __version__, current_request

__all__ = ["Process", "RequestContext", "make"]

#: What apps that compare versions get; 2.1 is the line whose API this is (spec §1.5).
VERSION = b"2.1"

Text = Union[str, bytes]
_RECV = "unable to receive websocket message"
_SEND = "unable to send websocket message"
_SEND_BINARY = "unable to send websocket binary message"
_HANDSHAKE = "unable to complete websocket handshake"
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
    mode: Optional[str] = None
    pidfile: Optional[str] = None
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
    names.update(_process_information(process))
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


def _session_of(context: Any, text: str) -> Session:
    session = _request_of(context).session
    if session is None:
        # uWSGI would read and write raw frames before the handshake; spec §1.3 wants the usual error.
        raise OSError(text)
    return session


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

    def websocket_recv(request_context: Any = _MISSING) -> bytes:
        session = _session_of(request_context, _RECV)
        try:
            return session.receive_bytes()  # type: ignore[return-value]  # no time-out: never None
        except ConnectionClosed as error:
            raise OSError(_RECV) from error

    def websocket_recv_nb(request_context: Any = _MISSING) -> bytes:
        session = _session_of(request_context, _RECV)
        try:
            return session.receive_bytes_nowait() or b""
        except ConnectionClosed as error:
            raise OSError(_RECV) from error

    def websocket_send(message: Text, request_context: Any = _MISSING) -> None:
        session = _session_of(request_context, _SEND)
        try:
            session.send_text(message)
        except ConnectionClosed as error:
            raise OSError(_SEND) from error
        except UnicodeEncodeError:
            raise
        except ValueError as error:
            if not process.text_lenient:
                raise OSError(_SEND) from error
            websocket_send_binary(message, request_context)

    def websocket_send_binary(message: Text, request_context: Any = _MISSING) -> None:
        session = _session_of(request_context, _SEND_BINARY)
        try:
            session.send_binary(message)
        except ConnectionClosed as error:
            raise OSError(_SEND_BINARY) from error

    def request_context() -> RequestContext:
        return RequestContext(_request_of(_MISSING))

    return _public(locals())


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

    def micros() -> int:
        return time.time_ns() // 1000

    def log(message: str) -> bool:
        process.log(_native_text(message))
        return True

    def reload() -> Optional[bool]:
        return True if process.ask_master("reload") else None

    def stop() -> Optional[bool]:
        return True if process.ask_master("stop") else None

    functions = _public(locals())
    names.update({name: value for name, value in functions.items() if callable(value)})
    return names


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
