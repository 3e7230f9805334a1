"""Fixtures for real libraries on a real server: servers that are started once and shared.

The applications stand in `apps/`, each as somebody would write it who has never heard of these tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.libraries import start_library
from support.server import Server


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[..., Server]]:
    """`run(folder, *options, environ=…)`: a server in a folder of `apps/`, shared by all who ask for the same."""
    running: dict[object, Server] = {}

    def shared(folder: str, *options: str, environ: dict[str, str] | None = None) -> Server:
        key = (folder, options, tuple(sorted((environ or {}).items())))
        if key not in running:
            running[key] = start_library(folder, *options, environ=environ)
        return running[key]

    yield shared
    failures = []
    for server in running.values():
        try:
            server.stop()
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)
