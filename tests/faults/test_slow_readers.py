"""Peers that stop reading: bounded memory, nobody else slowed down, and the end after --socket-timeout."""

from __future__ import annotations

import socket
import time

import pytest
from faults.machine import BEHAVIOURS, books, echo, peak_mib, wait_until
from support.raw_client import RawClient, handshake_request
from support.runners import every_runner
from support.server import TIMEOUT_S, Server

pytestmark = [every_runner, pytest.mark.alone]

CLIENTS = 20


def slow_reader(server: Server, path: str) -> socket.socket:
    """A client with a small window that asks for a WebSocket and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    client.settimeout(TIMEOUT_S)
    client.connect(server.address)
    client.sendall(handshake_request(server.host_header, path))
    return client


def test_an_endless_sender_waits_for_its_slow_reader_in_bounded_memory(start, upgrade, runner):
    server = start(BEHAVIOURS, "--socket-timeout", "2")
    (pid,) = server.worker_pids()
    bystander = upgrade(server, "/echo")
    echo(bystander)
    before = peak_mib(pid)
    since = server.mark()
    crowd = [slow_reader(server, path) for path in ("/firehose", "/firehose_small") for _ in range(CLIENTS // 2)]
    wait_until(lambda: books(server)["live"] == CLIENTS + 1, "all senders run")
    worst = 0.0
    # They wait for 30 s at least (compat §2.2), too long for a test: there the readers leave.
    waits_long = runner.name in ("asyncio", "gevent")
    leave_at = time.monotonic() + 3
    while books(server)["live"] > 1:
        if waits_long and crowd and time.monotonic() > leave_at:
            for client in crowd:
                client.close()
            crowd.clear()
        began = time.monotonic()
        echo(bystander)
        worst = max(worst, time.monotonic() - began)
        assert not server.lines[since:] or "panicked" not in server.lines[-1]
    assert worst < 0.5, f"a bystander waited {worst:.2f} s for its echo"
    # 256 KiB of outbox, the last message and Python's own for each.
    assert peak_mib(pid) - before < CLIENTS * 0.75 + 12, f"{peak_mib(pid) - before:.0f} MiB for {CLIENTS} readers"
    # A thread of its own writes the log: the last line may come after the last task has ended.
    if not waits_long:
        server.wait_for_lines(r"127\.0\.0\.1:\d+ /firehose(_small)?: dropped: ", CLIENTS, since)
        dropped = [line for line in server.lines if "dropped: " in line]
        assert len(dropped) == CLIENTS, "\n".join(dropped)
        pattern = (
            r'session: 127\.0\.0\.1:\d+ "/firehose(_small)?" 101, .*, dropped by server: the client does not read$'
        )
        server.wait_for_lines(pattern, CLIENTS, since)
    for client in crowd:
        client.close()


def test_a_slow_reader_that_comes_back_in_time_misses_nothing(start, upgrade):
    server = start(BEHAVIOURS, "--socket-timeout", "20")
    client = upgrade(server, "/count")
    wait_until(lambda: _unread(client) > 100_000, "the kernel's buffers fill up")
    for number in range(20_000):
        frame = client.read_data()
        assert frame.payload == b"%08d" % number + b"x" * 1000, number


def _unread(client: RawClient) -> int:
    import array
    import fcntl
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(client.socket, termios.FIONREAD, count)
    return count[0]
