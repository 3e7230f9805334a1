"""The application's WebSocket: `websocket(environ)` completes the handshake, the object it returns talks.

The class is thin on purpose: waiting, framing, pings and limits are the engine's, and each verb is one call of the
native session, in whatever concurrency model the worker runs. What lives here is what an application sees: types
(`str` is text, `bytes` is binary), iteration and the `with` block; base_websocket.py has what AsyncWebSocket has too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from fairlead._native import Request, Session
from fairlead.base_websocket import BaseWebSocket, Data, Joined, close_code_after, with_native_methods
from fairlead.errors import ConnectionClosed

__all__ = ["REQUEST_KEY", "Data", "Joined", "WebSocket", "accept", "configure", "websocket"]

#: The environ's entry that holds the native request; `websocket` finds the connection by it.
REQUEST_KEY = "fairlead.request"

#: The seconds a send may wait for a slow peer; `configure` sets what the operator chose.
_send_timeout_s = 0.0


def configure(send_timeout_s: float) -> None:
    """Take the operator's settings; the worker calls it once, before the application is loaded."""
    global _send_timeout_s
    _send_timeout_s = send_timeout_s


def websocket(environ: dict[str, Any], subprotocols: Sequence[str] = ()) -> WebSocket:
    """Complete the handshake of this request, RFC 6455 §4.2.2, and return its WebSocket.

    `subprotocols` are those the application speaks, best first; the first one that the client offers is chosen, none if
    it offers none of them (`WebSocket.subprotocol` says which). Raises `HandshakeRefused` when the request is no valid
    handshake or its origin is not allowed, `ConnectionClosed` when the client has left; let them pass, and the client
    that is there gets the fitting status. Raises `RuntimeError` when the request was answered already, has a WebSocket
    or is over, `TypeError` for subprotocols that are no names, and `ValueError` for an environ of another server.
    """
    return _NativeWebSocket(accept(environ, subprotocols))


def accept(environ: dict[str, Any], subprotocols: Sequence[str]) -> Session:
    """The handshake of both classes, this one and the awaitable one."""
    request = request_in(environ)
    chosen = None
    if subprotocols:
        # A str is a sequence of str too, of its letters, which nobody means.
        is_list = isinstance(subprotocols, Iterable) and not isinstance(subprotocols, str)
        names = tuple(subprotocols) if is_list else ()
        if not is_list or not all(isinstance(name, str) for name in names):
            raise TypeError(f"subprotocols are a list of str, such as ['chat'], not {subprotocols!r:.100}")
        offered = request.offered_subprotocols
        chosen = next((name for name in names if name in offered), None)
    return request.accept(None, chosen, _send_timeout_s)


def request_in(environ: dict[str, Any]) -> Request:
    """The native request of an environ. Raises TypeError and ValueError for what has none."""
    found: Any = None
    try:
        found = environ[REQUEST_KEY]
    except (TypeError, KeyError, IndexError):
        if isinstance(environ, Mapping):
            raise ValueError(
                f"the environ has no {REQUEST_KEY!r}, so it is not of a request that Fairlead serves; pass the one "
                "that the application was called with, or a copy of it"
            ) from None
    if not hasattr(found, "accept"):
        kind = type(environ if found is None else found).__name__
        raise TypeError(f"a WebSocket is made from the environ that the application was called with, not from {kind}")
    request: Request = found
    return request


class WebSocket(BaseWebSocket):
    """One open WebSocket. Any task of the worker may send; one at a time may receive.

    Iterating yields its messages. As a context manager it closes on leaving: 1000 normally, 1011 when an exception
    passes through. Make it with `fairlead.websocket`.
    """

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> Data | None:
        """Wait for the next message; other tasks of the worker run meanwhile.

        `timeout` is in seconds, 0 or more; None waits without a limit. Returns `str` for a text message and `bytes` for
        a binary one, whole and unmasked (RFC 6455 §5.6), and None when `timeout` has passed. Raises `ConnectionClosed`
        when the connection is over and every message was taken, `RuntimeError` while another task waits for this
        connection's next message, and `ValueError` for a `timeout` below 0.
        """
        return self._session.receive(timeout)

    def send(self, data: Data | bytearray | memoryview) -> None:
        """Send one message: `str` as text, bytes-like objects as binary (RFC 6455 §5.6).

        It returns once the message lies in the connection's outbox. While that is full, because the peer is slow, it
        waits, at most the seconds of --socket-timeout; then the connection is dropped, for a message that is left out
        would be a gap that the peer cannot see. Raises `ConnectionClosed` when the connection is over or was dropped,
        and behind `close` (RFC 6455 §5.5.1), `TypeError` for other types, and `UnicodeEncodeError` for text that UTF-8
        cannot hold; nothing was sent then.
        """
        self._session.send(data)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the close handshake (RFC 6455 §7.1.2), and return; the engine sees it through.

        `code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999 (RFC 6455 §7.4), `reason` a text for the peer, of which 123
        bytes of UTF-8 are sent. On a connection that is closed or closing it does nothing. Raises `ValueError` for
        another code.
        """
        self._session.close(code, reason)

    def ping(self, data: bytes | None = None) -> None:
        """Send a Ping with up to 125 bytes of `data` (RFC 6455 §5.5.2).

        Pings that find dead peers go out by themselves; this one is for measuring. Raises `ValueError` for more bytes,
        and `ConnectionClosed` when the connection is closed or closing.
        """
        self._session.ping(data)

    def __iter__(self) -> Iterator[Data]:
        """Messages until the connection is closed. Raises `ConnectionClosed` if the peer vanished without a Close, and
        what `receive` raises else."""
        receive = self.receive
        try:
            while True:
                message = receive()
                if message is not None:
                    yield message
        except ConnectionClosed as end:
            if end.by == "lost":
                raise

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = close_code_after(error)
        if code is not None:
            self.close(code)


_NativeWebSocket = with_native_methods(
    WebSocket,
    {
        "receive": "receive",
        "receive_nowait": "receive_nowait",
        "send": "send",
        "close": "close",
        "ping": "ping",
        "fileno": "fileno",
    },
)
