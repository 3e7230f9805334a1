"""Workers and masters that are killed, reloaded and stopped while clients talk to them.

`Load` keeps connections busy from threads of its own and remembers every surprise; what it found is read at the end.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest
from faults.machine import APPS, BEHAVIOURS, echo, get, is_running, wait_until
from support.raw_client import RawClient
from support.runners import every_read_path, every_runner, one_runner
from support.server import TIMEOUT_S, Server

pytestmark = every_runner

HOLDS_GIL = APPS / "holds_gil.py"


class Load:
    """Repeats `work` in a few threads until the block is left; `surprises` holds what went wrong, `done` counts."""

    def __init__(self, work: Callable[[], object], threads: int = 3) -> None:
        self.surprises: list[str] = []
        self.done = 0
        self._work = work
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, daemon=True) for _ in range(threads)]

    def _repeat(self) -> None:
        while not self._over.is_set():
            try:
                self._work()
                self.done += 1
            except Exception as error:
                self.surprises.append(repr(error))

    def wait_for_rounds(self, count: int) -> None:
        """So many more rounds, so that what happened before had its chance to show."""
        goal = self.done + count
        wait_until(lambda: self.done >= goal or bool(self.surprises), "the load goes on")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)


def pid_and_client(server: Server) -> tuple[int, RawClient]:
    """A WebSocket, and the worker that serves it."""
    client = RawClient.upgrade(server, "/pid")
    return int(client.read_data().payload), client


def clients_of_both_workers(server: Server) -> dict[int, list[RawClient]]:
    found: dict[int, list[RawClient]] = {}
    for _ in range(200):
        pid, client = pid_and_client(server)
        found.setdefault(pid, []).append(client)
        if len(found) == 2 and all(len(clients) >= 5 for clients in found.values()):
            return found
    raise AssertionError(f"connections spread like this: { ({pid: len(c) for pid, c in found.items()}) }")


def test_a_worker_killed_under_load_takes_only_its_own_connections(start):
    server = start(BEHAVIOURS, "--processes", "2")
    by_pid = clients_of_both_workers(server)
    victim, other = by_pid
    survivors = Load(lambda: [echo(client) for client in by_pid[other]], threads=1)
    with survivors:
        survivors.wait_for_rounds(3)
        os.kill(victim, signal.SIGKILL)
        server.wait_for_line(rf"worker \d \(pid {victim}\) was killed by signal 9 \(SIGKILL\); starting another")
        # The port never refuses: the listener is the master's.
        for _ in range(20):
            assert get(server, "/whoami")[0] == 200
        server.wait_for_line(r"worker \d \(pid \d+\) is ready")
        survivors.wait_for_rounds(3)
    assert survivors.surprises == []
    for client in by_pid[victim]:
        client.read_rest()  # ended by the kernel, with FIN or RST
    pids = server.worker_pids()
    assert victim not in pids and other in pids and len(pids) == 2
    wait_until(lambda: int(get(server, "/whoami")[1]) not in (victim, other), "the new worker serves as well")


def test_workers_leave_when_their_master_is_killed_and_close_with_1001(start):
    server = start(BEHAVIOURS, "--processes", "2", "--reload-mercy", "2")
    by_pid = clients_of_both_workers(server)
    server.signal(signal.SIGKILL)
    for clients in by_pid.values():
        for client in clients:
            assert client.read_close()[0] == 1001
            client.send_close(1001)
            client.close()
    wait_until(lambda: not any(is_running(pid) for pid in by_pid), "the workers end", 6)


@one_runner
def test_workers_leave_when_their_master_is_killed_even_if_apps_do_not(start):
    server = start(BEHAVIOURS, "--reload-mercy", "0.5")
    pids = server.worker_pids()
    client = RawClient.upgrade(server, "/stubborn")
    client.read_data()
    server.signal(signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in pids), "the worker ends", 6)


@every_read_path
def test_a_worker_that_holds_the_interpreters_lock_does_not_outlive_its_master(start):
    server = start(HOLDS_GIL, "--reload-mercy", "0.5")
    (worker,) = server.worker_pids()
    client = RawClient.upgrade(server, "/")
    echo(client)
    with server.connect() as other:
        other.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for_line("holds the lock")
        server.signal(signal.SIGKILL)
        # At once, although no line of Python runs there any more: the sessions are told, and the port is let go.
        assert client.read_close()[0] == 1001
        client.close()
        wait_until(lambda: is_refused(server.address), "the port is free")
        wait_until(lambda: not is_running(worker), "the worker ends", 6)
    server.wait_for_line("the master is gone, and this worker does not come to its own end")


@one_runner
def test_a_worker_that_holds_the_lock_while_it_loads_does_not_outlive_its_master(runner):
    server = Server.launch("--wsgi-file", str(HOLDS_GIL), "--http", "127.0.0.1:0", *runner.options,
                           environ={"HOLD_AT_LOAD": "yes"})  # fmt: skip
    try:
        worker = int(server.wait_for_line(r"worker (\d+) holds the lock")[1])
    finally:
        server.signal(signal.SIGKILL)
    wait_until(lambda: not is_running(worker), "the worker ends", 6)
    server.wait_for_end()


def is_refused(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == errno.ECONNREFUSED


def test_a_reload_under_load_refuses_nobody_and_closes_old_sessions_with_1012(start):
    server = start(BEHAVIOURS)
    old, client = pid_and_client(server)
    seen: list[int] = []
    with Load(lambda: seen.append(int(get(server, "/whoami")[1]))) as load:
        load.wait_for_rounds(5)
        server.signal(signal.SIGHUP)
        assert client.read_close()[0] == 1012
        client.send_close(1012)
        client.close()
        server.wait_for_line(r"reloaded: 1 new worker ready")
        wait_until(lambda: seen[-1] != old, "the new worker serves")
        wait_until(lambda: not is_running(old), "the old worker ends")
        load.wait_for_rounds(5)
    assert load.surprises == []
    assert old not in seen[-5:]


@one_runner
def test_a_worker_that_hears_nothing_of_a_reload_is_named(start):
    server = start(BEHAVIOURS, "--worker-reload-mercy", "10")
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    try:
        server.signal(signal.SIGHUP)
        server.wait_for_line(
            rf"worker 1 \(pid {worker}\) has not answered the master for \d s: it was told to leave, and"
        )
    finally:
        os.kill(worker, signal.SIGCONT)
    server.wait_for_line(rf"worker 1 \(pid {worker}\) answers again, after \d+ s")
    wait_until(lambda: not is_running(worker), "it leaves after all")


def test_new_sessions_during_a_reload_work_or_are_told_1012(start):
    server = start(BEHAVIOURS)

    def session() -> None:
        told = (1012).to_bytes(2, "big")
        with RawClient.upgrade(server, "/pid") as client:
            if client.read_data().payload[:2] == told:
                return  # before the application has said its first word
            client.send_text("hello")
            found = client.read_data()
            assert found.payload == b"hello" or found.payload[:2] == told, found

    with Load(session) as load:
        for count in range(1, 4):
            load.wait_for_rounds(10)
            old = server.worker_pids()
            mark = server.mark()
            server.signal(signal.SIGHUP)
            server.wait_for_line(r"reloaded: 1 new worker ready", mark)
            wait_until(lambda old=old: not any(is_running(pid) for pid in old), f"old worker {count} ends")
        load.wait_for_rounds(10)
    assert load.surprises == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_closes_all_sessions_with_1001_and_ends_soon(start, number):
    server = start(BEHAVIOURS)
    crowd = [RawClient.upgrade(server, "/echo") for _ in range(100)]
    began = time.monotonic()
    server.signal(number)
    for client in crowd:
        assert client.read_close()[0] == 1001
        client.send_close(1001)
        client.close()
    assert server.wait_for_end() == 0
    assert time.monotonic() - began < 4, "everybody has answered, and --reload-mercy is 6 s"


def test_peers_that_do_not_answer_the_close_are_cut_at_the_deadline(start):
    server = start(BEHAVIOURS, "--reload-mercy", "1")
    crowd = [RawClient.upgrade(server, "/echo") for _ in range(20)]
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait_for_end() == 0
    assert time.monotonic() - began < 4
    for client in crowd:
        assert client.read_close()[0] == 1001
        client.close()


@pytest.mark.parametrize("path", ["/stubborn", "/park"])
def test_an_app_that_ignores_everything_is_cut_at_the_deadline(start, path):
    server = start(BEHAVIOURS, "--reload-mercy", "1")
    client = RawClient.upgrade(server, path)
    if path == "/stubborn":
        client.read_data()
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait_for_end() == 0
    took = time.monotonic() - began
    assert 0.9 < took < 4, f"{took:.1f} s with a mercy of 1 s"
    assert client.read_close()[0] == 1001


def test_a_request_in_flight_is_finished_before_the_stop(start):
    server = start(BEHAVIOURS)
    answer: list[tuple[int, bytes]] = []
    thread = threading.Thread(target=lambda: answer.append(get(server, "/slow")))
    thread.start()
    server.wait_for_line("slow: begun")
    server.signal(signal.SIGTERM)
    thread.join(TIMEOUT_S)
    assert answer == [(200, b"slow")]
    assert server.wait_for_end() == 0


@one_runner
def test_the_port_is_free_at_once_after_a_stop(start):
    server = start(BEHAVIOURS)
    with RawClient.upgrade(server, "/echo") as client:
        echo(client)
    server.signal(signal.SIGTERM)
    assert server.wait_for_end() == 0
    again = start(BEHAVIOURS, listen=("--http", server.host_header))
    assert get(again, "/hello") == (200, b"hello")
