"""A stop ends everything within the ten seconds that a container gives it, and names what it cuts; a reload lets
clients come back a few at a time."""

from __future__ import annotations

import select
import signal
import socket
import time

import pytest
from faults.machine import BEHAVIOURS, echo
from support.http2_client import Http2Client
from support.raw_client import RawClient
from support.runners import every_read_path, one_runner
from support.server import TIMEOUT_S, Server

HOLDS_GIL = BEHAVIOURS.with_name("holds_gil.py")

#: What `docker stop` waits before it kills.
GRACE_S = 10.0


def post(server: Server, path: str) -> socket.socket:
    """A request whose body never comes."""
    client = server.connect()
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n".encode())
    return client


def slow_reader(server: Server, path: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    client.settimeout(TIMEOUT_S)
    client.connect(server.address)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


@every_read_path
def test_with_the_defaults_all_is_over_in_time_and_what_is_cut_is_named(start, tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(64 * 2**20)
    server = start(BEHAVIOURS, "--processes", "2", "--static-map", f"/files={tmp_path}")
    parked = RawClient.upgrade(server, "/park")
    waiting = post(server, "/takes_and_gives?waits")
    reading = slow_reader(server, "/takes_and_gives?reads")
    loading = slow_reader(server, "/files/large")
    idle = server.connect()
    with Http2Client.connect(server) as http2:
        http2.ping()
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        http2.read_until(lambda: http2.goaways > 0)
        assert http2.goaways and not http2.terminated
        http2.wait_for_close()
        assert idle.recv(1) == b"", "a silent connection has a second"
        assert time.monotonic() - began < 4
    assert server.wait_for_end() == 0
    took = time.monotonic() - began
    assert 5.5 < took < GRACE_S, f"{took:.1f} s"
    cut = "\n".join(line for line in server.lines if "the time to leave is over; cut: " in line)
    for client, path in (
        (parked.socket, "/park"),
        (waiting, "/takes_and_gives?waits"),
        (reading, "/takes_and_gives?reads"),
    ):
        host, port = client.getsockname()
        assert f"{host}:{port} {path}" in cut, cut
    host, port = loading.getsockname()
    assert f"client that had yet to take a response ({host}:{port})" in cut, cut
    assert parked.read_close()[0] == 1001
    for client in (parked.socket, waiting, reading, loading, idle):
        client.close()


@one_runner
def test_a_worker_that_hears_nothing_is_over_in_time_too(start):
    server = start(HOLDS_GIL)
    client = server.connect()
    client.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    server.wait_for_line("holds the lock")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait_for_end() == 0
    took = time.monotonic() - began
    assert took < GRACE_S, f"{took:.1f} s"
    server.wait_for_line(r"worker 1 \(pid \d+\) did not end in time and is killed")
    client.close()


@every_read_path
def test_a_reload_closes_websockets_one_after_the_other_and_serves_the_others_until_then(start):
    server = start(BEHAVIOURS, "--reload-spread", "2")
    clients = [RawClient.upgrade(server, "/echo") for _ in range(4)]
    with Http2Client.connect(server) as http2:
        inside = http2.websocket("/echo")
        server.signal(signal.SIGHUP)
        server.wait_for_line("reloaded: 1 new worker ready")
        http2.read_until(lambda: http2.goaways > 0)
        assert http2.goaways and not http2.terminated
        closed: list[float] = []
        open_ones = list(clients)
        while open_ones:
            ready, _, _ = select.select([client.socket for client in open_ones], [], [], TIMEOUT_S)
            for client in [client for client in open_ones if client.socket in ready]:
                assert client.read_close()[0] == 1012
                client.send_close(1012)
                open_ones.remove(client)
                closed.append(time.monotonic())
            if len(open_ones) == 2:
                echo(open_ones[-1], b"served still")
        assert closed[-1] - closed[0] > 0.7, closed  # five turns of 0.4 s, of which the stream may have any
        assert inside.read_close()[0] == 1012
    for client in clients:
        client.close()
    server.wait_for_lines(r'session: .* "/echo" 101, .*, closed 1012 by server: reload', 5)


@one_runner
@pytest.mark.parametrize("options", [(), ("--reload-spread", "30")])
def test_a_stop_does_not_wait_for_a_reload_that_spreads(start, options):
    server = start(BEHAVIOURS, *options)
    clients = [RawClient.upgrade(server, "/echo") for _ in range(3)]
    server.signal(signal.SIGHUP)
    server.wait_for_line("reloaded: 1 new worker ready")
    assert clients[0].read_close()[0] == 1012
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    codes = {client.read_close()[0] for client in clients[1:]}
    assert codes == ({1001} if options else {1012})
    for client in clients:
        client.send_close(1001)
        client.close()
    assert server.wait_for_end() == 0
    assert time.monotonic() - began < 4


@one_runner
def test_a_few_clients_are_not_kept_waiting(start):
    server = start(BEHAVIOURS)
    clients = [RawClient.upgrade(server, "/echo") for _ in range(20)]
    server.signal(signal.SIGHUP)
    server.wait_for_line("reloaded: 1 new worker ready")
    began = time.monotonic()
    for client in clients:
        assert client.read_close()[0] == 1012
        client.close()
    assert time.monotonic() - began < 1, "2,000 in a second"
