"""Servers that tests share: started when first asked for, kept as long as they may be asked for again.

A test's server depends on its runner, app and options. Tests come file by file and runner by runner, so the same server
is asked for again later; but a whole run knows a hundred of them. When the tests of a runner are over for now, the
servers stay, and those that nobody has asked for longest are stopped beyond `LIMIT`. Stopping is strict: see server.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from support.runners import Runner
from support.server import Server

#: As many as stay without a test that uses them.
LIMIT = 8


class Pool:
    """All shared servers of this process. `release` says that no test holds any of them."""

    def __init__(self) -> None:
        self._running: dict[object, Server] = {}

    def server(self, runner: Runner, app: str, options: tuple[str, ...], listen: tuple[str, ...]) -> Server:
        key = (runner.name, app, options, listen)
        server = self._running.pop(key, None) or Server.start(app, *runner.options, *options, listen=listen)
        self._running[key] = server  # the last one asked for stands last
        return server

    def release(self, keep: int = LIMIT) -> None:
        """Stop all but those last asked for."""
        gone = list(self._running)[: max(0, len(self._running) - keep)]
        stop_all([self._running.pop(key) for key in gone])


def stop_all(servers: Iterable[Server]) -> None:
    """Stop them in order; whatever went wrong with any of them is told at the end."""
    servers = list(servers)
    failures = []
    for server in servers:
        server.ask_to_stop()  # all at once; each takes its time
    for server in servers:
        try:
            server.stop()
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)
