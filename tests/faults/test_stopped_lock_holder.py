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
