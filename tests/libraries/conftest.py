"""Fixtures for real libraries on a real server: servers that a module's tests share.

The applications stand in `apps/`, each as somebody would write it who has never heard of these tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.libraries import start_library
from support.server import Server


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., Server]]:
    """`run(folder, *options, environ=…)`: a server in a folder of `apps/`, shared by a module's tests."""
    running: dict[object, Server] = {}

    def shared(folder: str, *options: str, environ: dict[str, str] | None = None) -> Server:
        key = (folder, options, tuple(sorted((environ or {}).items())))
        if key not in running:
            running[key] = start_library(folder, *options, environ=environ)
        return running[key]

    yield shared
    failures = []
    with ThreadPoolExecutor() as pool:  # each takes a moment to stop, and nothing of the machine
        for stopped in [pool.submit(server.stop) for server in running.values()]:
            try:
                stopped.result()
            except AssertionError as error:
                failures.append(str(error))
    assert not failures, "\n".join(failures)
