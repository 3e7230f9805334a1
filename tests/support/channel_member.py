"""A client of `/talks` of apps/channel_pages.py: it commands, and keeps what channels bring apart from answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from support.raw_client import TEXT, Frame, RawClient
from support.server import TIMEOUT_S, Server

__all__ = ["MARK", "Connect", "Member", "is_heartbeat", "soon"]

#: How a frame with offsets begins.
MARK = b"\x1e"


def is_heartbeat(payload: bytes) -> bool:
    """True if the frame only says that the server lives: a message of a channel with the offset 0."""
    return payload.startswith(MARK + b"0 ")


class Member:
    """A client of `/talks`: what a channel brought is kept apart from answers, and heartbeats are dropped."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.frames: list[Frame] = []

    def tell(self, command: str, *arguments: Any, **keywords: Any) -> None:
        """Send a command, and do not wait for its answer."""
        self.client.send_text(json.dumps([command, arguments, keywords]))

    def answer(self) -> Any:
        while True:
            found = self.client.read_data()
            if found.opcode == TEXT and found.payload[:1] == b"=":
                return json.loads(found.payload[1:])
            if not is_heartbeat(found.payload):
                self.frames.append(found)

    def ask(self, command: str, *arguments: Any, **keywords: Any) -> Any:
        self.tell(command, *arguments, **keywords)
        return self.answer()

    def read(self) -> Frame:
        """The next frame that a channel brought."""
        if self.frames:
            return self.frames.pop(0)
        while is_heartbeat((found := self.client.read_data()).payload):
            pass
        return found

    def read_numbered(self) -> tuple[int, str, bytes]:
        """Offset, channel and payload of a frame with offsets."""
        payload = self.read().payload
        assert payload[:1] == MARK, payload[:40]
        line, _, data = payload[1:].partition(b"\n")
        offset, _, channel = line.decode().partition(" ")
        return int(offset), channel, data

    def joins(self, channel: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("join", channel, *arguments, **keywords)
        assert "raised" not in found, found
        return found


Connect = Callable[[Server], Member]


def soon(ask: Callable[[], Any], wanted: Any) -> None:
    """What `ask` answers becomes `wanted`. Each question is a round trip, so nothing spins."""
    ends = time.monotonic() + TIMEOUT_S
    while (found := ask()) != wanted:
        assert time.monotonic() < ends, found
