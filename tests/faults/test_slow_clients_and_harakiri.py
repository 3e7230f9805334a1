"""`--harakiri` counts the application's time: a client that is slow, on purpose or not, has no worker killed. A task
that waits too long is ended alone where it can be; else it costs its worker."""

from __future__ import annotations

import threading

import pytest
from faults.machine import APPS, BEHAVIOURS, echo, get
from support.raw_client import RawClient
from support.runners import every_read_path, named

#: Seconds; a client takes longer than this, in parts and in all, and the application a small part of it.
LIMIT_S = 1

SIZE = 256 * 65536


def spread() -> None:
    """Spreads what a client does over a time, so that a limit meets it; nothing is waited for."""
    threading.Event().wait(0.6 * LIMIT_S)


@every_read_path
def test_a_client_that_drips_its_body_and_reads_slowly_kills_nobody(start, upgrade):
    server = start(BEHAVIOURS, "--harakiri", str(LIMIT_S))
    bystander, [pid] = upgrade(server, "/echo"), server.worker_pids()
    with RawClient(server.connect()) as client:
        head = f"POST /takes_and_gives HTTP/1.1\r\nHost: {server.host_header}\r\nContent-Length: 3\r\n\r\n"
        client.send_bytes(head.encode())
        for byte in (b"a", b"b", b"c"):
            spread()
            client.send_bytes(byte)
        spread()
        spread()
        assert client.read_response().status == 200
        client.read_exactly(SIZE)
    bystander.close_in_order()
    assert get(server, "/whoami")[1] == str(pid).encode()
    assert "harakiri" not in "\n".join(server.lines)


#: Those in which a task can be ended from outside.
ENDING = pytest.mark.parametrize(
    "runner", named("greenlets", "generators", "asyncio", "gevent"), indirect=True, ids=lambda runner: runner.name
)


@ENDING
def test_a_task_that_waits_too_long_is_ended_alone(start, upgrade):
    server = start(BEHAVIOURS, "--harakiri", str(LIMIT_S))
    bystander, [pid] = upgrade(server, "/echo"), server.worker_pids()
    assert get(server, "/waits_for_ever") == (503, b"the request took too long\n")
    server.wait_for_line(r"harakiri: 127\.0\.0\.1:\d+ /waits_for_ever took too long and was ended; the worker goes on")
    server.wait_for_line(r"in waits_for_ever$")  # the traceback says where it waited
    with RawClient(server.connect()) as client:
        client.send_bytes(f"GET /waits_in_the_body HTTP/1.1\r\nHost: {server.host_header}\r\n\r\n".encode())
        assert client.read_response().status == 200
        assert not client.read_rest().endswith(b"0\r\n\r\n"), "half a body must not look whole"
    client = upgrade(server, "/waits_for_ever_on_a_websocket")
    assert client.read_data().payload == b"begun"
    assert client.read_close()[0] == 1011
    client.close()
    echo(bystander)
    assert get(server, "/whoami")[1] == str(pid).encode()


@ENDING
def test_a_task_that_does_not_let_itself_be_ended_costs_the_worker(start):
    server = start(BEHAVIOURS, "--harakiri", str(LIMIT_S))
    with RawClient(server.connect()) as client:
        client.send_bytes(f"GET /insists_on_waiting HTTP/1.1\r\nHost: {server.host_header}\r\n\r\n".encode())
        server.wait_for_line("insists_on_waiting: again")
        server.wait_for_line(r"harakiri: \S+ /insists_on_waiting takes too long; worker 1 \(pid \d+\) is killed")


@pytest.mark.parametrize("runner", named("asyncio"), indirect=True, ids=lambda runner: runner.name)
def test_a_coroutine_that_waits_too_long_is_ended_alone(start, upgrade):
    server = start(APPS / "hangs_in_a_coroutine.py", "--harakiri", str(LIMIT_S))
    pids = server.worker_pids()
    assert get(server, "/") == (503, b"the request took too long\n")
    client = upgrade(server, "/")
    assert client.read_data().payload == b"begun"
    assert client.read_close()[0] == 1011
    client.close()
    assert get(server, "/quick") == (200, b"quick")
    assert server.worker_pids() == pids
