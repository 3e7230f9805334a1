"""Many WebSocket clients in one thread: they answer pings or play dead, and count what they see.

For tests that watch a thousand connections at once; one selector reads all, and a crowd keeps a few numbers for each
client and no more.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable

from support.raw_client import CLOSE, PING, PONG, RawClient, frame, handshake_request
from support.server import Server


class Member:
    """One client. A dead one reads nothing and answers nothing, but its kernel still acknowledges."""

    def __init__(self, client: RawClient, is_alive: bool) -> None:
        self.client = client
        self.is_alive = is_alive
        self.pings = 0
        self.is_open = False
        self.closed_after_s: float | None = None


class Crowd:
    """Connects `count` clients, the first `dead` of which never answer; a context manager."""

    def __init__(self, server: Server, path: str, count: int, dead: int) -> None:
        self.members: list[Member] = []
        self._selector = selectors.DefaultSelector()
        self._began = time.monotonic()
        request = handshake_request(server.host_header, path)
        for number in range(count):
            client = RawClient(server.connect())
            client.send_bytes(request)
            member = Member(client, is_alive=number >= dead)
            self.members.append(member)
            client.socket.setblocking(False)
            self._selector.register(client.socket, selectors.EVENT_READ, member)

    def watch_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Serve all clients until `condition` holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
            for key, _ in self._selector.select(0.05):
                self._read(key.data)

    def _read(self, member: Member) -> None:
        client = member.client
        try:
            is_open = client.read_some()
        except BlockingIOError:
            return
        except ConnectionError:
            is_open = False
        if not member.is_open and b"\r\n\r\n" in client.buffer:
            assert client.read_response().status == 101
            member.is_open = True
        while member.is_open and len(client.buffer) >= 2 and len(client.buffer) >= 2 + client.buffer[1]:
            found = client.read_frame()
            assert found.opcode in (PING, PONG, CLOSE), found
            if found.opcode == PING:
                member.pings += 1
                if member.is_alive:
                    client.send_bytes(frame(PONG, found.payload))
        if not is_open:
            member.closed_after_s = time.monotonic() - self._began
            self._selector.unregister(client.socket)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.client.close()
        self._selector.close()
