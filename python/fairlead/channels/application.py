"""The channels as an application has them: publish, look back, count, subscribe.

    channels.publish("room:7", "hello")                 # to every client that joined, and to every subscription
    for message in channels.subscribe("room:7"): ...    # the application as a member
    channels.history("room:7", limit=50)                # what was published before

A channel is made when it is first named. Each of its messages has an *offset*, one more than the one before, so that a
member which comes back can say where it stopped (`since=`), and a gap is never silent. Delivery is the engine's
business, in shared memory; this file is its API for applications, and works in a worker only. A client becomes a
member by `WebSocket.join`. Programs that are no worker use `connect` (client.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Callable, Union

from fairlead._native import Channels as NativeChannels
from fairlead._native import Subscription as NativeSubscription
from fairlead.channels import waiting
from fairlead.channels.wire import Message
from fairlead.errors import ChannelsBusy

__all__ = [
    "CLIENT_JS",
    "Subscription",
    "configure",
    "history",
    "members",
    "publish",
    "publish_async",
    "serve",
    "subscribe",
    "subscribe_async",
]

Data = Union[str, bytes]

#: The path of the client for browsers, a JavaScript module: serve it, or copy it (docs/howto/channels.md).
CLIENT_JS = str(Path(__file__).parents[1] / "static" / "channels.js")

#: `(name, since, limit, drops)`: a membership for tasks of the worker's runner.
Subscribe = Callable[[str, Union[int, None], int, str], NativeSubscription]

_OUTSIDE = (
    "channels.{}() works in a Fairlead worker; in another program use fairlead.channels.connect(PATH), with the path "
    "of --channels-socket"
)

_channels: NativeChannels | None = None
_subscribe: Subscribe | None = None


def configure(native: NativeChannels | None) -> None:
    """Take the instance's channels; the worker calls it once, before the application is loaded."""
    global _channels
    _channels = native
    waiting.configure(native, None)


def serve(
    subscribe: Subscribe,
    sleep: Callable[[float], None],
    sleep_async: Callable[[float], Awaitable[None]] | None = None,
    turn: AbstractAsyncContextManager[None] | None = None,
) -> None:
    """Take the runner's ways of waiting; the worker calls it once, when it has one."""
    global _subscribe
    _subscribe = subscribe
    waiting.configure(_channels, sleep, sleep_async, turn)


def publish(name: str, data: Data) -> int:
    """Publish `str` as a text message, bytes-like objects as a binary one. Returns its offset in the channel.

    It never waits for a slow member. Raises ValueError for a bad name (1 to 255 bytes of UTF-8 without control
    characters) or a message over --channels-max-message, ChannelsError when the channels cannot be used at present: a
    process that writes to them was stopped, and did not go on for five seconds. Nothing was published then. Meanwhile
    other tasks run. In a coroutine they cannot, so there it waits for a quarter of a second; `publish_async` does
    better.
    """
    native = _channels
    if native is None:
        raise RuntimeError(_OUTSIDE.format("publish"))
    if waiting.stuck is None:  # the usual way, without a frame of Python's more
        try:
            return native.publish(name, data)
        except ChannelsBusy as error:
            waiting.note(error)
    return waiting.insist(lambda: native.publish(name, data))


async def publish_async(name: str, data: Data) -> int:
    """`publish` for a coroutine of the worker's asyncio loop: it suspends only while a process that writes was stopped,
    and the loop goes on meanwhile.

    Messages of calls that wait are published in the order in which those were awaited. Raises as `publish` does; one
    that is cancelled has published nothing.
    """
    native = _channels
    if native is None:
        raise RuntimeError(_OUTSIDE.format("publish_async"))
    if isinstance(data, (bytearray, memoryview)):
        data = bytes(data)  # as it is now
    return await waiting.insist_async(lambda: native.publish(name, data))


def history(name: str, since: int | None = None, limit: int | None = None) -> list[Message]:
    """What was published and is still in memory, oldest first.

    With `since` the first `limit` messages behind that offset, without it the newest `limit`; `limit=None` is all.
    Raises ValueError for a bad name or a `limit` below 0.
    """
    if _channels is None:
        raise RuntimeError(_OUTSIDE.format("history"))
    return [Message(*one) for one in _channels.history(name, since, limit)]


def members(name: str) -> int:
    """How many members a channel has at present, in all processes: clients that joined, and subscriptions."""
    if _channels is None:
        raise RuntimeError(_OUTSIDE.format("members"))
    return _channels.members(name)


def subscribe(name: str, since: int | None = None, *, limit: int = 100_000, drops: str = "oldest") -> Subscription:
    """Make the application a member of a channel, from now on or from behind the offset `since` with what is in memory.

    At most `limit` messages wait for it; then the "oldest" or the "newest" is dropped and counted (`missed`). Use it in
    a task of the runner: a request, or what a request has started. Raises ValueError for a bad name, a `limit` below 1
    or another word in `drops`.
    """
    if _channels is None or _subscribe is None:
        raise RuntimeError(_OUTSIDE.format("subscribe"))
    subscribe = _subscribe
    return Subscription(waiting.insist(lambda: subscribe(name, since, limit, drops)))


async def subscribe_async(
    name: str, since: int | None = None, *, limit: int = 100_000, drops: str = "oldest"
) -> Subscription:
    """`subscribe` for a coroutine of the worker's asyncio loop, which goes on while a process that writes to the
    channels is stopped."""
    if _channels is None or _subscribe is None:
        raise RuntimeError(_OUTSIDE.format("subscribe_async"))
    subscribe = _subscribe
    return Subscription(await waiting.insist_async(lambda: subscribe(name, since, limit, drops)))


class Subscription:
    """The messages of one channel. Iterate over it, `for` or `async for`; one task at a time.

    It ends when it is closed, by `close` or by leaving a `with` block.
    """

    __slots__ = ("_native",)

    def __init__(self, native: NativeSubscription) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """The channel."""
        return self._native.name

    @property
    def offset(self) -> int:
        """Where it began: its first message has a larger offset."""
        return self._native.offset

    @property
    def missed(self) -> int:
        """Messages that it did not get since it began, because it was too slow."""
        return self._native.missed

    @property
    def missed_before(self) -> int | None:
        """Messages behind `since` that were no longer in memory; None when that offset is of another run, and nobody
        knows."""
        return self._native.missed_before

    def receive(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message; None when `timeout` seconds have passed. Raises RuntimeError once closed."""
        message = self._native.receive(timeout)
        return None if message is None else Message(*message)

    def receive_nowait(self) -> Message | None:
        """The next message if one is there."""
        message = self._native.receive_nowait()
        return None if message is None else Message(*message)

    async def receive_async(self, timeout: float | None = None) -> Message | None:
        """`receive` for a coroutine of the worker's asyncio loop."""
        message = await self._native.receive_async(timeout)
        return None if message is None else Message(*message)

    def close(self) -> None:
        """End the membership. A task that waits is told; what has come can still be taken."""
        self._native.close()

    def __iter__(self) -> Iterator[Message]:
        while True:
            try:
                message = self._native.receive()
            except RuntimeError:
                if self._native.is_closed:
                    return
                raise
            if message is not None:  # never, without a time-out
                yield Message(*message)

    def __aiter__(self) -> AsyncIterator[Message]:
        return _Messages(self._native)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Messages(AsyncIterator[Message]):
    """`async for message in subscription`."""

    def __init__(self, native: NativeSubscription) -> None:
        self._native = native

    async def __anext__(self) -> Message:
        waiting: Awaitable[tuple[int, Data]] = self._native.receive_async(None, True)
        return Message(*await waiting)
