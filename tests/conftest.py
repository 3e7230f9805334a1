"""Fixtures of the outer tests: the runner to test under, and servers that are started once and shared.

A server is keyed by runner, app and options and outlives its first test (support/pool.py), so that hundreds of tests
need a few processes. A test that kills, reloads or stops its server starts one of its own with `start`. Unit tests use
none of these.
"""

from __future__ import annotations

import itertools
import ssl
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.certificates import Pair, context, make
from support.pool import Pool, stop_all
from support.raw_client import RawClient
from support.runners import Runner, runners_of
from support.server import Server

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-runners", action="store_true", help="run every test that serves under every runner")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`: see support/distribution.py."""
    from support.distribution import ByFileAndRunner  # pytest-xdist need not be installed

    return ByFileAndRunner(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiplies a test by the runners of its mark, unless it has chosen some itself with `parametrize`."""
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "runner" in metafunc.fixturenames and "runner" not in chosen:
        runners = runners_of(metafunc.definition, metafunc.config.getoption("--all-runners"))
        metafunc.parametrize("runner", runners, indirect=True, scope="session", ids=lambda runner: runner.name)


@pytest.fixture(scope="session")
def runner(request: pytest.FixtureRequest) -> Runner:
    """The concurrency model of the test's server; see support/runners.py."""
    return request.param


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.release(keep=0)


@pytest.fixture(scope="session")
def serve(pool: Pool, runner: Runner) -> Iterator[Callable[..., Server]]:
    """`serve(app, *options, listen=…)`: a shared server under the present runner."""

    def shared(app: str, *options: str, listen: tuple[str, ...] = ("--http", "127.0.0.1:0")) -> Server:
        return pool.server(runner, app, options, listen)

    yield shared
    pool.release()


@pytest.fixture
def start(runner: Runner) -> Iterator[Callable[..., Server]]:
    """`start(app, *options)`: a server for this test alone, under the present runner."""
    running: list[Server] = []

    def own(app: str, *options: str, **how: object) -> Server:
        server = Server.start(app, *runner.options, *options, **how)  # type: ignore[arg-type]
        running.append(server)
        return server

    yield own
    stop_all(running)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """One certificate for all tests that need just one."""
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def trusting(pair: Pair) -> ssl.SSLContext:
    """A client that trusts it."""
    return context(pair)


@pytest.fixture(scope="session")
def socket_folder() -> Iterator[str]:
    """A folder whose path is short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="fairlead-") as folder:
        yield folder


@pytest.fixture
def token() -> str:
    """A name for one request, to find what its app notes."""
    return f"t{next(_numbers)}"


@pytest.fixture
def upgrade() -> Iterator[Callable[..., RawClient]]:
    """`RawClient.upgrade`, with clients that are closed after the test."""
    clients: list[RawClient] = []

    def connect(server: Server, path: str = "/", **how: object) -> RawClient:
        client = RawClient.upgrade(server, path, **how)  # type: ignore[arg-type]
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()
