"""The application's WebSocket: `websocket(environ)` completes the handshake, the object it returns talks.

The face is thin on purpose: waiting, framing, pings and limits are the engine's, and each verb is one call of the
native session, in whatever concurrency model the worker runs. What lives here is what an application sees: types
(`str` is text, `bytes` is binary), iteration and the `with` block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Union

from fairlead._native import Session
from fairlead.errors import ConnectionClosed

__all__ = ["REQUEST_KEY", "Data", "Joined", "WebSocket", "accept", "configure", "websocket"]

Data = Union[str, bytes]

#: The environ's entry that holds the native request; `websocket` finds the connection by it.
REQUEST_KEY = "fairlead.request"

#: The seconds a send may wait for a slow peer; `configure` sets what the operator chose.
_send_timeout_s = 4.0


def configure(send_timeout_s: float) -> None:
    """Take the operator's settings; the worker calls it once, before the application is loaded."""
    global _send_timeout_s
    _send_timeout_s = send_timeout_s


def websocket(environ: dict[str, Any], subprotocols: Sequence[str] = ()) -> WebSocket:
    """Complete the handshake of this request, RFC 6455 §4.2.2, and return its WebSocket.

    `subprotocols` are those the application speaks, best first; the first one that the client offers is chosen, none if
    it offers none of them (`WebSocket.subprotocol` says which). Raises `HandshakeRefused` when the request is no valid
    handshake or its origin is not allowed; let it pass and the client gets the fitting status.
    """
    return WebSocket(accept(environ, subprotocols))


def accept(environ: dict[str, Any], subprotocols: Sequence[str]) -> Session:
    """The handshake of both faces, this one and the awaitable one."""
    request = environ[REQUEST_KEY]
    offered = request.offered_subprotocols if subprotocols else ()
    chosen = next((name for name in subprotocols if name in offered), None)
    session: Session = request.accept(None, chosen, _send_timeout_s)
    return session


class Joined(NamedTuple):
    """Where a membership begins."""

    #: The first message that the client gets has a larger offset than this.
    offset: int
    #: Messages of the past that it gets first.
    replayed: int
    #: Messages behind `since` that are no longer in memory; None when that offset is of another run and nobody knows.
    missed: int | None


class WebSocket:
    """One open WebSocket. Any unit of the worker may send; one at a time may receive.

    As a context manager it closes on leaving: 1000 normally, 1011 when an exception passes through.
    """

    __slots__ = ("_session", "close", "fileno", "ping", "receive", "receive_nowait", "send")

    def __init__(self, session: Session) -> None:
        self._session = session
        # The native methods themselves: a Python frame per message would cost a tenth of a small echo.
        self.receive = session.receive
        self.receive_nowait = session.receive_nowait
        self.send = session.send
        self.close = session.close
        self.ping = session.ping
        self.fileno = session.fileno

    def join(
        self, channel: str, since: int | None = None, *, offsets: bool = False, slow_consumer: str | None = None
    ) -> Joined:
        """Make the client a member of a channel: what is published there goes to it, whatever this unit does.

        `since` is an offset to begin behind: first comes what is still in memory, then what is published, without a gap
        or a repetition. Without it the client gets what comes. With `offsets` each message begins with a line that
        says its offset and channel, so that the client can tell where it stopped (docs/howto/channels.md).
        `slow_consumer` is what becomes of a client that does not keep up: "close", "drop-newest" or "drop-oldest", by
        default as --channels-slow-consumer says. A client that is a member already stays one as it is.

        Raises ValueError for a bad name, ConnectionClosed, and ChannelsError when there is no room for another channel.
        """
        return Joined(*self._session.join(channel, since, offsets, slow_consumer))

    def leave(self, channel: str) -> bool:
        """End the membership; what has not left yet is dropped. False if the client was no member."""
        return self._session.leave(channel)

    @property
    def missed(self) -> int:
        """Messages of its channels that the client did not get, because it was slow."""
        return self._session.missed

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on, if any."""
        return self._session.subprotocol

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None while it is open. Messages may still wait to be received."""
        end = self._session.closed
        return None if end is None else ConnectionClosed(*end)

    def __iter__(self) -> Iterator[Data]:
        """Messages until the connection is closed. Raises ConnectionClosed if the peer vanished without a Close."""
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
        if error is None:
            self.close(1000)
        elif isinstance(error, Exception) and not isinstance(error, ConnectionClosed):
            self.close(1011)
