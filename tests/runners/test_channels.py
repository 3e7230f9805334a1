"""Channels: who gets what, in which order, and what a member is told that it missed.

The engine delivers, so an application's wait or computation delays nobody; a task that takes messages itself waits in
its runner's way. The app (channel_pages.py) does what a test's clients tell it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from end_to_end.http_wire import get
from support.channel_member import MARK, Connect, Member, soon
from support.raw_client import BINARY, TEXT, Frame, RawClient
from support.runners import every_read_path, every_runner, one_runner
from support.server import Server

pytestmark = every_read_path


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("channel_pages.py")


# -- members


@every_runner
def test_what_one_client_publishes_reaches_all_members_and_itself_in_order(
    server: Server, connect: Connect, token: str
) -> None:
    members = [connect(server) for _ in range(20)]
    for member in members:
        assert member.joins(token)["missed"] == 0
    stranger = connect(server)
    offsets = [members[0].ask("publish", token, f"m{number}") for number in range(50)]
    assert offsets == list(range(offsets[0], offsets[0] + 50))
    for member in members:
        assert [member.read() for _ in range(50)] == [Frame(TEXT, b"m%d" % number) for number in range(50)]
    stranger.ask("publish", f"{token}-other", "for nobody")
    assert stranger.ask("members", token) == 20
    assert stranger.frames == []


def test_text_stays_text_and_binary_binary(server: Server, connect: Connect, token: str) -> None:
    member = connect(server)
    member.joins(token)
    for data in ("grüße", {"hex": "00ff80"}, "", {"hex": ""}):
        member.ask("publish", token, data)
    wanted = [Frame(TEXT, "grüße".encode()), Frame(BINARY, b"\x00\xff\x80"), Frame(TEXT, b""), Frame(BINARY, b"")]
    assert [member.read() for _ in wanted] == wanted
    assert [data for _, data in member.ask("history", token)] == ["grüße", {"hex": "00ff80"}, "", {"hex": ""}]


def test_a_client_is_in_several_channels_and_leaves_them_one_by_one(
    server: Server, connect: Connect, token: str
) -> None:
    one, other = f"{token}-1", f"{token}-2"
    member, publisher = connect(server), connect(server)
    member.joins(one)
    member.joins(other)
    assert member.ask("leave", one) is True
    assert member.ask("leave", one) is False
    publisher.ask("publish", one, "not for it")
    publisher.ask("publish", other, "for it")
    assert member.read() == Frame(TEXT, b"for it")
    member.joins(one)
    publisher.ask("publish", one, "again for it")
    assert member.read() == Frame(TEXT, b"again for it")


def test_joining_twice_is_one_membership_which_stays_as_it_was(server: Server, connect: Connect, token: str) -> None:
    member = connect(server)
    member.joins(token)
    offset = member.ask("publish", token, "once")
    assert member.read() == Frame(TEXT, b"once")
    again = member.joins(token, 0, offsets=True)
    assert again == {"offset": offset, "replayed": 0, "missed": 0}
    assert member.ask("members", token) == 1
    member.ask("publish", token, "plain")
    assert member.read() == Frame(TEXT, b"plain")


@every_runner
def test_members_counts_clients_and_subscriptions_until_they_go(server: Server, connect: Connect, token: str) -> None:
    watcher, *members = [connect(server) for _ in range(4)]
    assert watcher.ask("members", token) == 0
    for member in members:
        member.joins(token)
    watcher.ask("subscribe", token, token)
    assert watcher.ask("members", token) == 4
    members[0].ask("leave", token)
    assert watcher.ask("members", token) == 3
    watcher.ask("end", token)
    assert watcher.ask("members", token) == 2
    members[1].client.close_in_order()
    members[2].client.abort()
    soon(lambda: watcher.ask("members", token), 0)


def test_a_client_that_has_begun_to_close_gets_nothing_more(server: Server, connect: Connect, token: str) -> None:
    member, publisher = connect(server), connect(server)
    member.joins(token)
    member.client.send_close(1000)
    assert member.client.read_close()[0] == 1000
    publisher.ask("publish", token, "too late")
    member.client.read_end()


@every_runner
def test_publish_needs_no_request(server: Server, connect: Connect, token: str) -> None:
    member = connect(server)
    member.joins(token)
    get(server, f"/outside?{token}&{token}")
    assert server.note(token)["found"]["type"] == "int"
    assert member.read() == Frame(TEXT, b"from a pool")


@every_runner
def test_a_thread_that_no_request_has_started_publishes_and_subscribes(
    server: Server, connect: Connect, token: str
) -> None:
    member = connect(server)
    member.joins(f"{token}-answer")
    # The thread runs since the application was imported.
    member.ask("hand_over", token)
    soon(lambda: member.ask("members", token), 1)
    member.ask("publish", token, "is it there?")
    assert member.read() == Frame(TEXT, b"IS IT THERE?")


@every_runner
def test_join_after_the_end_raises_and_makes_no_member(
    server: Server, connect: Connect, upgrade: Callable[..., RawClient], token: str
) -> None:
    client = upgrade(server, f"/joins_late?{token}&{token}")
    assert client.read_close()[0] == 1000
    client.send_close(1000)
    found = server.note(token)
    assert found["join"]["raised"] == "ConnectionClosed"
    assert (found["leave"], found["members"]) == (False, 0)


# -- the past


@one_runner
def test_history_is_what_was_published_by_limit_and_by_offset(server: Server, connect: Connect, token: str) -> None:
    client = connect(server)
    assert client.ask("history", token) == []
    offsets = [client.ask("publish", token, f"m{number}") for number in range(10)]
    everything = [[offset, f"m{number}"] for number, offset in enumerate(offsets)]
    assert client.ask("history", token) == everything
    assert client.ask("history", token, limit=3) == everything[-3:]
    assert client.ask("history", token, offsets[4]) == everything[5:]
    assert client.ask("history", token, since=offsets[4], limit=2) == everything[5:7]
    assert client.ask("history", token, offsets[-1]) == []
    assert client.ask("history", token, limit=0) == []


def test_join_with_an_offset_replays_what_came_behind_it_and_goes_on_live(
    server: Server, connect: Connect, token: str
) -> None:
    publisher, member = connect(server), connect(server)
    offsets = [publisher.ask("publish", token, f"m{number}") for number in range(10)]
    joined = member.joins(token, offsets[3])
    assert joined == {"offset": offsets[3], "replayed": 6, "missed": 0}
    publisher.ask("publish", token, "live")
    assert [member.read().payload for _ in range(7)] == [*(b"m%d" % number for number in range(4, 10)), b"live"]


def test_join_while_others_publish_leaves_no_gap_and_repeats_nothing(
    both: Callable[..., list[Member]], token: str
) -> None:
    publisher, _, *joining = both()
    first = publisher.ask("publish", token, "begins")
    count = 3000
    publisher.tell("publish_many", token, count, 10)
    for member in joining:
        member.joins(token, first, offsets=True)
    assert publisher.answer() == [first + 1, first + count]
    for member in joining:
        assert member.read().payload == MARK + f"joined {first} 0 {token}\n".encode()
        for number in range(count):
            offset, _, data = member.read_numbered()
            assert (offset, data.split()[0]) == (first + 1 + number, b"%d" % number)


def test_with_offsets_each_message_says_its_own_and_its_channel(server: Server, connect: Connect, token: str) -> None:
    channel = f"{token} grüße"
    member = connect(server)
    before = member.ask("publish", channel, "before")
    assert member.joins(channel, offsets=True) == {"offset": before, "replayed": 0, "missed": 0}
    member.ask("publish", channel, "text\nof two lines")
    member.ask("publish", channel, {"hex": "1eff"})
    head = MARK + b"%d " + channel.encode() + b"\n"
    assert [member.read() for _ in range(3)] == [
        Frame(TEXT, MARK + f"joined {before} 0 {channel}\n".encode()),
        Frame(TEXT, head % (before + 1) + b"text\nof two lines"),
        Frame(BINARY, head % (before + 2) + b"\x1e\xff"),
    ]


@every_runner
def test_heartbeats_come_to_clients_that_see_offsets_and_to_nobody_else(
    serve: Callable[..., Server], connect: Connect, token: str
) -> None:
    server = serve("channel_pages.py", "--channels-heartbeat", "0.2")
    sees, plain, none = (connect(server) for _ in range(3))
    plain.joins(token)
    begun = time.monotonic()
    sees.tell("join", token, offsets=True)
    beat = Frame(TEXT, MARK + f"0 {token}\n0.2".encode())
    found = [sees.client.read_data() for _ in range(3)]
    assert found[1] == beat or found[2] == beat, found  # the first one right behind the notice, around the answer
    assert [sees.client.read_data() for _ in range(5)] == [beat] * 5
    assert time.monotonic() - begun > 0.9
    for other in (plain, none):
        assert other.ask("members", token) == 2
        assert other.frames == []


@one_runner
def test_heartbeats_can_be_switched_off(serve: Callable[..., Server], connect: Connect, token: str) -> None:
    member = connect(serve("channel_pages.py", "--channels-heartbeat", "0"))
    member.tell("join", token, offsets=True)
    member.tell("publish", token, "x")
    found = [member.client.read_data().payload for _ in range(4)]
    assert [one for one in found if one.startswith(MARK + b"0")] == []


@one_runner
def test_what_was_overwritten_is_counted_and_an_offset_of_another_run_is_unknown(
    serve: Callable[..., Server], connect: Connect, token: str
) -> None:
    server = serve("channel_pages.py", "--channels-memory", "1", "--channels-max-message", "64")
    publisher, late, foreign, subscriber = (connect(server) for _ in range(4))
    first, last = publisher.ask("publish_many", token, 60, 50_000)
    kept = publisher.ask("history", token)
    assert 5 < len(kept) < 60 and kept[-1][0] == last
    lost = kept[0][0] - first - 1
    assert late.joins(token, first, offsets=True) == {"offset": kept[0][0] - 1, "replayed": len(kept), "missed": lost}
    assert late.read().payload == MARK + f"joined {kept[0][0] - 1} {lost} {token}\n".encode()
    assert [late.read_numbered()[0] for _ in kept] == [offset for offset, _ in kept]
    found = foreign.joins(token, 5, offsets=True)
    assert (found["replayed"], found["missed"]) == (len(kept), None)
    assert foreign.read().payload == MARK + f"joined {kept[0][0] - 1} ? {token}\n".encode()
    assert subscriber.ask("subscribe", token, token, first) == [token, kept[0][0] - 1, lost]
    assert subscriber.ask("take", token)[0][0] == kept[0][0]


@one_runner
@pytest.mark.parametrize("since", [-1, 2**64, -(2**70)])
def test_an_offset_that_none_can_be_is_one_of_another_run(
    server: Server, connect: Connect, token: str, since: int
) -> None:
    """Applications pass on what a client says."""
    client = connect(server)
    offset = client.ask("publish", token, "one")
    assert client.ask("history", token, since) == [[offset, "one"]]
    assert client.joins(token, since) == {"offset": offset - 1, "replayed": 1, "missed": None}
    assert client.ask("subscribe", token, token, since) == [token, offset - 1, None]
    client.ask("end", token)


# -- mistakes


@one_runner
def test_a_bad_name_or_message_is_refused_and_nothing_is_published(
    serve: Callable[..., Server], connect: Connect, token: str
) -> None:
    server = serve("channel_pages.py", "--channels-max-message", "64")
    client = connect(server)
    client.joins(token)
    for name in ("", "n" * 256, "é" * 128, "two\nlines", "nul\0", "\x7f"):
        for command in (("publish", name, "x"), ("join", name), ("subscribe", token, name), ("history", name)):
            found = client.ask(*command)
            assert isinstance(found, dict) and found["raised"] == "ValueError", (command, found)
            assert "a channel's name" in found["text"]
    for name in ("n" * 255, "é" * 127):
        assert client.ask("join", name)["missed"] == 0
    for data in ("x" * 65_537, {"hex": "00" * 65_537}, "é" * 32_769):
        found = client.ask("publish", token, data)
        assert found["raised"] == "ValueError" and "65536 are allowed" in found["text"]
    longest = client.ask("publish", token, "x" * 65_536)
    assert client.read() == Frame(TEXT, b"x" * 65_536)
    assert client.ask("history", token) == [[longest, "x" * 65_536]]


@one_runner
def test_wrong_types_and_values_are_named(server: Server, connect: Connect, token: str) -> None:
    client = connect(server)
    for command in (("publish", 1, "x"), ("publish", token, None), ("publish", token, 1), ("join", None)):
        assert client.ask(*command)["raised"] == "TypeError", command
    assert client.ask("publish", token, "\ud800")["raised"] == "UnicodeEncodeError"
    found = client.ask("join", token, slow_consumer="drop")
    assert found["raised"] == "ValueError" and "drop-newest" in found["text"]
    found = client.ask("subscribe", token, token, drops="all")
    assert found["raised"] == "ValueError" and "newest" in found["text"]
    assert client.ask("members", token) == 0
    assert client.ask("history", token) == []
