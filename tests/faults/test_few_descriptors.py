"""More clients than the process may have open files: the others wait, and the worker goes on obeying its master."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest
from faults.machine import BEHAVIOURS, get, is_running, open_files, wait_until
from support.server import TIMEOUT_S, Server

LIMIT = 60


@pytest.fixture
def crowded(start, runner) -> Iterator[tuple[Server, int, list[socket.socket]]]:
    """A server with a limit of 60 open files and 100 clients, and its worker."""
    server = start(
        BEHAVIOURS, *runner.with_slots(10), "--reload-mercy", "2", under=("prlimit", f"--nofile={LIMIT}:{LIMIT}")
    )
    (worker,) = server.worker_pids()
    clients = [server.connect() for _ in range(100)]
    server.wait_for_line("no connection can be accepted: all but 15 of 60 open files are in use")
    yield server, worker, clients
    for client in clients:
        client.close()


def test_a_crowd_leaves_the_worker_some_descriptors(crowded):
    server, worker, clients = crowded
    assert LIMIT - 20 <= open_files(worker) <= LIMIT - 10
    for client in clients:
        client.close()
    assert get(server, "/whoami") == (200, str(worker).encode())


def test_a_crowded_worker_hears_a_reload_and_a_stop(crowded):
    server, worker, _ = crowded
    server.signal(signal.SIGHUP)
    server.wait_for_line("reloaded: 1 new worker ready")
    wait_until(lambda: not is_running(worker), "the old worker leaves", 6)
    server.ask_to_stop()
    assert server.wait_for_end() == 0
    assert not any("killed" in line or "Traceback" in line for line in server.lines), server.lines


def test_a_crowded_worker_does_not_outlive_its_master(crowded):
    server, worker, _ = crowded
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(worker), "the worker ends", 8)


def test_too_few_open_files_for_the_slots_are_told_at_the_start(start, runner):
    server = start(BEHAVIOURS, *runner.with_slots(50), under=("prlimit", "--nofile=40:60"))
    server.wait_for_line(r"50 slots may need \d+ open files in each worker, and the limit is 60")


def test_closed_standard_descriptors_become_dev_null(runner, tmp_path):
    path, pidfile = str(tmp_path / "socket"), tmp_path / "pid"
    server = Server.launch(
        "--http", path, "--wsgi-file", str(BEHAVIOURS), "--pidfile", str(pidfile), *runner.options,
        under=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"),
    )  # fmt: skip
    try:
        client = socket.socket(socket.AF_UNIX)
        wait_until(lambda: client.connect_ex(path) == 0, "the socket is there")
        client.settimeout(TIMEOUT_S)
        with client:
            client.sendall(b"GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        processes = [int(pidfile.read_text()), *server.worker_pids()]
        assert len(processes) == 2
        for pid in processes:
            assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
        server.ask_to_stop()
        assert server.wait_for_end() == 0
    finally:
        server.kill()
