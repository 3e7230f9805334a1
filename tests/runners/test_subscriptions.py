"""An application as a member of channels, under every runner: a task takes messages, and waits as its runner does."""

from __future__ import annotations

import json
import select
from collections.abc import Callable

import pytest
from support.channel_member import Connect, Member, soon
from support.raw_client import TEXT, Frame, RawClient
from support.runners import Runner, every_runner
from support.server import TIMEOUT_S, Server

pytestmark = every_runner


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("channel_pages.py")


def test_an_iteration_takes_what_comes_and_ends_with_the_subscription(
    server: Server, connect: Connect, upgrade: Callable[..., RawClient], token: str
) -> None:
    forwarder, publisher = upgrade(server, f"/forwards?{token}&{token}"), connect(server)
    assert forwarder.read_data() == Frame(TEXT, b"subscribed")
    for data in ("one", {"hex": "00ff"}, "stop"):
        publisher.ask("publish", token, data)
    first = publisher.ask("history", token)[0][0]
    assert [forwarder.read_data().payload.decode() for _ in range(4)] == [
        f"{first} 'one'", f"{first + 1} b'\\x00\\xff'", f"{first + 2} 'stop'", "over",
    ]  # fmt: skip
    assert publisher.ask("members", token) == 0


def test_receive_waits_for_its_time_and_takes_what_is_there(server: Server, connect: Connect, token: str) -> None:
    one, other = connect(server), connect(server)
    one.ask("subscribe", token, token)
    assert one.ask("take_nowait", token) is None
    message, took = one.ask("take", token, 0.2)
    assert message is None and 0.19 < took < 10
    assert one.ask("take", token, 0)[0] is None
    one.tell("take", token)
    offset = other.ask("publish", token, "woken")
    assert one.answer()[0] == [offset, "woken"]
    one.tell("take", token, 20)
    other.ask("publish", token, "in time")
    message, took = one.answer()
    assert message == [offset + 1, "in time"] and took < 19
    assert one.ask("take", token, -1)["raised"] == "ValueError"
    one.ask("end", token)


def test_a_subscription_with_an_offset_begins_in_the_past(server: Server, connect: Connect, token: str) -> None:
    client = connect(server)
    offsets = [client.ask("publish", token, f"m{number}") for number in range(5)]
    assert client.ask("subscribe", token, token, offsets[1]) == [token, offsets[1], 0]
    client.ask("publish", token, "m5")
    soon(lambda: client.ask("members", token), 1)
    assert [client.ask("take", token)[0][1] for _ in range(4)] == ["m2", "m3", "m4", "m5"]
    client.ask("end", token)


def test_close_wakes_a_task_that_waits(server: Server, connect: Connect, token: str) -> None:
    client = connect(server)
    with RawClient(server.connect()) as waiting:
        head = f"GET /waits?{token}&{token} HTTP/1.1\r\nHost: {server.host_header}\r\nConnection: close\r\n\r\n"
        waiting.send_bytes(head.encode())
        server.note(token)
        client.ask("close", token)
        assert waiting.read_response().status == 200
    found, again = json.loads(server.wait_for_line(rf"^note:{token}-end (.*)")[1])
    for one in (found, again):
        assert (one["raised"], one["text"]) == ("RuntimeError", "the subscription is closed")


def test_what_has_come_before_the_close_can_still_be_taken(server: Server, connect: Connect, token: str) -> None:
    client = connect(server)
    client.ask("subscribe", token, token)
    client.joins(token)
    client.ask("publish", token, "one")
    client.ask("publish", token, "two")
    assert [client.read().payload for _ in range(2)] == [b"one", b"two"]
    client.ask("close", token)
    assert [data for _, data in client.ask("take_all", token)] == ["one", "two"]
    assert client.ask("take_nowait", token)["raised"] == "RuntimeError"


@pytest.mark.parametrize(("drops", "left"), [("newest", [0, 1, 2]), ("oldest", [7, 8, 9])])
def test_a_full_subscription_drops_and_counts(
    server: Server, connect: Connect, token: str, drops: str, left: list[int]
) -> None:
    client = connect(server)
    client.ask("subscribe", token, token, limit=3, drops=drops)
    client.joins(token)  # behind the subscription: what has come here has come there
    client.ask("publish_many", token, 10, 1)
    for _ in range(10):
        client.read()
    assert client.ask("missed_by", token) == 7
    assert [client.ask("take_nowait", token)[1].split()[0] for _ in left] == [str(number) for number in left]
    assert client.ask("take_nowait", token) is None
    client.ask("publish", token, "room again")
    assert client.ask("take", token)[0][1] == "room again"
    assert client.ask("missed_by", token) == 7
    client.ask("end", token)


def test_subscriptions_in_threads_that_a_request_has_started_get_everything_each(
    server: Server, connect: Connect, upgrade: Callable[..., RawClient], token: str
) -> None:
    client, publisher = upgrade(server, f"/threads_take?{token}&{token}"), connect(server)
    assert client.read_data() == Frame(TEXT, b"subscribed")
    publisher.ask("publish", token, "first")
    publisher.ask("publish", token, "second")
    client.send_text("now collect")
    assert server.note(token)["found"] == {str(number): ["first", "second", None] for number in range(3)}


def test_subscriptions_in_threads_that_are_greenlets_wait_in_gevents_way(
    upgrade: Callable[..., RawClient], token: str
) -> None:
    with Server.start("channel_pages.py", "--gevent", "20", "--gevent-monkey-patch") as server:
        client, publisher = upgrade(server, f"/threads_take?{token}&{token}"), Member(upgrade(server, "/talks"))
        assert client.read_data() == Frame(TEXT, b"subscribed")
        publisher.ask("publish", token, "first")
        publisher.ask("publish", token, "second")
        client.send_text("now collect")
        assert server.note(token)["found"] == {str(number): ["first", "second", None] for number in range(3)}
        client.close()
        publisher.client.close()


def test_two_tasks_cannot_wait_for_one_subscription(server: Server, connect: Connect, token: str) -> None:
    members = [connect(server) for _ in range(2)]
    publisher = connect(server)
    publisher.ask("subscribe", token, token)
    for member in members:
        member.tell("take", token)
    # Which of them comes second nobody knows; that one is answered at once.
    readable, _, _ = select.select([member.client.socket for member in members], [], [], TIMEOUT_S)
    (refused,) = (member for member in members if member.client.socket in readable)
    found = refused.answer()
    assert found["raised"] == "RuntimeError" and "another task is waiting" in found["text"]
    offset = publisher.ask("publish", token, "for the first")
    (first,) = (member for member in members if member is not refused)
    assert first.answer()[0] == [offset, "for the first"]


def test_a_runner_is_told_of_a_stop_while_tasks_wait_for_messages(
    start: Callable[..., Server], runner: Runner, upgrade: Callable[..., RawClient], token: str
) -> None:
    server = start("channel_pages.py", "--reload-mercy", "1")
    with RawClient(server.connect()) as waiting:
        head = f"GET /waits?{token}&{token} HTTP/1.1\r\nHost: {server.host_header}\r\n\r\n"
        waiting.send_bytes(head.encode())
        server.note(token)
        server.stop()
    cut = [line for line in server.lines if "not all of it has ended" in line]
    assert bool(cut) == (runner.name == "threads"), "a thread cannot be ended from outside; other tasks can"
