"""A WebSocket to `/orders` of apps/uwsgi_process.py, which does in its worker what the client says.

So a test decides who holds what and when, and in which worker, without waiting for a time.
"""

from __future__ import annotations

import ast
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.raw_client import RawClient
from support.server import Server


class Obedient:
    """A client of `/orders`; `order` gives what the app answers."""

    def __init__(self, client: RawClient) -> None:
        self.client = client

    def tell(self, text: str) -> None:
        self.client.send_text(text)

    def answer(self) -> Any:
        return ast.literal_eval(self.client.read_data().payload.decode())

    def order(self, text: str) -> Any:
        self.tell(text)
        return self.answer()


def one_in_each_worker(server: Server, obedient: Callable[[Server], Obedient]) -> list[Obedient]:
    """A client in each worker, in the order of their ids."""
    pids = server.worker_pids()
    found = []
    for pid in pids:
        others = [other for other in pids if other != pid]
        # Whoever is stopped cannot accept, so the one that is left does.
        for other in others:
            os.kill(other, signal.SIGSTOP)
        try:
            while not all(map(_is_stopped, others)):
                pass  # the kernel stops each thread when it next leaves a system call
            found.append(obedient(server))
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)
    found.sort(key=lambda client: client.order("worker"))
    assert [client.order("worker") for client in found] == list(range(1, len(pids) + 1))
    return found


def _is_stopped(pid: int) -> bool:
    """Every thread has the state T, proc(5)."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}
