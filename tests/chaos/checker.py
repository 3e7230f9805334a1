"""What a chaos run has to keep, held against the logs of all its clients: no message torn, doubled, lost untold, or out
of order, whatever was killed, stopped, starved or forked meanwhile.

Pure: it knows no server and no time. A publisher notes what it sends and which offset it was told; a client notes, for
each connection, where its membership began and what came, in order. The promises are those of docs/howto/channels.md.
The checker is a test's judge, so it has a test of its own, which plants a fault of each kind in a good run.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Message", "Published", "Sitting", "Stop", "check", "children", "payload_of"]

#: In a shorter stop a busy machine alone may keep everybody from an answer.
_SHORT_STOP_S = 1.5

_CHILD = re.compile(r"(child-\d+) (begins|failed|published)\b[: ]*(.*)")
_PAYLOAD = re.compile(rb"(\S+) (\S+) (\d+) (\d+) (\d+)\n(.*)", re.DOTALL)


class Message(NamedTuple):
    """What a payload says of itself."""

    channel: str
    publisher: str
    serial: int


@dataclass
class Published:
    """One call of publish. `offset` is what it was told; None if no answer came, so that it may be there or not."""

    message: Message
    offset: int | None = None
    #: When the answer came, by a clock that only goes forward; None where nobody has noted it.
    told_at: float | None = None


class Stop(NamedTuple):
    """A process that was stopped, and from when to when, by the same clock."""

    pid: int
    begins: float
    ends: float


@dataclass
class Sitting:
    """One membership of a client, from its join to the end of its connection."""

    client: str
    channel: str
    #: The last offset that it has, as it told the server; None for a client that wants what comes.
    since: int | None
    #: Where the membership begins: the first message has a larger offset.
    begins: int
    #: What the server has told of messages behind `since` that are gone; None: it does not know.
    missed: int | None = 0
    received: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The last offset that the client has."""
        if self.received:
            return self.received[-1][0]
        return self.begins if self.since is None else self.since


def payload_of(message: Message, padding: bytes = b"") -> bytes:
    """A payload that a torn, mixed or cut copy does not pass for."""
    head = f"{message.channel} {message.publisher} {message.serial}"
    return f"{head} {len(padding)} {zlib.crc32(head.encode() + padding)}\n".encode() + padding


def message_in(payload: bytes) -> Message | None:
    """The message; None if the payload is not whole."""
    found = _PAYLOAD.fullmatch(payload)
    if found is None:
        return None
    channel, publisher, serial, length, checksum, padding = found.groups()
    head = b" ".join((channel, publisher, serial))
    if int(length) != len(padding) or int(checksum) != zlib.crc32(head + padding):
        return None
    return Message(channel.decode(), publisher.decode(), int(serial))


def check(
    published: Iterable[Published],
    sittings: Iterable[Sitting],
    ends: Mapping[str, int],
    unlogged: Iterable[str] = (),
    stops: Iterable[Stop] = (),
) -> list[str]:
    """Every broken promise in a sentence; none for a good run.

    `sittings` in the order in which each client had them; `ends` is the last offset of each channel that every client
    must have got by its last sitting; `unlogged` are publishers whose sends nobody has noted, by how their names begin;
    `stops` are the processes that were stopped, during which others publish on.
    """
    sittings, published = list(sittings), list(published)
    log = _Log()
    found: list[str] = []
    for sitting in sittings:
        found += _of_one(sitting)
        found += log.add(sitting)
    found += log.doubled() + log.out_of_order()
    found += _against(published, log, tuple(unlogged))
    found += _between(sittings, ends)
    found += _held_up(published, stops)
    return found


def children(lines: Iterable[str]) -> tuple[list[Published], list[str]]:
    """What forked children say in the log that they have published, and what is wrong with them in a sentence each."""
    begun: set[str] = set()
    published: list[Published] = []
    found: list[str] = []
    for line in lines:
        said = _CHILD.search(line)
        if said is None:
            continue
        name, what, rest = said.groups()
        if what == "begins":
            begun.add(name)
            continue
        begun.discard(name)
        if what == "failed":
            found.append(f"a forked child: {name} could not publish: {rest}")
            continue
        for one in rest.split():
            channel, serial, offset = one.split(":")
            published.append(Published(Message(channel, name, int(serial)), int(offset)))
    return published, found + [f"a forked child: {name} has not ended" for name in sorted(begun)]


