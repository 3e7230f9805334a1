"""Peers that mean harm, or are broken: each gets its status or close code and a line in the log, and costs only itself.

Every test has a bystander on the same worker, who must not notice, and looks at the worker's memory.
"""

from __future__ import annotations

import selectors
import time
from contextlib import ExitStack

import pytest
from faults.machine import BEHAVIOURS, echo, peak_mib, private_mib
from support.raw_client import BINARY, CONTINUATION, PING, TEXT, RawClient, frame, handshake_request
from support.runners import every_read_path

#: A megabyte message, its copy and the client's own share of a worker's life.
LITTLE_MIB = 12


@pytest.fixture
def server(start):
    # --listen: beyond the backlog a connection attempt waits a second in the kernel, which is not what is tested here.
    return start(BEHAVIOURS, "--listen", "1000", "--http-headers-timeout", "1", "--websockets-close-timeout", "0.5")


@pytest.fixture
def bystander(server, upgrade):
    client = upgrade(server, "/echo")
    echo(client)
    yield client
    echo(client)


def flood(client: RawClient, data: bytes, limit: int) -> None:
    """Send `data` again and again until the server hangs up; fails if it takes more than `limit` bytes."""
    try:
        for _ in range(limit // len(data) + 1):
            client.socket.sendall(data)
    except OSError:
        return
    # All of it may fit into the kernel's buffers: then the close code decides.


@every_read_path
def test_endless_empty_fragments_close_with_1008(server, bystander, upgrade):
    (pid,) = server.worker_pids()
    before = private_mib(pid)
    client = upgrade(server, "/echo")
    client.send(TEXT, b"", fin=False)
    flood(client, frame(CONTINUATION, b"", fin=False) * 1000, 2_000_000)
    assert client.read_close()[0] == 1008
    server.wait_for_line(r"127\.0\.0\.1:\d+ /echo: closed with 1008: message of more than \d+ frames")
    assert private_mib(pid) - before < LITTLE_MIB


@every_read_path
def test_endless_fragments_with_bytes_close_with_1009(server, bystander, upgrade):
    (pid,) = server.worker_pids()
    before = peak_mib(pid)
    client = upgrade(server, "/echo")
    client.send(BINARY, b"", fin=False)
    flood(client, frame(CONTINUATION, b"x" * 60000, fin=False), 8_000_000)
    assert client.read_close()[0] == 1009
    server.wait_for_line(r"127\.0\.0\.1:\d+ /echo: closed with 1009: ")
    assert peak_mib(pid) - before < LITTLE_MIB


@every_read_path
def test_a_frame_that_announces_too_much_is_refused_before_its_bytes_come(server, bystander, upgrade):
    client = upgrade(server, "/echo")
    client.send_bytes(frame(BINARY, b"", length=2**62))
    assert client.expect_failure(1009)
    server.wait_for_line(r"/echo: closed with 1009: ")


@every_read_path
def test_a_flood_of_pings_closes_with_1008(server, bystander, upgrade):
    client = upgrade(server, "/echo")
    flood(client, frame(PING, b"x" * 125) * 100, 5_000_000)
    while (found := client.read_frame()).opcode != 8:
        assert found.payload == b"x" * 125
    assert int.from_bytes(found.payload[:2], "big") == 1008
    server.wait_for_line(r"127\.0\.0\.1:\d+ /echo: closed with 1008: .*control frames")


@every_read_path
def test_a_flood_of_pings_by_a_client_that_reads_no_pong_stays_small(server, bystander, upgrade):
    (pid,) = server.worker_pids()
    before = peak_mib(pid)
    clients = [upgrade(server, "/echo") for _ in range(20)]
    for client in clients:
        client.socket.settimeout(0.2)
        # A message now and then counts as progress, so that the flood itself is no reason to close.
        flood(client, (frame(PING, b"x" * 125) * 100 + frame(TEXT, b"y")), 2_000_000)
    assert peak_mib(pid) - before < 2 * LITTLE_MIB


@every_read_path
def test_a_client_that_sends_but_does_not_read_its_echoes_stays_small(server, bystander, upgrade):
    (pid,) = server.worker_pids()
    before = peak_mib(pid)
    clients = [upgrade(server, "/echo") for _ in range(10)]
    for client in clients:
        client.socket.settimeout(0.2)
        flood(client, frame(BINARY, b"x" * 60000), 20_000_000)
    assert peak_mib(pid) - before < 20 + LITTLE_MIB, "more than 2 MiB for a client"


def test_half_open_handshakes_end_with_408_and_hold_nobody_up(server, bystander, upgrade):
    half = handshake_request(server.host_header)[:40]
    crowd = []
    for _ in range(300):
        crowd.append(RawClient(server.connect()))
        crowd[-1].send_bytes(half)
    echo(bystander)
    echo(upgrade(server, "/echo"))  # there are 200 slots: a half handshake must not take one
    began = time.monotonic()
    for client in crowd:
        assert client.read_rest().startswith(b"HTTP/1.1 408 ")
        client.close()
    assert time.monotonic() - began < 5


def test_a_head_that_never_ends_is_told_in_the_log(server, bystander):
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header)[:40])
        client.read_rest()
    server.wait_for_line(r"127\.0\.0\.1.*(408|head|header)", timeout_s=2)


def test_a_client_that_drips_its_head_is_cut_all_the_same(server, bystander):
    request = handshake_request(server.host_header, headers=[("X-Filler", "y" * 1000)])
    with RawClient(server.connect()) as client, selectors.DefaultSelector() as selector:
        selector.register(client.socket, selectors.EVENT_READ)
        began = time.monotonic()
        for octet in request:
            client.send_bytes(bytes([octet]))
            if selector.select(0.05):  # the pace of the drip: 50 s for the whole head
                break
        took = time.monotonic() - began
        assert took < 4, f"cut after {took} s, the limit is 1 s"
        assert client.read_rest().startswith(b"HTTP/1.1 408 ")


def test_connections_that_say_nothing_at_all_are_ended(server, bystander):
    with ExitStack() as stack:
        crowd = [stack.enter_context(RawClient(server.connect())) for _ in range(50)]
        for client in crowd:
            client.read_rest()


@pytest.mark.parametrize(
    ("name", "request_text"),
    [
        ("one long header", b"X-Long: " + b"y" * 100_000 + b"\r\n\r\n"),
        ("many headers", b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n"),
        ("a header without end", b"X-Endless: " + b"y" * 3_000_000),
    ],
)
def test_a_huge_head_is_answered_with_431(server, bystander, name, request_text):
    (pid,) = server.worker_pids()
    before = peak_mib(pid)
    with RawClient(server.connect()) as client:
        flood(client, b"GET /echo HTTP/1.1\r\nHost: x\r\n" + request_text, 1)
        assert client.read_rest().startswith(b"HTTP/1.1 431 ")
    server.wait_for_line(r"127\.0\.0\.1.*(431|head)")
    assert peak_mib(pid) - before < LITTLE_MIB


def test_a_huge_request_line_is_refused(server, bystander):
    with RawClient(server.connect()) as client:
        flood(client, b"GET /" + b"y" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 1)
        assert client.read_rest()[:12] in (b"HTTP/1.1 414", b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 2000, b"HELO there\r\n\r\n", b"\r\n" * 50]
)
def test_what_is_no_http_costs_its_connection_only(server, bystander, rubbish):
    with RawClient(server.connect()) as client:
        client.send_bytes(rubbish)
        client.socket.settimeout(5)
        data = client.read_rest()
        assert data == b"" or data.startswith(b"HTTP/1.1 4"), data
