"""No request is dropped while workers take turns: clients of every listener ask as fast as they get answers, over
connections that stay and over new ones, while the server reloads again and again.

What counts as dropped stands in support/load.py. test_processes.py has what becomes of WebSockets.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.machine import wait_until
from support.certificates import Pair
from support.load import Load, clients_of
from support.runners import every_runner
from support.server import Server

Start = Callable[..., Server]

RELOADS = 3

#: Each listener's options in the order in which the server names them, and what is spoken there.
LISTENERS = {
    "--http": (("--http", "127.0.0.1:0"), "http"),
    "unix": (("--http", "{folder}/r.sock"), "http"),
    "--http-socket": (("--http-socket", "127.0.0.1:0"), "http"),
    "--socket": (("--socket", "127.0.0.1:0"), "uwsgi"),
    "--https": (("--https", "127.0.0.1:0,{pair.https}"), "https"),
}


@pytest.fixture
def begin(start: Start, socket_folder: str, pair: Pair) -> Callable[..., tuple[Server, Load]]:
    """A server with all listeners, and all kinds of clients of each."""

    def make(*options: str) -> tuple[Server, Load]:
        listen = tuple(
            word.format(folder=socket_folder, pair=pair) for words, _ in LISTENERS.values() for word in words
        )
        server = start("generations.py", "--processes", "2", *options, listen=listen)
        clients = {
            f"{name} {kind}": client
            for number, (name, (_, scheme)) in enumerate(LISTENERS.items())
            for kind, client in clients_of(server, number, scheme, pair).items()
        }
        return server, Load(clients)

    return make


def wait_for_successors(server: Server, load: Load, old: set[int], since: int) -> set[int]:
    """The new workers serve everybody and the old ones have ended."""
    server.wait_for_line("reloaded: 2 new workers ready", since)
    wait_until(lambda: not old & set(server.worker_pids()), "the old workers end")
    new = set(server.worker_pids())
    load.wait_until_all_are_served_by(new)
    return new


@every_runner
def test_reloads_drop_no_request(begin: Callable[..., tuple[Server, Load]]) -> None:
    server, load = begin()
    with load:
        serving = set(server.worker_pids())
        for _ in range(RELOADS):
            load.wait_for_more(3)
            since = server.mark()
            server.signal(signal.SIGHUP)
            serving = wait_for_successors(server, load, serving, since)


def test_a_reload_by_a_touched_file_drops_no_request(begin: Callable[..., tuple[Server, Load]], tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    touched.touch()
    server, load = begin("--touch-reload", str(touched))
    with load:
        load.wait_for_more(3)
        since = server.mark()
        os.utime(touched, (1, 1))
        wait_for_successors(server, load, set(server.worker_pids()), since)


def test_workers_that_leave_after_their_last_request_drop_none(begin: Callable[..., tuple[Server, Load]]) -> None:
    server, load = begin("--max-requests", "150")
    with load:
        server.wait_for_lines(r"worker \d \(pid \d+\) is ready", 4)
        load.wait_for_more(3)
