"""A process is stopped while it holds the lock of the channels' region: only who wants to write waits, in its own task;
when the process goes on or dies, all is as before."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairlead import channels
from support.raw_client import RawClient
from support.region_lock import StoppedHolder
from support.runners import Runner, every_runner
from support.server import TIMEOUT_S, Server

pytestmark = pytest.mark.alone

APP = Path(__file__).parent.parent / "support" / "apps" / "channel_lock.py"

#: What is not held up takes far less, on any machine; one wait for the lock takes `channel_lock.py` a second.
SOON_S = 0.8


@pytest.fixture
def region(tmp_path: Path) -> Path:
    return tmp_path / "region"


@pytest.fixture
def holders() -> Iterator[list[StoppedHolder]]:
    made: list[StoppedHolder] = []
    yield made
    for holder in made:
        holder.die()


def start(runner: Runner, region: Path, *options: str) -> Server:
    return Server.start(APP, *runner.options, "--channels-file", str(region), "--disable-logging", *options)


def ask(client: RawClient, text: str) -> str:
    client.send_text(text)
    return client.read_data().payload.decode()


def enter(server: Server) -> RawClient:
    client = RawClient.upgrade(server, "/room")
    assert client.read_data().payload == b"joined"
    return client


def echoes_soon(client: RawClient) -> None:
    begun = time.monotonic()
    assert ask(client, "hello") == "hello"
    assert time.monotonic() - begun < SOON_S


@every_runner
@pytest.mark.parametrize("end", ["goes_on", "dies"])
def test_nobody_waits_but_who_writes(
    runner: Runner, end: str, region: Path, holders: list[StoppedHolder], tmp_path: Path
) -> None:
    socket_path = str(tmp_path / "outside")
    with start(runner, region, "--channels-socket", socket_path) as server:
        members = [enter(server) for _ in range(8)]
        echo, writer = RawClient.upgrade(server, "/echo"), members[0]
        outside = channels.connect(socket_path)
        assert ask(writer, "members") == "answer: 8"
        holder = StoppedHolder(region)
        holders.append(holder)
        # Those who go: their clients vanish, or they leave.
        for member in members[3:]:
            member.close()
        assert ask(members[1], "leave room") == "answer: True"
        echoes_soon(echo)
        # Who publishes or joins waits alone, and is told.
        begun = time.monotonic()
        for client, text in ((writer, "publish x"), (members[2], "join another")):
            client.send_text(text)
            echoes_soon(echo)
        assert outside.members("room") == 8, "the process that counts them is another"
        assert time.monotonic() - begun < SOON_S * 2
        for client in (writer, members[2]):
            error = client.read_data().payload.decode()
            assert error.startswith(f"error: process {holder.pid} (python") and "was stopped" in error, error
        assert ask(writer, "members") == "answer: 2"
        # And it goes on by itself.
        if end == "dies":
            holder.die()
        else:
            holder.go_on()
        offset = outside.publish("room", "news")
        assert writer.read_data().payload == b"news"
        assert ask(members[2], "publish more") in (f"answer: {offset + 1}", "news")
        deadline = time.monotonic() + TIMEOUT_S
        while outside.members("room") != 2:
            assert time.monotonic() < deadline
        outside.close()
        for client in (echo, *members[:3]):
            client.close()


def test_a_crowd_that_waits_holds_up_nobody_either(runner: Runner, region: Path, holders: list[StoppedHolder]) -> None:
    with start(runner, region) as server:
        crowd = [enter(server) for _ in range(60)]
        echo = RawClient.upgrade(server, "/echo")
        holder = StoppedHolder(region)
        holders.append(holder)
        for number, client in enumerate(crowd):
            client.send_text(f"join {number}" if number % 2 else "publish x")
        # Each try takes the loop some milliseconds: were all of them to try again and again, this would take 1.2 s.
        begun = time.monotonic()
        longest_echo_s(echo, 50)
        assert time.monotonic() - begun < 0.4
        for client in crowd:
            assert client.read_data().payload.startswith(b"error: process ")
        for client in (echo, *crowd):
            client.close()


def start_coroutines(region: Path) -> Server:
    options = ("--asyncio", "200", "--channels-file", str(region), "--disable-logging")
    return Server.start("channel_lock_coroutines.py", *options)


def longest_echo_s(client: RawClient, count: int) -> float:
    longest = 0.0
    for _ in range(count):
        begun = time.monotonic()
        assert ask(client, "hello") == "hello"
        longest = max(longest, time.monotonic() - begun)
    return longest


def test_coroutines_that_await_hold_up_no_loop_and_go_on_in_their_order(
    region: Path, holders: list[StoppedHolder]
) -> None:
    with start_coroutines(region) as server:
        reader, *writers = (enter(server) for _ in range(12))
        joins, subscribes = enter(server), enter(server)
        echo = RawClient.upgrade(server, "/echo")
        holder = StoppedHolder(region)
        holders.append(holder)
        for number, writer in enumerate(writers):
            writer.send_text(f"publish {number}")
            longest_echo_s(echo, 1)  # so that they are read in this order
        joins.send_text("join another")
        subscribes.send_text("subscribe another")
        # A call that waits where it is takes a quarter of a second of everybody's time; these are fourteen.
        assert longest_echo_s(echo, 200) < 0.2
        assert ask(echo, "still here") == "still here"
        holder.go_on()
        heard = [reader.read_data().payload for _ in writers]
        assert heard == [b"%d" % number for number in range(len(writers))]
        for client in (joins, subscribes):
            while not (answer := client.read_data().payload).startswith(b"answer: "):
                assert answer.isdigit(), answer  # what was published in the room
        for client in (reader, *writers, joins, subscribes, echo):
            client.close()


def test_coroutines_that_await_in_vain_are_told(region: Path, holders: list[StoppedHolder]) -> None:
    with start_coroutines(region) as server:
        clients = [enter(server) for _ in range(6)]
        echo = RawClient.upgrade(server, "/impatient")
        assert ask(echo, "hello") == "hello"
        holder = StoppedHolder(region)
        holders.append(holder)
        for client, text in zip(clients, ("publish x", "join another", "subscribe another") * 2):
            client.send_text(text)
        assert longest_echo_s(echo, 100) < 0.2
        for client in clients:
            error = client.read_data().payload.decode()
            assert error.startswith(f"error: process {holder.pid} (python") and "was stopped" in error, error
        holder.die()
        assert ask(clients[0], "publish again").startswith("answer: ")
        for client in (echo, *clients):
            client.close()


def test_a_reload_and_a_killed_worker_are_possible_meanwhile(
    runner: Runner, region: Path, holders: list[StoppedHolder]
) -> None:
    with start(runner, region) as server:
        member = enter(server)
        holders.append(StoppedHolder(region))
        begun = time.monotonic()
        (old,) = server.worker_pids()
        os.kill(old, signal.SIGKILL)
        server.wait_for_line(r"the members of a worker that has ended are still counted: process \d+ ")
        server.wait_for_line(r"worker 1 .* is ready")
        server.signal(signal.SIGHUP)
        server.wait_for_line(r"reloaded: 1 new worker ready")
        assert time.monotonic() - begun < 5.0, "no patience ended meanwhile"
        member.close()
        echoes_soon(RawClient.upgrade(server, "/echo"))
        holders[0].go_on()
        member = enter(server)
        deadline = time.monotonic() + TIMEOUT_S
        while ask(member, "members") != "answer: 1":
            assert time.monotonic() < deadline, "the killed worker's member still counts"
