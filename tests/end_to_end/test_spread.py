"""Long-lived connections spread evenly over the processes of one master, and no process that is stuck keeps others from
serving.

A client learns from its first message which worker it got.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from faults.machine import wait_until
from support.raw_client import RawClient, handshake_request
from support.runners import Runner, every_read_path, one_runner
from support.server import TIMEOUT_S, Server

pytestmark = [every_read_path, pytest.mark.alone]

Start = Callable[..., Server]


class Crowd:
    """WebSockets that stay open, by the worker that serves them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clients: dict[int, list[RawClient]] = {}
        self.waits_s: list[float] = []

    def open_in_turn(self, count: int) -> Counter[int]:
        """Each after the one before; how many each worker got of them."""
        got: Counter[int] = Counter()
        for _ in range(count):
            began = time.monotonic()
            client = RawClient.upgrade(self.server, "/worker")
            got[self._join(client)] += 1
            self.waits_s.append(time.monotonic() - began)
        return got

    def open_at_once(self, count: int) -> Counter[int]:
        """All connections are on their way before the first answer is read."""
        request = handshake_request(self.server.host_header, "/worker")
        clients = [RawClient(self.server.connect()) for _ in range(count)]
        for client in clients:
            client.send_bytes(request)
        got: Counter[int] = Counter()
        for client in clients:
            assert client.read_response().status == 101
            got[self._join(client)] += 1
        return got

    def _join(self, client: RawClient) -> int:
        pid = int(client.read_data().payload)
        self.clients.setdefault(pid, []).append(client)
        return pid

    def shares(self) -> dict[int, int]:
        return {pid: len(clients) for pid, clients in self.clients.items()}

    def leave(self, pid: int) -> None:
        """All clients of this worker close in order."""
        for client in self.clients.pop(pid):
            client.close_in_order()

    def assert_even(self, workers: int) -> None:
        """Each worker is within 20 % of an even share."""
        shares = self.shares()
        even = sum(shares.values()) / workers
        assert len(shares) == workers and all(abs(share - even) <= even / 5 for share in shares.values()), shares

    def close(self) -> None:
        for clients in self.clients.values():
            for client in clients:
                client.close()


@pytest.fixture
def crowd(start: Start, runner: Runner) -> Iterator[Callable[..., Crowd]]:
    """`crowd(processes, slots)`. Slots are no more than needed: so many threads start when a worker does."""
    crowds: list[Crowd] = []

    def on(processes: int, slots: int, app: str | Path = "sockets.py") -> Crowd:
        option, _ = runner.with_slots(slots)
        server = start(app, "--listen", "1000", "--processes", str(processes), option, str(slots))
        crowds.append(Crowd(server))
        return crowds[-1]

    yield on
    for crowd in crowds:
        crowd.close()


def test_connections_that_come_one_after_the_other_spread_evenly(crowd: Callable[..., Crowd]) -> None:
    two = crowd(2, 150)
    two.open_in_turn(200)
    two.assert_even(2)


@one_runner
def test_a_few_connections_spread_as_well(crowd: Callable[..., Crowd]) -> None:
    three = crowd(3, 10)
    three.open_in_turn(15)
    assert len(three.shares()) == 3 and max(three.shares().values()) <= 7, three.shares()


@one_runner
def test_connections_that_come_at_once_spread_evenly(crowd: Callable[..., Crowd]) -> None:
    three = crowd(3, 150)
    three.open_at_once(300)
    three.assert_even(3)


def test_a_successor_gets_what_comes_until_it_has_as_many_as_the_others(crowd: Callable[..., Crowd]) -> None:
    two = crowd(2, 80)
    two.open_in_turn(60)
    victim, survivor = two.server.worker_pids()
    since = two.server.mark()
    os.kill(victim, signal.SIGKILL)
    two.server.wait_for_line(r"worker \d \(pid \d+\) is ready", since)
    for client in two.clients.pop(victim):
        client.close()
    (successor,) = set(two.server.worker_pids()) - {survivor}
    before = len(two.clients[survivor])
    got = two.open_in_turn(before)
    # All but those that came while it was busy with its own start.
    assert got[successor] >= before * 0.6, got
    two.open_in_turn(60)
    two.assert_even(2)


