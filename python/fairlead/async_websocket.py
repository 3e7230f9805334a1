"""The application's WebSocket in a coroutine: `async_websocket(environ)` completes the handshake, the object it returns
is awaited.

The awaitable API of a session, with the names, types and errors of websocket.py, for the asyncio runner; what needs no
`await` is that of base_websocket.py. Its waits are native: a message that is there already, and a send with room, do
not suspend. The handshake waits for nothing, so making one is no `await`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from types import TracebackType
from typing import Any

from fairlead.base_websocket import BaseWebSocket, Data, Joined, close_code_after, with_native_methods
from fairlead.channels.waiting import insist_async
from fairlead.websocket import accept, request_in

__all__ = ["AsyncWebSocket", "async_websocket"]


def async_websocket(environ: dict[str, Any], subprotocols: Sequence[str] = ()) -> AsyncWebSocket:
    """Complete the handshake of this request, as `websocket` does, and return its WebSocket for coroutines.

    Raises what `websocket` does, and `RuntimeError` where there is no asyncio loop: start Fairlead with `--asyncio N`.
    """
    if not request_in(environ).has_asyncio:
        raise RuntimeError("async_websocket needs an asyncio loop; start Fairlead with --asyncio N")
    return _NativeAsyncWebSocket(accept(environ, subprotocols))


class AsyncWebSocket(BaseWebSocket):
    """One open WebSocket for coroutines. Any task of the worker may send; one at a time may receive.

    `async for` yields its messages. As an async context manager it closes on leaving: 1000 normally, 1011 when an
    exception passes through. Make it with `fairlead.async_websocket`.
    """

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> Coroutine[Any, Any, Data | None]:
        """Await the next message. One that is there already does not suspend; one that is cancelled has lost nothing.

        `timeout` is in seconds, 0 or more; None waits without a limit. Gives `str` for a text message and `bytes` for a
        binary one, whole and unmasked (RFC 6455 §5.6), and None when `timeout` has passed. Awaiting it raises
        `ConnectionClosed` when the connection is over and every message was taken, `RuntimeError` while another task
        waits for this connection's next message or outside the worker's own loop, and `ValueError` for a `timeout`
        below 0.
        """
        return self._session.receive_async(timeout)

    def send(self, data: Data | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Await that one message is sent: `str` as text, bytes-like objects as binary (RFC 6455 §5.6).

        It is over once the message lies in the connection's outbox, and suspends only while that is full, because the
        peer is slow: at most the seconds of --socket-timeout; then the connection is dropped, for a message that is
        left out would be a gap that the peer cannot see. Awaiting it raises `ConnectionClosed` when the connection is
        over or was dropped, and behind `close` (RFC 6455 §5.5.1), `RuntimeError` outside the worker's own loop,
        `TypeError` for other types, and `UnicodeEncodeError` for text that UTF-8 cannot hold; nothing was sent then.
        """
        return self._session.send_async(data)

    def close(self, code: int = 1000, reason: str = "") -> Awaitable[None]:
        """Start the close handshake (RFC 6455 §7.1.2); the engine sees it through. It has begun when this returns; to
        await it is allowed, and waits for nothing.

        `code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999 (RFC 6455 §7.4), `reason` a text for the peer, of which 123
        bytes of UTF-8 are sent. On a connection that is closed or closing it does nothing. Raises `ValueError` for
        another code.
        """
        self._session.close(code, reason)
        return _DONE

    def ping(self, data: bytes | None = None) -> Awaitable[None]:
        """Send a Ping with up to 125 bytes of `data` (RFC 6455 §5.5.2). To await it is allowed, and waits for nothing.

        Pings that find dead peers go out by themselves; this one is for measuring. Raises `ValueError` for more bytes,
        and `ConnectionClosed` when the connection is closed or closing.
        """
        self._session.ping(data)
        return _DONE

    async def join_async(
        self, channel: str, since: int | None = None, *, offsets: bool = False, slow_consumer: str | None = None
    ) -> Joined:
        """`join`, which suspends while a process that writes to the channels is stopped: the loop goes on meanwhile.

        Takes and returns what `join` does. Calls that wait are served in the order in which they were awaited, those of
        `fairlead.channels.publish_async` among them. Awaiting it raises `ValueError`, `ConnectionClosed` and
        `ChannelsError` as `join` does, and `RuntimeError` when it has to wait on another loop than the worker's.
        """
        join = self._session.join
        answer = await insist_async(lambda: join(channel, since, offsets, slow_consumer))
        return Joined(answer.offset, answer.replayed, answer.missed)

    def __aiter__(self) -> AsyncIterator[Data]:
        """Messages until the connection is closed. Raises `ConnectionClosed` if the peer vanished without a Close, and
        what `receive` raises else."""
        return self._session.messages()

    async def __aenter__(self) -> AsyncWebSocket:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = close_code_after(error)
        if code is not None:
            self.close(code)


_NativeAsyncWebSocket = with_native_methods(
    AsyncWebSocket,
    {"receive": "receive_async", "receive_nowait": "receive_nowait", "send": "send_async", "fileno": "fileno"},
)


class _Done:
    """An awaitable that is over."""

    def __await__(self) -> Any:
        return iter(())


_DONE = _Done()
