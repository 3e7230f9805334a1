"""Pings, dead peers and slow readers in real time, with periods under a second, under apps that do not
cooperate.

The engine's own tests hold the schedule to the millisecond with a made-up clock; here it is shown that the
schedule runs whatever the app does. Every wait is for a frame, a line or an end, and bounded.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.certificates import Pair
from support.raw_client import BINARY, PING, PONG, TEXT, Frame, RawClient, frame, handshake_request
from support.runners import Runner, every_read_path, every_runner
from support.server import TIMEOUT_S, Server

pytestmark = every_read_path

QUICK = ("--websockets-ping-freq", "0.4", "--websockets-pong-tolerance", "1", "--websockets-pong-freq", "0")


@pytest.fixture
def quick(serve: Callable[..., Server]) -> Server:
    """Pings after 0.4 s of silence, and no unasked pongs."""
    return serve("sockets.py", *QUICK)


def test_a_silent_peer_is_pinged_again_and_again_while_it_answers(
    quick: Server, upgrade: Callable[..., RawClient]
) -> None:
    client = upgrade(quick, "/echo")
    for _ in range(3):
        began = time.monotonic()
        found = client.read_frame()
        assert found.opcode == PING
        assert time.monotonic() - began > 0.2
        client.send(PONG, found.payload)
    client.send_text("alive")
    assert client.read_data() == Frame(TEXT, b"alive")


def test_a_peer_that_answers_no_ping_is_dropped_and_the_app_is_told(
    quick: Server, upgrade: Callable[..., RawClient], token: str
) -> None:
    since = quick.mark()
    client = upgrade(quick, f"/ends?{token}")
    assert client.read_frame().opcode == PING
    began = time.monotonic()
    client.read_rest()
    assert 0.5 < time.monotonic() - began < 10
    end = quick.note(token)["end"]
    assert (end["code"], end["by"]) == (1006, "lost")
    line = quick.wait_for_line(rf"/ends\?{token}: dropped", since).string
    assert "127.0.0.1:" in line and "ping" in line


def test_a_message_counts_as_life_like_a_pong(quick: Server, upgrade: Callable[..., RawClient]) -> None:
    client = upgrade(quick, "/echo")
    for _ in range(3):
        assert client.read_frame().opcode == PING
        client.send_text("no pong, but here")
        assert client.read_frame() == Frame(TEXT, b"no pong, but here")


@every_runner
def test_an_app_that_blocks_its_worker_keeps_its_peers(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], tmp_path: Path, token: str
) -> None:
    server = start("sockets.py", *QUICK)
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    waiting = upgrade(server, "/echo")
    blocked = upgrade(server, f"/reads_late?{token}&{fifo}")
    server.note(token)
    for _ in range(3):
        for client in (waiting, blocked):
            found = client.read_frame()
            assert found.opcode == PING
            client.send(PONG, found.payload)
    # The client's ping is answered as well, while the app's thread hangs in its own call.
    blocked.send(PING, b"you there?")
    assert blocked.read_frame() == Frame(PONG, b"you there?")
    for number in range(3):
        blocked.send_text(str(number))
    with open(fifo, "w"):
        pass
    blocked.close_in_order()
    assert server.note(f"{token}-again")["messages"] == 3


@every_runner
def test_a_dead_peer_is_found_although_the_app_never_receives(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], tmp_path: Path, token: str
) -> None:
    server = start("sockets.py", *QUICK)
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    client = upgrade(server, f"/reads_late?{token}&{fifo}")
    server.note(token)
    assert client.read_frame().opcode == PING
    client.read_rest()
    server.wait_for_line(rf"/reads_late\?{token}.*: dropped")
    with open(fifo, "w"):
        pass
    end = server.note(f"{token}-again")
    assert (end["code"], end["by"]) == (1006, "lost")


def test_unasked_pongs_come_midway_between_two_pings(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = serve("sockets.py", "--websockets-ping-freq", "0.6", "--websockets-pong-tolerance", "5")
    client = upgrade(server, "/echo")
    found = [client.read_frame().opcode for _ in range(2)]
    assert found == [PONG, PING]


def test_an_idle_timeout_closes_with_1001_though_pongs_come(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = serve("sockets.py", "--websockets-idle-timeout", "0.5")
    client = upgrade(server, "/echo")
    assert client.read_close()[0] == 1001


def narrow(server: Server, path: str, tls: ssl.SSLContext | None = None) -> RawClient:
    """A client with a small receive buffer, so that a few messages fill it. One of TLS comes to the second listener."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    connection.settimeout(20)
    address = server.addresses[1] if tls else server.address
    connection.connect(address)
    client = RawClient(tls.wrap_socket(connection, server_hostname="localhost") if tls else connection)
    client.send_bytes(handshake_request(server.host_header, path))
    assert client.read_response().status == 101
    return client


