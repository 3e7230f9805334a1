"""Applications that fork: the worker serves on, its connections and ports are its own, and a child does no harm."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.machine import APPS, get, is_running, wait_until
from support.raw_client import RawClient
from support.runners import every_runner
from support.server import TIMEOUT_S, Server


class Leash:
    """Children of the application live until it is let go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._end = -1

    def hold(self) -> None:
        self._end = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def let_go(self) -> None:
        if self._end >= 0:
            os.close(self._end)
            self._end = -1


@pytest.fixture
def leash(tmp_path) -> Iterator[Leash]:
    leash = Leash(tmp_path / "leash")
    leash.hold()
    yield leash
    leash.let_go()


@pytest.fixture
def server(start, leash) -> Iterator[Server]:
    yield start(APPS / "forks.py", environ={"FORKS_LEASH": str(leash.path)})
    leash.let_go()


@pytest.fixture
def client(server) -> Iterator[RawClient]:
    """A member of the room."""
    client = RawClient.upgrade(server, "/room")
    client.read_data()
    yield client
    client.close()


def child_that_stays(server: Server) -> int:
    assert get(server, "/stays")[0] == 200
    return int(server.wait_for_line(r"child (\d+) stays")[1])


@every_runner
def test_a_connection_ends_when_the_worker_ends_it_whatever_a_child_has(server):
    client = RawClient.upgrade(server, "/fork-with-socket")
    child = int(server.wait_for_line(r"child (\d+) hears: this process was forked from a worker")[1])
    client.send_text(b"go on")
    assert client.read_close()[0] == 1000
    client.send_close(1000)
    client.read_rest()
    # Requests too, on a connection that was kept.
    with server.connect() as kept:
        kept.sendall(b"GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        other = child_that_stays(server)
        kept.sendall(b"GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while kept.recv(1000):
            pass
    assert is_running(child) and is_running(other)


def test_a_child_holds_no_port_and_no_connection(server, leash):
    with server.connect() as idle:
        idle.sendall(b"GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        child = child_that_stays(server)
        port = server.address[1]
        for fd in Path(f"/proc/{child}/fd").iterdir():
            inode = re.search(r"socket:\[(\d+)\]", os.readlink(fd))
            for table in ("tcp", "tcp6"):
                for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                    if inode and line.split()[9] == inode[1]:
                        assert int(line.split()[1].rpartition(":")[2], 16) != port, line
    server.ask_to_stop()
    server.process.wait(TIMEOUT_S)
    assert is_running(child)
    with socket.socket() as next_one:
        next_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        next_one.bind(server.address)
        next_one.listen()
    leash.let_go()


def test_what_a_child_publishes_comes_at_once(server, client):
    for _ in range(3):
        began = time.monotonic()
        assert get(server, "/publishes")[0] == 200
        assert client.read_data().payload == b"from a child"
        assert time.monotonic() - began < 2
    client.send_text(b"still here")
    assert client.read_data().payload == b"still here"


def test_a_childs_child_is_one_as_well(server, client):
    assert get(server, "/daemonizes")[0] == 200
    assert client.read_data().payload == b"from a daemon"
    assert not any("Exception ignored" in line or "Traceback" in line for line in server.lines)


def test_a_child_can_look_back_but_not_subscribe(server, client):
    assert get(server, "/publishes")[0] == 200
    client.read_data()
    assert get(server, "/multiprocesses")[0] == 200
    server.wait_for_line(r"multiprocessing says \[Message\(offset=\d+, data='from a child'\)\]")
    assert get(server, "/subscribes")[0] == 200
    server.wait_for_line(r"child \d+ hears: this process was forked from a worker")
    # And the parent is a member still.
    assert get(server, "/publishes")[0] == 200
    assert client.read_data().payload == b"from a child"


@every_runner
def test_children_that_come_back_end_and_their_parent_answers(server, client):
    (worker,) = server.worker_pids()
    for path, said in (
        ("/returns", "comes back from the application, and ends"),
        ("/raises", "ends with LookupError: in the child"),
        ("/answers", "ends with RuntimeError: this process was forked from a worker"),
        ("/exits", ""),
    ):
        assert get(server, path) == (200, str(worker).encode())
        server.wait_for_line(f"a process that the application has forked {said}" if said else "GET /exits")
        wait_until(lambda: children(worker) == [], "the child ends")
        client.send_text(b"still here")
        assert client.read_data().payload == b"still here"
    assert get(server, "/whoami") == (200, str(worker).encode())


def children(pid: int) -> list[int]:
    """Those that live: the application waits for none."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if is_running(child)]


def test_a_worker_with_children_hears_its_masters_end(server):
    (worker,) = server.worker_pids()
    child = child_that_stays(server)
    server.signal(signal.SIGKILL)
    wait_until(lambda: not is_running(worker), "the worker ends", 15)
    assert is_running(child)


@every_runner
def test_a_new_program_inherits_none_of_the_workers_descriptors(server, client):
    (worker,) = server.worker_pids()
    assert get(server, "/publishes")[0] == 200
    client.read_data()
    kept = {}
    for about in Path(f"/proc/{worker}/fdinfo").iterdir():
        flags = re.search(r"^flags:\s+(\d+)", about.read_text(), re.MULTILINE)
        assert flags is not None
        if int(about.name) > 2 and not int(flags[1], 8) & os.O_CLOEXEC:
            kept[about.name] = os.readlink(f"/proc/{worker}/fd/{about.name}")
    assert kept == {}
