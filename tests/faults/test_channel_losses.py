"""Channels while workers are killed, clients stop and processes are suspended: nobody misses a message without knowing.

`Swarm` keeps many members in one selector; each remembers the offsets it got and comes back with the last of them when
its connection ends, as a browser's client does.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from faults.machine import private_mib
from support.channel_member import Member as Talker
from support.raw_client import CLOSE, TEXT, RawClient
from support.runners import Runner, every_read_path
from support.server import TIMEOUT_S, Server

pytestmark = pytest.mark.alone

APP = Path(__file__).parent.parent / "support" / "apps" / "channel_members.py"
MARK = 0x1E
#: Messages of 50,000 bytes that a stopped reader does not read.
COUNT = 150


class Member:
    """One client of the channel: what it got, by offset."""

    def __init__(self) -> None:
        self.client: RawClient | None = None
        self.pid = 0
        #: What it may begin after; the next message has the next offset.
        self.last = 0
        self.got: list[tuple[int, bytes]] = []
        self.returns = -1

    def connect(self, server: Server) -> None:
        query = f"?since={self.last}" if self.last else ""
        self.client = RawClient.upgrade(server, f"/sub{query}")
        self.returns += 1
        self.read()

    def read(self) -> bool:
        """Take all complete frames from the buffer. False once the connection is over."""
        assert self.client is not None
        buffer = self.client.buffer
        at = 0
        while len(buffer) - at >= 2:
            length, header = buffer[at + 1], 2
            if length == 126:
                length, header = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            elif length == 127:
                length, header = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            if len(buffer) - at < header + length:
                break
            if buffer[at] & 0x0F == CLOSE:
                return False
            self.take(bytes(buffer[at + header : at + header + length]))
            at += header + length
        del buffer[:at]
        return True

    def take(self, payload: bytes) -> None:
        if payload[0] != MARK:
            self.pid = int(payload)
            return
        head, _, data = payload[1:].partition(b"\n")
        word, _, rest = head.partition(b" ")
        if word == b"joined":
            offset, missed = rest.split(b" ")[:2]
            assert missed == b"0", f"it came back after {self.last} and has missed {missed!r}"
            assert self.last in (0, int(offset))
            self.last = int(offset)
        elif word != b"0":  # a heartbeat
            assert int(word) == self.last + 1, f"{int(word)} came after {self.last}"
            self.last = int(word)
            self.got.append((self.last, data))


class Swarm:
    """Many members of one server, read whenever `read` or `read_until` is called."""

    def __init__(self, server: Server, count: int) -> None:
        self._server = server
        self._selector = selectors.DefaultSelector()
        self.members = [Member() for _ in range(count)]
        for member in self.members:
            self._connect(member)
        self.read_until(lambda: all(member.pid for member in self.members), "all know their worker")

    def _connect(self, member: Member) -> None:
        member.connect(self._server)
        assert member.client is not None
        member.client.socket.setblocking(False)
        self._selector.register(member.client.socket, selectors.EVENT_READ, member)

    def read(self, timeout_s: float = 0.0) -> None:
        """What is there; members whose connection has ended come back."""
        for key, _ in self._selector.select(timeout_s):
            member: Member = key.data
            client = member.client
            assert client is not None
            try:
                is_open = client.read_some()
            except BlockingIOError:
                continue
            except OSError:
                is_open = False
            if not (member.read() and is_open):
                self._selector.unregister(client.socket)
                client.close()
                self._connect(member)

    def read_until(self, is_done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S * 2
        while not is_done():
            assert time.monotonic() < deadline, f"not in time: {what}"
            self.read(0.05)

    def read_up_to(self, offset: int, members: Iterable[Member] = ()) -> None:
        waiting = list(members) or self.members
        self.read_until(lambda: all(member.last >= offset for member in waiting), f"offset {offset} everywhere")

    def close(self) -> None:
        for member in self.members:
            if member.client is not None:
                member.client.close()
        self._selector.close()


class Publisher:
    """Publishes numbers, each until it is acknowledged: its worker may die at any moment."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client = RawClient.upgrade(server, "/")
        self.acknowledged: dict[int, bytes] = {}

    def publish(self, text: str) -> int:
        while True:
            try:
                self._client.send_text(text)
                frame = self._client.read_frame()
                if frame.opcode == TEXT:
                    self.acknowledged[int(frame.payload)] = text.encode()
                    return int(frame.payload)
            except (OSError, EOFError):
                pass
            self._client.close()
            self._client = RawClient.upgrade(self._server, "/")

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def swarm() -> Iterator[Callable[[Server, int], Swarm]]:
    swarms: list[Swarm] = []

    def of(server: Server, count: int) -> Swarm:
        swarms.append(Swarm(server, count))
        return swarms[-1]

    yield of
    for one in swarms:
        one.close()


