"""Many WebSockets that end at the same moment: under threads the work grows with their number, not with its square, and
what they had goes back to the system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.machine import BEHAVIOURS, books, open_files, private_mib, wait_until
from support.raw_client import CLOSE, TEXT, RawClient, frame, handshake_request
from support.server import Server

pytestmark = pytest.mark.alone

CROWD = 300


def joined(server: Server, count: int) -> list[RawClient]:
    request = handshake_request(server.host_header, "/echo")
    crowd = []
    for _ in range(count):
        client = RawClient(server.connect())
        client.send_bytes(request)
        crowd.append(client)
    for client in crowd:
        assert client.read_response().status == 101
    return crowd


@pytest.fixture
def server() -> Iterator[Server]:
    with Server.start(str(BEHAVIOURS), "--threads", str(CROWD + 10), "--websockets-close-timeout", "1") as server:
        yield server


def waits(pid: int) -> Counter[str]:
    """What a process's threads wait in: `recv`, or a futex with a time limit, as the GIL is waited for, or without."""
    found: Counter[str] = Counter()
    for thread in Path(f"/proc/{pid}/task").glob("*/syscall"):
        call = thread.read_text().split()
        if call[0] == "45":
            found["recv"] += 1
        elif call[0] == "202":
            found["futex" if call[4] == "0x0" else "timed futex"] += 1
    return found


def test_ends_are_let_in_a_few_at_a_time_while_c_code_holds_the_interpreter(
    server: Server, upgrade: Callable[..., RawClient]
) -> None:
    (pid,) = server.worker_pids()
    files = open_files(pid)
    crowd = joined(server, CROWD)
    busy = upgrade(server, "/holds_the_interpreter")
    wait_until(lambda: waits(pid)["recv"] > CROWD, "all threads wait for their clients")
    busy.send_text("200000000")
    for client in crowd:
        client.send_bytes(frame(CLOSE, b""))
    wait_until(lambda: waits(pid)["recv"] == 0, "all threads have got their Close")
    # Each thread that wants the GIL looks two hundred times a second whether it has it.
    assert waits(pid)["timed futex"] < 100
    assert busy.read_data() == (TEXT, b"done", True)
    wait_until(lambda: books(server)["live"] == 1, "all but the busy one end")
    for client in crowd:
        client.close()
    wait_until(lambda: open_files(pid) <= files + 2, "descriptors go with their clients")


def test_a_crowd_s_memory_and_descriptors_go_back_when_it_has_gone() -> None:
    with Server.start(str(BEHAVIOURS), "--async", "2000", "--greenlet") as server:
        (pid,) = server.worker_pids()
        before, files = private_mib(pid), open_files(pid)
        crowd = joined(server, 1500)
        peak = private_mib(pid)
        for client in crowd:
            client.close()
        # What stays are tables, and the greenlets that rest for the next requests.
        wait_until(
            lambda: private_mib(pid) < before + (peak - before) / 2,
            f"less than the half of {peak - before:.0f} MiB more than in the beginning",
        )
        wait_until(lambda: open_files(pid) <= files + 2, "descriptors go with their clients")