class _Log:
    """Of each channel, what all clients together have seen: one message at each offset."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], Message] = {}
        self.offsets: dict[Message, set[int]] = defaultdict(set)

    def add(self, sitting: Sitting) -> list[str]:
        found = []
        for offset, payload in sitting.received:
            message = message_in(payload)
            if message is None:
                continue
            before = self.at.setdefault((sitting.channel, offset), message)
            if before != message:
                place = f"offset {offset} of {sitting.channel}"
                found.append(f"two messages at {place}: {before} and, for {sitting.client}, {message}")
            self.offsets[message].add(offset)
        return found

    def doubled(self) -> list[str]:
        return [
            f"doubled: {message} is in the channel at the offsets {sorted(offsets)}"
            for message, offsets in self.offsets.items()
            if len(offsets) > 1
        ]

    def out_of_order(self) -> list[str]:
        """One publisher sends one message after the other, so its serials and their offsets grow together."""
        found = []
        last: dict[tuple[str, str], tuple[int, int]] = {}
        for (channel, offset), message in sorted(self.at.items()):
            serial, before = last.get((channel, message.publisher), (-1, -1))
            if message.serial < serial:
                found.append(
                    f"out of order: {channel} has {message.publisher}'s {serial} at {before} and its {message.serial} "
                    f"behind it at {offset}"
                )
            last[channel, message.publisher] = message.serial, offset
        return found


def _of_one(sitting: Sitting) -> list[str]:
    """What one connection brought, by itself."""
    who = f"{sitting.client} in {sitting.channel}"
    found = []
    if sitting.since is not None and sitting.missed is None:
        found.append(f"forgotten: {who} came back behind {sitting.since}, and the server does not know that offset")
    before = sitting.begins
    if sitting.since is not None and sitting.missed is not None:
        before = sitting.since + sitting.missed
    for offset, payload in sitting.received:
        message = message_in(payload)
        if message is None:
            found.append(f"torn: {who} got {payload[:60]!r} ({len(payload)} bytes) at {offset}")
        elif message.channel != sitting.channel:
            found.append(f"astray: {who} got {message} at {offset}")
        if offset == before:
            found.append(f"doubled: {who} got offset {offset} twice")
        elif offset < before:
            found.append(f"out of order: {who} got offset {offset} behind {before}")
        elif offset > before + 1 and (sitting.missed is not None or before != sitting.begins):
            found.append(f"lost untold: {who} got {offset} behind {before}")
        before = max(before, offset)
    return found


def _between(sittings: list[Sitting], ends: Mapping[str, int]) -> list[str]:
    """From one connection of a client to its next, and to the end."""
    found = []
    by_client: dict[tuple[str, str], list[Sitting]] = defaultdict(list)
    for sitting in sittings:
        by_client[sitting.client, sitting.channel].append(sitting)
    for (client, channel), own in by_client.items():
        for one, following in zip(own, own[1:]):
            if following.since != one.last:
                found.append(f"the run itself: {client} had {one.last} of {channel} and asked behind {following.since}")
        if channel in ends and own[-1].last < ends[channel]:
            found.append(f"lost untold: {client} ended at {own[-1].last} of {channel}, which goes to {ends[channel]}")
    return found


def _held_up(published: list[Published], stops: Iterable[Stop]) -> list[str]:
    """A process that is stopped stops no other, unless it has the channels' lock just then: one stop in some 1,000."""
    told = sorted(one.told_at for one in published if one.told_at is not None)
    found = []
    for stop in stops:
        inside = bisect_right(told, stop.ends) - bisect_left(told, stop.begins)
        if stop.ends - stop.begins > _SHORT_STOP_S and inside == 0:
            lasted = stop.ends - stop.begins
            found.append(
                f"held up: process {stop.pid} was stopped for {lasted:.1f} s, and nobody else was told an offset"
            )
    return found


def _against(published: list[Published], log: _Log, unlogged: tuple[str, ...]) -> list[str]:
    """What publishers know against what clients saw."""
    found = []
    sent = {one.message for one in published}
    for one in published:
        if one.offset is None:
            continue
        place = (one.message.channel, one.offset)
        if place in log.at and log.at[place] != one.message:
            found.append(f"misplaced: {one.message} was told {one.offset}, where {log.at[place]} is")
        elif one.message in log.offsets and one.offset not in log.offsets[one.message]:
            found.append(f"misplaced: {one.message} was told {one.offset} and is at {log.offsets[one.message]}")
    for message in log.offsets:
        if message not in sent and not message.publisher.startswith(unlogged or ("\0",)):
            found.append(f"invented: nobody has published {message}")
    return found