def test_two_thousand_clients_miss_nothing_while_workers_are_killed(
    runner: Runner, swarm: Callable[[Server, int], Swarm]
) -> None:
    with Server.start(
        *("--wsgi-file", str(APP), "--processes", "4", "--listen", "1024"),
        *("--disable-logging", "--disable-session-logging"),
        *(*runner.options, *runner.with_slots(900)),
    ) as server:
        all_of_them = swarm(server, 2000)
        publisher = Publisher(server)
        members = all_of_them.members
        assert len({member.pid for member in members}) == 4
        last = 0
        for number in range(60):
            last = publisher.publish(f"number {number}")
            all_of_them.read()
            if number in (15, 30, 45):
                victim = server.worker_pids()[number // 15 - 1]
                os.kill(victim, signal.SIGKILL)
        all_of_them.read_up_to(last)
        assert sum(member.returns for member in members) > 600, "clients of three workers came back"
        published = dict(members[0].got)
        assert len(published) >= 60
        for offset, text in publisher.acknowledged.items():
            assert published[offset] == text
        for member in members:
            assert member.got == members[0].got
        publisher.close()
        all_of_them.close()


@every_read_path
@pytest.mark.parametrize("policy", ["close", "drop-newest", "drop-oldest"])
def test_a_stopped_reader_holds_up_nobody_and_its_loss_is_told(
    runner: Runner, policy: str, swarm: Callable[[Server, int], Swarm]
) -> None:
    with Server.start(
        *("--wsgi-file", str(APP), "--processes", "2", "--channels-backlog", "64"),
        *("--channels-slow-consumer", policy, *runner.options),
    ) as server:
        others = swarm(server, 20)
        stopped = RawClient.upgrade(server, "/plain")
        stopped.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        pid = int(stopped.read_data().payload)
        publisher = Publisher(server)
        text = "x" * 50_000
        waits_s = []
        last = 0
        # Beyond what the sockets' buffers take, and less than the time that a Close may take.
        for _ in range(COUNT):
            begun = time.monotonic()
            last = publisher.publish(text)
            others.read_up_to(last)
            waits_s.append(time.monotonic() - begun)
        assert sorted(waits_s)[len(waits_s) // 2] < 0.1, sorted(waits_s)[-5:]
        if policy == "close":
            received = 0
            while (frame := stopped.read_frame()).opcode == TEXT:
                received += 1
            assert (frame.opcode, int.from_bytes(frame.payload[:2], "big")) == (CLOSE, 1013)
            stopped.send_close(1013)
            stopped.close()
            assert frame.payload[2:].startswith(b"slow consumer")
            assert 0 < received < COUNT
            server.wait_for_line(rf"\[{pid}\] .*closed with 1013: slow consumer")
        else:
            received = 0
            stopped.send_text("missed")
            while not (frame := stopped.read_data()).payload.startswith(b"missed"):
                received += 1
            missed = int(frame.payload.split()[1])
            assert missed > 0
            publisher.publish("the end")
            while stopped.read_data().payload != b"the end":
                received += 1
            assert received + missed == COUNT
        stopped.close()
        publisher.close()
        others.close()


@every_read_path
def test_a_suspended_worker_holds_up_nobody_and_its_clients_see_the_gap(
    runner: Runner, swarm: Callable[[Server, int], Swarm]
) -> None:
    with Server.start(
        *("--wsgi-file", str(APP), "--processes", "2", "--channels-memory", "1", *runner.options)
    ) as server:
        everybody = swarm(server, 20)
        publisher = Publisher(server)
        victim = next(pid for pid in server.worker_pids() if pid != _pid_of(publisher, server, everybody))
        theirs = [member for member in everybody.members if member.pid == victim]
        others = [member for member in everybody.members if member.pid != victim]
        assert theirs and others
        os.kill(victim, signal.SIGSTOP)
        try:
            last = 0
            for _ in range(60):  # the log has room for fifteen of them
                last = publisher.publish("x" * 50_000)
                everybody.read_up_to(last, others)
        finally:
            os.kill(victim, signal.SIGCONT)
        # The numbers jump: that is how a client learns of it, and `take` insists that they do not.
        gaps = []
        for member in theirs:
            assert member.client is not None
            member.client.socket.setblocking(True)
            frames = []
            while not frames or frames[-1] < last:
                payload = member.client.read_data().payload
                if payload[0] == MARK:
                    frames.append(int(payload[1:].split(b" ", 1)[0]))
            first = frames[0]
            assert frames == list(range(first, last + 1))
            gaps.append(first - member.last - 1)
            member.client.send_text("missed")
            assert member.client.read_data().payload == b"missed %d" % gaps[-1]
        assert min(gaps) > 0
        publisher.close()
        everybody.close()


def _pid_of(publisher: Publisher, server: Server, everybody: Swarm) -> int:
    """The worker that serves the publisher: the one that is not to be suspended."""
    publisher.publish("where am I")
    everybody.read_until(lambda: all(member.got for member in everybody.members), "all have it")
    return _owner(publisher._client.socket.getsockname()[1], server)


def _owner(port: int, server: Server) -> int:
    """The worker whose end of the connection from this local port it is."""
    wanted = f":{port:04X} "
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2].endswith(wanted.strip()):
            inodes.add(f"socket:[{fields[9]}]")
    for pid in server.worker_pids():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(descriptor) in inodes:
                    return pid
            except FileNotFoundError:
                continue
    raise AssertionError(f"no worker has the connection from port {port}")


def test_clients_that_ask_for_everything_and_read_nothing_cost_little(
    upgrade: Callable[..., RawClient], token: str
) -> None:
    with Server.start("channel_pages.py", "--async", "50", "--greenlet") as server:
        (pid,) = server.worker_pids()
        publisher = Talker(upgrade(server, "/talks"))
        publisher.ask("publish_many", token, 200_000, 8)
        before = private_mib(pid)
        for _ in range(20):
            client = Talker(upgrade(server, "/talks"))
            assert client.joins(token, since=0, offsets=True)["replayed"] == 200_000
        assert publisher.ask("publish", "another", "x") > 0
        grown = private_mib(pid) - before
        # An outbox for each; a list of the messages would take 40 times as much.
        assert grown < 16, f"{grown:.0f} MiB"
