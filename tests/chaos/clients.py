"""The clients of a chaos run, a thread each: members that come back behind their last offset, and publishers that note
what they were told. What they note is checker.py's to judge; here nothing is judged but frames that break RFC 6455.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable

from chaos.checker import Message, Published, Sitting, payload_of
from fairlead.channels.client import RemoteChannels
from fairlead.errors import ChannelsError
from support.channel_member import MARK, is_heartbeat
from support.raw_client import CLOSE, PING, PONG, Frame, RawClient
from support.server import Server

__all__ = ["Member", "Publisher", "by_http", "by_websocket", "from_outside"]

#: Between two tries while nobody answers; and of a publisher, so that its messages spread over the run.
_PAUSE_S = 0.02

#: What a publisher says when the server, or its worker, is not there.
_GONE = (OSError, EOFError, http.client.HTTPException, ChannelsError)


class _Client:
    """Repeats `round` in a thread of its own until it is told to stop."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: What went wrong that no fault of the run explains.
        self.broken: list[str] = []
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def round(self) -> None:
        raise NotImplementedError

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.broken.append(f"{self.name} has not ended: {self.state()}")

    def state(self) -> str:
        return ""

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                self.round()
            except _GONE:
                pass  # killed, stopped, starved or reloaded: it comes back
            except Exception as error:
                self.broken.append(f"{self.name}: {type(error).__name__}: {error}")
            self.over.wait(_PAUSE_S)


class Member(_Client):
    """Stays a member of a channel over all losses. It ends once it has got `ends_at`, when that is set."""

    def __init__(self, name: str, server: Server, channel: str) -> None:
        self._server, self._channel = server, channel
        self._since: int | None = None
        self._client: RawClient | None = None
        self.ends_at: int | None = None
        self.sittings: list[Sitting] = []
        super().__init__(name)

    def is_done(self) -> bool:
        return self.ends_at is not None and self._since is not None and self._since >= self.ends_at

    def state(self) -> str:
        return f"it has {self._since} of {self._channel} and waits for {self.ends_at}"

    def round(self) -> None:
        since = "" if self._since is None else f"&since={self._since}"
        sitting: Sitting | None = None
        with _upgraded(self._server, f"/member?channel={self._channel}{since}") as client:
            while not self.is_done():
                found = _read(client)
                if found.opcode == CLOSE:
                    client.send(CLOSE, found.payload)
                    return
                head, _, payload = found.payload.partition(b"\n")
                *joined, channel = head.decode().split(" ")
                assert head[:1] == MARK and channel == self._channel, found.payload[:80]
                if is_heartbeat(found.payload):
                    continue
                if len(joined) == 3:
                    begins, missed = int(joined[1]), None if joined[2] == "?" else int(joined[2])
                    sitting = Sitting(self.name, channel, self._since, begins, missed)
                    self.sittings.append(sitting)
                else:
                    assert sitting is not None, f"a message before the membership: {head!r}"
                    sitting.received.append((int(joined[0][1:]), payload))
                self._since = sitting.last
        self.over.set()


class Publisher(_Client):
    """Publishes one message after the other; `send` carries a payload there and answers the offset."""

    def __init__(self, name: str, channel: str, make: Callable[[str], Callable[[bytes], int]], seed: int) -> None:
        self._channel, self._make = channel, make
        self._random = random.Random(seed)
        self._send: Callable[[bytes], int] | None = None
        self.published: list[Published] = []
        super().__init__(name)

    def round(self) -> None:
        if self._send is None:
            self._send = self._make(self._channel)
        one = Published(Message(self._channel, self.name, len(self.published)))
        self.published.append(one)
        padding = self._random.randbytes(self._random.choice((0, 10, 100, 1000, 20_000)))
        try:
            one.offset = self._send(payload_of(one.message, padding))
            one.told_at = time.monotonic()
        except BaseException:
            self._send = None  # by a new connection: an answer that comes late is not the next one's
            raise


def by_websocket(server: Server) -> Callable[[str], Callable[[bytes], int]]:
    def make(channel: str) -> Callable[[bytes], int]:
        client = _upgraded(server, f"/publisher?channel={channel}")

        def send(payload: bytes) -> int:
            client.send(2, payload)
            found = _read(client)
            if found.opcode == CLOSE:
                client.close()
                raise EOFError("closed")
            return int(found.payload)

        return send

    return make


def by_http(server: Server) -> Callable[[str], Callable[[bytes], int]]:
    def make(channel: str) -> Callable[[bytes], int]:
        def send(payload: bytes) -> int:
            connection = http.client.HTTPConnection(*server.address, timeout=20)
            try:
                connection.request("POST", f"/post?channel={channel}", payload, {"Connection": "close"})
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    raise OSError(f"{response.status} {body[:100]!r}")
                return int(body)
            finally:
                connection.close()

        return send

    return make


def from_outside(path: str) -> Callable[[str], Callable[[bytes], int]]:
    def make(channel: str) -> Callable[[bytes], int]:
        remote = RemoteChannels(path)
        return lambda payload: remote.publish(channel, payload)

    return make


def _read(client: RawClient) -> Frame:
    """The next frame that is no ping, which is answered, and no pong, by which the server shows that it lives."""
    while (found := client.read_frame()).opcode in (PING, PONG):
        if found.opcode == PING:
            client.send(PONG, found.payload)
    return found


def _upgraded(server: Server, path: str) -> RawClient:
    try:
        return RawClient.upgrade(server, path)
    except AssertionError as error:  # 503 of a worker that leaves
        raise OSError(str(error)) from None