@one_runner
def test_a_successor_that_is_not_ready_yet_gets_nothing(crowd: Callable[..., Crowd], tmp_path: Path) -> None:
    app, fifo = tmp_path / "app.py", tmp_path / "hold"
    app.write_text(
        "import os, uwsgi\n"
        "from sockets import application\n"
        "def wait():\n"
        f"    if os.path.exists({str(fifo)!r}):\n"
        "        os.write(2, b'the hook waits\\n')\n"
        f"        open({str(fifo)!r}).read()\n"
        "uwsgi.post_fork_hook = wait\n"
    )
    two = crowd(2, 60, app)
    two.open_in_turn(20)
    os.mkfifo(fifo)
    victim, survivor = two.server.worker_pids()
    since = two.server.mark()
    os.kill(victim, signal.SIGKILL)
    two.server.wait_for_line("the hook waits", since)
    for client in two.clients.pop(victim):
        client.close()
    two.waits_s.clear()
    assert two.open_in_turn(20) == {survivor: 20}
    assert_prompt(two.waits_s)
    with open(fifo, "w"):
        pass
    two.server.wait_for_line(r"worker \d \(pid \d+\) is ready", since)
    got = two.open_in_turn(20)
    assert 20 - got[survivor] >= 12, f"the successor, which has the fewest, gets nearly all: {got}, {survivor=}"


@one_runner
def test_a_reloaded_server_spreads_over_the_new_workers_only(crowd: Callable[..., Crowd]) -> None:
    two = crowd(2, 50)
    old = set(two.open_in_turn(40))
    two.server.signal(signal.SIGHUP)
    two.server.wait_for_line("reloaded: 2 new workers ready")
    # Their cells are not those of the old workers, which are leaving and have connections still.
    for clients in two.clients.values():
        for client in clients:
            assert client.read_close()[0] == 1012
    got = two.open_in_turn(60)
    assert len(got) == 2 and not old & set(got) and min(got.values()) >= 24, got
    for pid in old:
        for client in two.clients.pop(pid):
            client.send_close(1012)
            client.close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        # Each thread stops when it comes to it.
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        wait_until(lambda: all(") T " in (thread / "stat").read_text() for thread in threads), "all threads stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def assert_prompt(waits_s: list[float]) -> None:
    """A pause for another worker is some 5 ms; a single client may be unlucky on a busy machine."""
    waits_s = sorted(waits_s)
    assert waits_s[len(waits_s) // 2] < 0.05, waits_s
    assert waits_s[-1] < TIMEOUT_S / 4, waits_s


def test_a_stopped_worker_holds_up_nobody_and_catches_up_later(crowd: Callable[..., Crowd]) -> None:
    two = crowd(2, 150)
    two.open_in_turn(20)
    asleep, awake = two.server.worker_pids()
    two.waits_s.clear()
    with stopped(asleep):
        assert two.open_in_turn(40) == {awake: 40}
        assert_prompt(two.waits_s)
        assert two.open_at_once(60) == {awake: 60}
    assert two.open_in_turn(40)[asleep] >= 30
    two.open_in_turn(100)
    two.assert_even(2)


def test_a_full_worker_holds_up_nobody(crowd: Callable[..., Crowd]) -> None:
    two = crowd(2, 10)
    two.open_in_turn(20)
    assert set(two.shares().values()) == {10}, two.shares()
    other = two.server.worker_pids()[0]
    two.leave(other)
    two.waits_s.clear()
    assert two.open_in_turn(10) == {other: 10}
    assert_prompt(two.waits_s)


def test_a_worker_whose_app_blocks_gets_no_connection_that_another_could_serve(
    crowd: Callable[..., Crowd], tmp_path: Path
) -> None:
    two = crowd(2, 100)
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    two.open_in_turn(10)
    blocked = next(iter(two.clients.values()))[0]
    blocked.send_text(str(fifo))
    assert not select.select([blocked.socket], [], [], 0.5)[0], "the app did not block"
    two.waits_s.clear()
    two.open_in_turn(40)
    assert_prompt(two.waits_s)
    with open(fifo, "w"):
        pass
    assert blocked.read_data().payload == str(fifo).encode()
    # It was not forgotten.
    two.open_in_turn(100)
    two.assert_even(2)


def scoreboards(pid: int) -> list[int]:
    """The flags with which a process has the scoreboard open."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # A worker opens and closes others while we look; the scoreboard stays.
        with suppress(FileNotFoundError):
            if "memfd:fairlead-scoreboard" in os.readlink(descriptor):
                info = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
                found.append(int(info.split("flags:")[1].split()[0], 8))
    return found


@one_runner
def test_workers_share_a_scoreboard_that_the_app_s_own_children_do_not_inherit(start: Start) -> None:
    server = start("sockets.py", "--processes", "2")
    for pid in server.worker_pids():
        (flags,) = scoreboards(pid)
        assert flags & os.O_CLOEXEC


@one_runner
def test_a_worker_alone_has_no_scoreboard(start: Start) -> None:
    server = start("sockets.py")
    assert [scoreboards(pid) for pid in server.worker_pids()] == [[]]
