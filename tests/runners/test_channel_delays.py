"""Who may delay messages of channels, under every runner: nobody but a client for itself.

The engine delivers. An application that computes holds up no message, and neither does a client that does not read;
what becomes of that one is its own choice, or the operator's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from support.channel_member import Connect, Member
from support.raw_client import CLOSE, TEXT, Frame, RawClient, handshake_request
from support.runners import every_read_path, every_runner
from support.server import TIMEOUT_S, Server

pytestmark = every_runner


def test_two_workers_publish_to_each_other(both: Callable[..., list[Member]], token: str) -> None:
    one, one_too, other, other_too = members = both()
    for member in members:
        member.joins(token)
    other.ask("subscribe", token, token)
    assert one.ask("members", token) == 5
    offset = one.ask("publish", token, "from one")
    assert other.ask("publish", token, "from the other") == offset + 1
    for member in (one, one_too, other, other_too):
        assert [member.read().payload for _ in range(2)] == [b"from one", b"from the other"]
    assert [other.ask("take", token)[0] for _ in range(2)] == [[offset, "from one"], [offset + 1, "from the other"]]
    assert one_too.ask("history", token) == [[offset, "from one"], [offset + 1, "from the other"]]
    other.ask("end", token)


@pytest.mark.alone
def test_an_application_that_computes_delays_no_message(both: Callable[..., list[Member]], token: str) -> None:
    computing, neighbour, elsewhere, publisher = members = both()
    for member in members:
        member.joins(token)
    began = time.monotonic()
    computing.tell("publish_and_compute", token, "before", 2.0)
    for member in members:
        assert member.read() == Frame(TEXT, b"before")
    publisher.ask("publish", token, "meanwhile")
    for member in (computing, neighbour, elsewhere):
        assert member.read() == Frame(TEXT, b"meanwhile")
    took = time.monotonic() - began
    assert computing.answer() == "computed"
    assert took < 1.5, "it computes for 2 s"


# -- slow clients

COUNT, SIZE = 400, 32 * 1024


@pytest.fixture
def slow(
    serve: Callable[..., Server], connect: Connect, token: str
) -> Callable[[str | None], tuple[Member, int, int, int]]:
    """A client that joined with this policy and read nothing while 13 MB came: it, what it missed, the offsets."""

    def make(policy: str | None) -> tuple[Member, int, int, int]:
        server = serve("channel_pages.py", "--channels-backlog", "128")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(TIMEOUT_S)
        connection.connect(server.address)
        client = RawClient(connection)
        client.send_bytes(handshake_request(server.host_header, "/talks"))
        assert client.read_response().status == 101
        member, quick, publisher = Member(client), connect(server), connect(server)
        member.ask("keep", token)
        member.joins(token, offsets=True, slow_consumer=policy)
        member.read()
        # It joined behind the other, so what has come to it has been decided on for the other.
        quick.joins(token)
        publisher.tell("publish_many", token, COUNT, SIZE, 0.0005)
        for _ in range(COUNT):
            quick.read()
        first, last = publisher.answer()
        missed = publisher.ask("missed_by", token)
        return member, missed, first, last

    return make


@every_read_path
@pytest.mark.parametrize("policy", ["close", None])
def test_a_slow_consumer_is_closed_with_1013(
    slow: Callable[[str | None], tuple[Member, int, int, int]], policy: str | None
) -> None:
    member, missed, first, _ = slow(policy)
    assert missed > 0
    wanted = first
    while (found := member.read()).opcode != CLOSE:
        assert int(found.payload[1:].split()[0]) == wanted, "a gap before the Close"
        wanted += 1
    assert found.payload[:2] == (1013).to_bytes(2, "big")
    assert found.payload[2:].startswith(b"slow consumer")


@every_read_path
@pytest.mark.parametrize("policy", ["drop-newest", "drop-oldest"])
def test_a_slow_consumer_that_asked_for_it_misses_messages_and_stays(
    slow: Callable[[str | None], tuple[Member, int, int, int]], token: str, policy: str
) -> None:
    member, missed, first, last = slow(policy)
    assert 0 < missed < COUNT
    offsets = [member.read_numbered()[0] for _ in range(COUNT - missed)]
    assert offsets == sorted(set(offsets)) and offsets[0] == first
    # Of the others, the last has come if Linux has made a little room for it by then, as it does now and then.
    assert offsets[-1] == last or policy == "drop-newest"
    after = member.ask("publish", token, "it keeps up again")
    assert member.read_numbered() == (after, token, b"it keeps up again")
    assert member.ask("missed_by", token) == missed