@every_runner
def test_a_peer_that_stops_reading_ends_a_send_after_the_socket_timeout(
    serve: Callable[..., Server], runner: Runner, token: str, pair: Pair, trusting: ssl.SSLContext
) -> None:
    """Without TLS and with it at the same time: some runners wait 30 s at least. A ping would find a little room in the
    kernel now and then, and nobody would answer it; so there are none."""
    listen = ("--http", "127.0.0.1:0", "--https", f"127.0.0.1:0,{pair.https}")
    server = serve("sockets.py", "--socket-timeout", "1", "--websockets-ping-freq", "0", listen=listen)
    limit_s = max(1.0, runner.least_socket_timeout_s)
    mark = server.mark()
    with (
        narrow(server, f"/floods?{token}") as client,
        narrow(server, f"/floods?{token}-tls", trusting) as secure,
    ):
        for name, one in ((token, client), (f"{token}-tls", secure)):
            note = server.note(name, limit_s + TIMEOUT_S)
            assert (note["code"], note["by"]) == (1006, "lost")
            # What was taken fits the buffers of kernel and engine.
            assert limit_s * 0.9 < note["lasted"] < limit_s + 10
            assert note["sent"] < 200, "64 KiB each"
            one.read_rest()
        server.wait_for_lines("dropped: the client does not read: a message has waited for it for too long", 2, mark)


@every_runner
def test_a_peer_that_reads_slowly_gets_everything_and_slows_the_app_down(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    server = serve("sockets.py", "--socket-timeout", "20")
    with narrow(server, f"/sends_much?{token}") as client:
        # Others are served meanwhile, often enough that an unbounded buffer would long have taken all.
        other = upgrade(server, "/echo")
        for number in range(200):
            other.send_text(str(number))
            assert other.read_data().payload == str(number).encode()
        assert not [line for line in server.lines if line.startswith(f"note:{token} ")]
        for number in range(32):
            found = client.read_data()
            assert found.payload == bytes([number]) * 2**20
        assert server.note(token) == {"done": True}
        client.send_text("enough")


@every_runner
def test_an_app_that_does_not_receive_slows_its_peer_down(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], tmp_path: Path, token: str
) -> None:
    server = start("sockets.py")
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    client = upgrade(server, f"/reads_late?{token}&{fifo}")
    server.note(token)
    # The server stops reading at a byte mark: TCP fills up, and a write that may not wait says so.
    message = frame(BINARY, b"m" * 65536)
    client.socket.settimeout(1)
    whole, rest = 0, b""
    while True:
        try:
            sent = client.socket.send(rest or message)
        except TimeoutError:
            break
        rest = (rest or message)[sent:]
        whole += not rest
        assert whole < 1000, "64 MB were taken from a peer whose messages nobody receives"
    client.socket.settimeout(20)
    with open(fifo, "w"):
        pass
    if rest:
        client.send_bytes(rest)
        whole += 1
    client.close_in_order()
    assert server.note(f"{token}-again")["messages"] == whole
