"""Ten thousand connections, most of which end badly: afterwards nothing of them is left, in memory or in the books.

A first round brings caches and pools to their size; what later rounds add to the worker's memory would be a leak.
"""

from __future__ import annotations

import random

import pytest
from faults.machine import BEHAVIOURS, books, echo, get, open_files, private_mib, wait_until
from support.raw_client import BINARY, TEXT, RawClient, frame, handshake_request
from support.runners import every_read_path
from support.server import Server

pytestmark = [every_read_path, pytest.mark.alone]

#: Connections at a time, and no more threads than that: each thread's stack and buffers have to reach their size in the
#: warm-up, or their growth would look like a leak.
BATCH = 100
ROUNDS = 100  # of BATCH connections each: ten thousand
WARM_UP = 30
LEAK_MIB = 6.0


def in_order(client: RawClient) -> None:
    client.send_close(1000)
    client.read_close()


def drop(client: RawClient) -> None:
    """FIN without a Close."""


def reset(client: RawClient) -> None:
    client.abort()


def reset_in_a_message(client: RawClient) -> None:
    client.send_bytes(frame(BINARY, b"x" * 5000, length=70000))
    client.abort()


def half_a_header(client: RawClient) -> None:
    client.send_bytes(frame(TEXT, b"x" * 300)[:3])


def half_a_message(client: RawClient) -> None:
    client.send(TEXT, b"the first half", fin=False)


def reset_with_echoes_on_the_way(client: RawClient) -> None:
    client.send_bytes(frame(TEXT, b"x" * 1000) * 20)
    client.abort()


def break_a_rule(client: RawClient) -> None:
    client.send_bytes(b"\xff\xff\xff\xff")


ENDS = (
    in_order,
    drop,
    reset,
    reset_in_a_message,
    half_a_header,
    half_a_message,
    reset_with_echoes_on_the_way,
    break_a_rule,
)
PATHS = (
    "/echo",
    "/echo",
    "/echo",
    "/echo",
    "/raise_on_message",
    "/raise_after_handshake",
    "/recursion",
    "/system_exit",
)


def one_round(server: Server, dice: random.Random) -> None:
    """BATCH connections at a time: some never finish their handshake, the others end in one of the ways."""
    crowd = []
    for _ in range(BATCH):
        path = dice.choice(PATHS)
        client = RawClient(server.connect())
        request = handshake_request(server.host_header, path)
        if dice.random() < 0.05:
            client.send_bytes(request[: dice.randrange(len(request))])
            if dice.random() < 0.5:
                client.abort()
        elif dice.random() < 0.05:
            client.send_bytes(request)
            client.abort()  # before the answer: the task finds a dead socket
        else:
            client.send_bytes(request)
            crowd.append((path, client))
            continue
        client.close()
    for _, client in crowd:
        assert client.read_response().status == 101
    for path, client in crowd:
        if path == "/echo" and dice.random() < 0.5:
            echo(client)
        elif path not in ("/echo", "/raise_after_handshake"):
            client.send_text("go")
        try:
            dice.choice(ENDS)(client)
        except OSError:
            pass  # the server was faster
        except EOFError:
            pass
        except AssertionError:
            if path == "/echo":
                raise
        client.close()


@pytest.mark.timeout(150)
def test_ten_thousand_connections_leave_nothing_behind(runner, start):
    server = start(BEHAVIOURS, *runner.with_slots(BATCH + 10), "--listen", "2000", "--websockets-close-timeout", "1")
    (pid,) = server.worker_pids()
    dice = random.Random(6455)
    for _ in range(WARM_UP):
        one_round(server, dice)
    wait_until(lambda: books(server)["live"] == 0, "all tasks of the warm-up end")
    files = open_files(pid)
    before, objects, count = private_mib(pid), books(server)["objects"], books(server)["greenlets"]
    for _ in range(ROUNDS - WARM_UP):
        one_round(server, dice)
    wait_until(lambda: books(server)["live"] == 0, "all tasks end")
    wait_until(lambda: open_files(pid) <= files, f"descriptors come back to {files}, are {open_files(pid)}")
    after = books(server)
    assert server.worker_pids() == [pid], "the worker died"
    assert after["greenlets"] <= count + 5, f"greenlets: {count} before, {after['greenlets']} now"
    assert after["objects"] < objects + 3000, f"Python objects: {objects} before, {after['objects']} now"
    grown = private_mib(pid) - before
    assert grown < LEAK_MIB, f"{grown:.1f} MiB more than after the warm-up"
    assert get(server, "/hello") == (200, b"hello")
