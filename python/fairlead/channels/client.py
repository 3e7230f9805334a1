"""The channels of a running instance for any other Python program: a cron job, a task queue's worker, a signal of
Django.

    remote = connect("/run/shop/channels")
    remote.publish("orders", "paid 4711")

Standard library only, and nothing of a worker: what is said on the socket is wire.py, and a thread of the instance's
master serves it (server.py). One object may be used by several threads, and by the children of a process that forks:
each process has a connection of its own. When the instance was restarted the next call connects again, once. A
`publish` is repeated only if the instance cannot have got it; whoever cannot know is told so.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from fairlead.channels.connection import (
    Connection,
    Lost,
    Messages,
    Refused,
    TimedOut,
    answer_of,
    deadline_after,
    left_until,
    message_of,
    raise_for,
)
from fairlead.channels.wire import BadLine, Message, line, payload_of
from fairlead.errors import ChannelsError

__all__ = ["RemoteChannels", "RemoteSubscription", "connect"]

#: Waits between attempts of a subscription to come back while its instance restarts.
_RETRY_S = 0.1


def connect(path: str | os.PathLike[str], timeout: float | None = 10.0) -> RemoteChannels:
    """Connect to the instance whose --channels-socket is `path`.

    `timeout`: seconds that one call may take, None without limit. Raises ChannelsError if there is no such socket,
    nobody listens there, or it is not permitted.
    """
    return RemoteChannels(os.fspath(path), timeout)


class RemoteChannels:
    """The channels of one instance; make it with `connect`."""

    def __init__(self, path: str, timeout: float | None = 10.0) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._connection: Connection | None = Connection(path, timeout)
        self._is_closed = False

    @property
    def path(self) -> str:
        """The socket."""
        return self._path

    def publish(self, name: str, data: str | bytes | bytearray | memoryview) -> int:
        """Publish `str` as text, bytes-like objects as binary; returns the offset.

        Raises ValueError for a bad name or a message that is too long, ChannelsError when the instance is not there.
        The message was not published then, unless the error says that this is not known.
        """
        kind, payload = payload_of(data)
        request = {"do": "publish", "channel": _name(name), "kind": kind, "length": len(payload)}
        answer, _ = self._ask(request, payload)
        offset: int = answer["offset"]
        return offset

    def history(self, name: str, since: int | None = None, limit: int | None = None) -> Messages:
        """As `fairlead.channels.history`: the first `limit` messages behind `since`, or the newest `limit`. Raises
        ValueError for a bad name or a `limit` below 0."""
        if limit is not None and not isinstance(limit, int):
            raise TypeError(f"limit is a number of messages, not {type(limit).__name__}")
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}, and it must be 0 or more")
        messages: Messages = []
        more = True
        while more and (limit is None or limit > len(messages)):
            left = None if limit is None else limit - len(messages)
            request = {"do": "history", "channel": _name(name), "since": _offset(since), "limit": left}
            about, page = self._ask(request)
            messages += page
            more = bool(about["more"]) and bool(page)
            since = messages[-1].offset if messages else since
        return messages

    def members(self, name: str) -> int:
        """How many members a channel has at present, in all processes. Subscriptions from outside are none."""
        answer, _ = self._ask({"do": "members", "channel": _name(name)})
        members: int = answer["members"]
        return members

    def list(self) -> dict[str, Any]:
        """All channels and workers: `{"channels": [{"name", "members", "messages", "bytes", "offset"}], "workers":
        [{"pid", "lag", "overtaken", "delivered", "dropped"}], "log": {"bytes", "used"}}`. `lag` is in bytes."""
        answer, _ = self._ask({"do": "list"})
        facts: dict[str, Any] = answer["facts"]
        return facts

    def subscribe(self, name: str, since: int | None = None) -> RemoteSubscription:
        """The messages of a channel from now on, or from behind the offset `since` with what is in memory."""
        if self._is_closed:
            raise ChannelsError(f"{self._path}: this object was closed")
        return RemoteSubscription(self._path, name, since, self._timeout)

    def close(self) -> None:
        """End the connection. Subscriptions have their own."""
        self._is_closed = True
        with self._lock if self._pid == os.getpid() else contextlib.nullcontext():
            self._discard()

    def __enter__(self) -> RemoteChannels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any], payload: bytes = b"") -> tuple[dict[str, Any], Messages]:
        """One request and its answer, with the messages behind it."""
        if self._pid != os.getpid():  # a fork: the connection is the parent's, and so may be whoever has the lock
            self._lock = threading.Lock()
            self._connection = None
            self._pid = os.getpid()
        with self._lock:
            if self._is_closed:
                raise ChannelsError(f"{self._path}: this object was closed")
            try:
                return self._asked(request, payload)
            except Refused as error:
                raise_for(error, self._path)
            except BadLine:
                self._discard()
                raise ChannelsError(f"{self._path}: the answer is none of the channels' protocol") from None
            except ValueError:
                raise  # before anything was sent
            except BaseException:
                # Half an answer may be left, which the next request must not take for its own.
                self._discard()
                raise

    def _asked(self, request: Mapping[str, Any], payload: bytes) -> tuple[dict[str, Any], Messages]:
        deadline = deadline_after(self._timeout)
        is_first = True
        while True:
            connection = self._connected(deadline)
            if len(payload) > connection.longest:
                raise ValueError(
                    f"the message has {len(payload)} bytes, and {connection.longest} are allowed; send less at a time, "
                    "or raise --channels-max-message"
                )
            was_sent = False
            try:
                connection.send(line(request) + payload, deadline)
                was_sent = True
                return answer_of(connection, request["do"], deadline)
            except TimedOut as error:
                if request["do"] == "publish":
                    raise ChannelsError(f"{error}; whether the message was published is not known") from None
                raise
            except Lost:
                self._discard()
                if was_sent and request["do"] == "publish":
                    raise ChannelsError(
                        f"{self._path}: the instance has ended while it was publishing; whether the message was "
                        "published is not known"
                    ) from None
                if not is_first:
                    raise ChannelsError(f"{self._path}: the instance has ended the connection again") from None
                is_first = False

    def _connected(self, deadline: float | None) -> Connection:
        if self._connection is not None and self._connection.is_stale():
            self._discard()
        if self._connection is None:
            self._connection = Connection(self._path, left_until(deadline))
        return self._connection

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class RemoteSubscription:
    """The messages of one channel of another program. Iterate over it, or call `receive`; one thread at a time.

    When the instance was restarted it comes back from where it was, with what is still in memory.
    """

    def __init__(self, path: str, name: str, since: int | None, timeout: float | None) -> None:
        self.name = _name(name)
        #: Messages that it did not get since it began; None once nobody knows how many.
        self.missed: int | None = 0
        self._path = path
        self._timeout = timeout
        self._is_closed = False
        self._connection, self.offset, self.missed_before = self._begun(since)
        self._last = self.offset
        #: Since when the instance is gone.
        self._lost_at: float | None = None

    def receive(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message; None when `timeout` seconds have passed.

        Raises ChannelsError when the instance has ended and not come back in time, or has given this subscription up
        because it was too slow; RuntimeError once closed.
        """
        deadline = deadline_after(timeout)
        while True:
            if self._is_closed:
                raise RuntimeError("the subscription is closed")
            try:
                header, payload = self._connection.receive(deadline)
            except TimedOut:
                return None
            except BadLine:
                raise ChannelsError(f"{self._path}: what came is none of the channels' protocol") from None
            except Lost:
                if self._is_closed:
                    continue
                if not self._come_back(deadline):
                    return None
                continue
            if "offset" in header:
                message = message_of(header, payload)
                self._last = message.offset
                return message
            if "missed" in header:
                self._add_missed(header["missed"])
            elif header.get("end") == "stopping":
                continue  # the end of the connection follows, and perhaps a new instance
            else:
                self.close()
                raise ChannelsError(f"{self._path}: {header.get('message')}")

    def close(self) -> None:
        """End it, from any thread."""
        self._is_closed = True
        self._connection.interrupt()
        self._connection.close()

    def __iter__(self) -> Iterator[Message]:
        while not self._is_closed:
            try:
                message = self.receive()
            except RuntimeError:
                return
            if message is not None:
                yield message

    def __enter__(self) -> RemoteSubscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begun(self, since: int | None) -> tuple[Connection, int, int | None]:
        connection = Connection(self._path, self._timeout)
        deadline = deadline_after(self._timeout)
        try:
            connection.send(line({"do": "subscribe", "channel": self.name, "since": _offset(since)}), deadline)
            answer, _ = answer_of(connection, "subscribe", deadline)
        except Refused as error:
            connection.close()
            raise_for(error, self._path)
        except Lost:
            connection.close()
            raise ChannelsError(f"{self._path}: the instance has ended the connection") from None
        except BaseException:
            connection.close()
            raise
        return connection, answer["offset"], answer["missed"]

    def _come_back(self, deadline: float | None) -> bool:
        """Connect again, while the instance may be restarting; False when `deadline` comes first."""
        self._connection.close()
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        while True:
            try:
                self._connection, _, missed = self._begun(self._last)
            except ChannelsError:
                now = time.monotonic()
                if self._timeout is not None and now >= self._lost_at + self._timeout:
                    raise
                if deadline is not None and now >= deadline:
                    return False
                if self._is_closed:
                    return True
                time.sleep(_RETRY_S)
                continue
            self._lost_at = None
            self._add_missed(missed)
            if self._is_closed:
                self._connection.close()
            return True

    def _add_missed(self, count: int | None) -> None:
        self.missed = None if count is None or self.missed is None else self.missed + count


def _offset(since: int | None) -> int | None:
    if since is not None and not isinstance(since, int):
        raise TypeError(f"an offset is a whole number, not {type(since).__name__}")
    return since


def _name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a channel is str, not {type(name).__name__}")
    if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= 255:
        raise ValueError("the name of a channel has 1 to 255 bytes of UTF-8")
    name.encode()  # UnicodeEncodeError, a ValueError, for lone surrogates
    return name
