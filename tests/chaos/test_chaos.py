"""Chaos: workers are killed, stopped, starved of descriptors, forked and reloaded while publishers of all kinds publish
(forked children too), and members come and go; then the checker reads all their logs.

CI runs it for 15 s under each of two runners; by hand `make chaos` is the long form, 20 minutes in all. The faults are
drawn from CHAOS_SEED, which a failure names: the same seed draws the same faults, if not the same moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.checker import Stop, check, children
from chaos.clients import Member, Publisher, by_http, by_websocket, from_outside
from faults.machine import get, open_files, wait_until
from support.runners import Runner, every_read_path
from support.server import Server

APP = Path(__file__).with_name("apps") / "chaos.py"
PROCESSES = 3
SECONDS = float(os.environ.get("CHAOS_SECONDS", "15"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 1_000_000)

#: Until everybody has everything, once the faults have ended.
SETTLE_S = 30.0

pytestmark = [every_read_path, pytest.mark.alone, pytest.mark.timeout(SECONDS + 100)]


class Chaos:
    """Draws faults for the workers of a server, one at a time, and ends each before the next."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._over = threading.Event()
        #: What was done, for a failure's sake; and whom this has killed.
        self.done: list[str] = []
        self.killed: set[int] = set()
        self.stops: list[Stop] = []

    def run(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        names: list[str] = []
        while time.monotonic() < ends:
            pids = self._server.worker_pids()
            if pids:
                # Each fault once before any comes again: a short run, too, has them all.
                names = names or self._random.sample(list(FAULTS), len(FAULTS))
                name = names.pop()
                pid = self._random.choice(pids)
                self.done.append(f"{name} {pid}")
                with contextlib.suppress(ProcessLookupError):  # it was on its way out
                    FAULTS[name](self, pid)
            self.lasts(0.1, 0.8)

    def lasts(self, least_s: float, most_s: float) -> None:
        """A fault's length, or the quiet between two: part of what is drawn, nothing is waited for."""
        self._over.wait(self._random.uniform(least_s, most_s))

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.killed.add(pid)

    def stop(self, pid: int, least_s: float = 0.1, most_s: float = 1.5) -> None:
        os.kill(pid, signal.SIGSTOP)
        begins = time.monotonic()
        try:
            self.lasts(least_s, most_s)
        finally:
            self.stops.append(Stop(pid, begins, time.monotonic()))
            os.kill(pid, signal.SIGCONT)

    def stop_for_long(self, pid: int) -> None:
        """So long that its members are waited for, its pings go unanswered, and others might take it for dead (3 s)."""
        self.stop(pid, 1.6, 3.6)

    def storm(self, pid: int) -> None:
        for _ in range(3):
            self._server.signal(signal.SIGHUP)
            self.lasts(0.0, 0.3)

    def starve(self, pid: int) -> None:
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid) + 1, before[1]))
        try:
            self.lasts(0.3, 1.0)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def fork(self, pid: int) -> None:
        for page in ("/forks", "/spawns", "/forks_a_publisher"):
            with contextlib.suppress(OSError):
                get(self._server, page)


FAULTS: dict[str, Callable[[Chaos, int], None]] = {
    "SIGKILL": Chaos.kill,
    "SIGSTOP": Chaos.stop,
    "long SIGSTOP": Chaos.stop_for_long,
    "reload storm": Chaos.storm,
    "no descriptors": Chaos.starve,
    "fork": Chaos.fork,
}


def test_no_message_is_torn_doubled_lost_untold_or_out_of_order(
    start: Callable[..., Server], runner: Runner, socket_folder: str
) -> None:
    outside = f"{socket_folder}/chaos-{runner.name}.sock"
    server = start(
        APP, *runner.with_slots(60), "--processes", str(PROCESSES), "--channels-socket", outside,
        "--reload-mercy", "5", "--disable-logging", "--disable-session-logging",
    )  # fmt: skip
    members = [Member(f"member-{number}", server, "ab"[number % 2]) for number in range(8)]
    publishers = [
        Publisher(f"{kind}-{channel}-{number}", channel, make, number)
        for kind, make, count in (
            ("ws", by_websocket(server), 2), ("http", by_http(server), 1), ("outside", from_outside(outside), 1),
        )
        for channel in "ab"
        for number in range(count)
    ]  # fmt: skip
    chaos = Chaos(server, SEED)
    chaos.run(SECONDS)

    wait_until(lambda: len(server.worker_pids()) == PROCESSES, "all workers are back", SETTLE_S)
    for client in publishers:
        client.over.set()
    for client in publishers:
        client.join(SETTLE_S)
    wait_until(lambda: not any("has not ended" in one for one in children(server.lines)[1]), "children", SETTLE_S)
    last = {channel: Publisher(f"last-{channel}", channel, from_outside(outside), 0) for channel in "ab"}
    wait_until(lambda: all(any(one.offset for one in p.published) for p in last.values()), "the last are published")
    for client in last.values():
        client.over.set()
        client.join(SETTLE_S)
    ends = {channel: max(one.offset or 0 for one in p.published) for channel, p in last.items()}
    for member in members:
        member.ends_at = ends["ab"[int(member.name[-1]) % 2]]
    settled = time.monotonic() + SETTLE_S
    for member in members:
        member.join(max(0.0, settled - time.monotonic()))

    everybody = [*publishers, *last.values(), *members]
    found = [text for client in everybody for text in client.broken]
    of_children, wrong_children = children(server.lines)
    found += wrong_children
    found += check(
        [*of_children, *(one for p in (*publishers, *last.values()) for one in p.published)],
        [sitting for member in members for sitting in member.sittings],
        ends,
        unlogged=["thread-"],
        stops=chaos.stops,
    )
    found += died_by_themselves(server, chaos)
    told = sum(1 for p in publishers for one in p.published if one.offset)
    story = f"seed {SEED}, {told} messages, {sum(len(m.sittings) for m in members)} memberships: {chaos.done}"
    assert not found, "\n".join([story, *found[:40]])
    assert all(any(one.offset for one in p.published) for p in publishers), story
    assert of_children, f"no forked child has published: {story}"
    assert any(stop.ends - stop.begins > 1.5 for stop in chaos.stops), story
    print(story)


def died_by_themselves(server: Server, chaos: Chaos) -> list[str]:
    """Workers whose end nobody has asked for."""
    found = []
    for line in server.lines:
        if ("was killed by signal" in line or "exited with status" in line) and not any(
            f"(pid {pid})" in line for pid in chaos.killed
        ):
            found.append(f"a worker's end: {line}")
    return found
