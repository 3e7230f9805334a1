"""The application's WebSocket in a coroutine: `async_websocket(environ)` completes the handshake, the object it returns
is awaited.

The awaitable face of websocket.py, with the same names, types and errors, for the asyncio runner. Its waits are native:
a message that is there already, and a send with room, do not suspend. The handshake waits for nothing, so making one is
no `await`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from types import TracebackType
from typing import Any

from fairlead._native import Session
from fairlead.errors import ConnectionClosed
from fairlead.websocket import REQUEST_KEY, Data, Joined, accept

__all__ = ["AsyncWebSocket", "async_websocket"]


def async_websocket(environ: dict[str, Any], subprotocols: Sequence[str] = ()) -> AsyncWebSocket:
    """Complete the handshake of this request, as `websocket` does, and return its WebSocket for coroutines.

    Raises `HandshakeRefused`, and RuntimeError where there is no asyncio loop: start Fairlead with `--asyncio N`.
    """
    if not environ[REQUEST_KEY].has_asyncio:
        raise RuntimeError("async_websocket needs an asyncio loop; start Fairlead with --asyncio N")
    return AsyncWebSocket(accept(environ, subprotocols))


class AsyncWebSocket:
    """One open WebSocket. Any task of the worker may send; one at a time may receive.

    A `receive` that is cancelled has lost no message. As an async context manager it closes on leaving: 1000 normally,
    1011 when an exception passes through.
    """

    __slots__ = ("_session", "fileno", "receive", "receive_nowait", "send")

    def __init__(self, session: Session) -> None:
        self._session = session
        # The native methods themselves, as in websocket.py.
        self.receive = session.receive_async
        self.receive_nowait = session.receive_nowait
        self.send = session.send_async
        self.fileno = session.fileno

    def close(self, code: int = 1000, reason: str = "") -> Awaitable[None]:
        """Start the close handshake. It has begun when this returns; to await it is allowed, and waits for nothing."""
        self._session.close(code, reason)
        return _DONE

    def ping(self, data: bytes | None = None) -> Awaitable[None]:
        """Send a Ping with up to 125 bytes. To await it is allowed."""
        self._session.ping(data)
        return _DONE

    def join(
        self, channel: str, since: int | None = None, *, offsets: bool = False, slow_consumer: str | None = None
    ) -> Joined:
        """Make the client a member of a channel: what is published there goes to it, whatever this task does.
        Waits for nothing, so it is no `await`.

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

    def __aiter__(self) -> AsyncIterator[Data]:
        """Messages until the connection is closed. Raises ConnectionClosed if the peer vanished without a Close."""
        return self._session.messages()

    async def __aenter__(self) -> AsyncWebSocket:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close(1000)
        elif isinstance(error, Exception) and not isinstance(error, ConnectionClosed):
            self.close(1011)


class _Done:
    """An awaitable that is over."""

    def __await__(self) -> Any:
        return iter(())


_DONE = _Done()
