"""Fixtures for real libraries on a real server: servers that are started once and shared.

The applications stand in `apps/`, each as somebody would write it who has never heard of these tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.server import Server

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[..., Server]]:
    """`run(app, *options, environ=…)`: a server for an application of `apps/`, shared by all who ask for the same.

    An application that is no file is chosen by its options alone, as with `--module`.
    """
    running: dict[object, Server] = {}

    def shared(app: str, *options: str, environ: dict[str, str] | None = None) -> Server:
        key = (app, options, tuple(sorted((environ or {}).items())))
        if key not in running:
            if (APPS / app).is_file():
                running[key] = Server.start(APPS / app, *options, environ=environ)
            else:
                server = Server.launch(
                    "--chdir", str(APPS / app), *options, "--http", "127.0.0.1:0", environ=environ
                )  # fmt: skip
                server.wait_until_ready()
                running[key] = server
        return running[key]

    yield shared
    failures = []
    for server in running.values():
        try:
            server.stop()
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)
