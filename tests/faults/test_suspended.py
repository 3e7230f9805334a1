"""A machine that sleeps, or a process that gets no time: deadlines have passed when it goes on, and what has come
meanwhile counts all the same."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest
from end_to_end.http_wire import read_answer, request
from faults.machine import wait_until
from support.raw_client import RawClient

APP = Path(__file__).parent / "apps" / "served.py"


def state(process: int, thread: str) -> str:
    """S: it waits for events. T: it is stopped."""
    for task in Path(f"/proc/{process}/task").iterdir():
        if (task / "comm").read_text() == f"{thread}\n":
            return (task / "stat").read_text().rpartition(")")[2].split()[0]
    raise AssertionError(f"there is no thread {thread}")


@pytest.mark.alone
def test_requests_that_came_while_a_worker_was_stopped_are_answered(start):
    server = start(APP, "--http-headers-timeout=1", "--http-keepalive=1")
    clients = []
    for number in range(20):
        client = RawClient(server.connect())
        clients.append(client)
        if number % 2:
            client.send_bytes(request(server, "/first"))
            assert read_answer(client).status == 200
        else:
            client.send_bytes(b"GET /slow HTTP/1.1\r\nHost: a\r\n")
    with RawClient(server.connect()) as last:
        last.send_bytes(request(server, "/last"))
        assert read_answer(last).status == 200  # so all before it were accepted, and read
    (worker,) = server.worker_pids()
    # Only a wait that the stop interrupts, before anything has come, ends without a look at the sockets.
    wait_until(lambda: state(worker, "fairlead-front") == "S", "the front's thread waits")
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: state(worker, "fairlead-front") == "T", "it is stopped")
        for number, client in enumerate(clients):
            client.send_bytes(request(server, "/second") if number % 2 else b"\r\n")
        # All deadlines pass in silence.
        assert select.select([client.socket for client in clients], [], [], 2.5) == ([], [], [])
    finally:
        os.kill(worker, signal.SIGCONT)
    assert [read_answer(client).status for client in clients] == [200] * 20
    for client in clients:
        client.close()
