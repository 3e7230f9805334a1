"""The proxies of the folder: one for each way and runner, started once and shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from proxies.ways import WAYS, Way
from support.proxy_servers import Proxy
from support.server import Server


@pytest.fixture(scope="session")
def upstream(serve: Callable[..., Server], runner: object, socket_folder: str) -> Server:
    """The server behind them all, with its four listeners."""
    path = f"{socket_folder}/{getattr(runner, 'name', '')}.sock"
    trust = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "unix")
    listen = ("--http", "127.0.0.1:0", "--http", path, "--http-socket", "127.0.0.1:0", "--enable-proxy-protocol")
    return serve("behind_proxies.py", *trust, listen=(*listen, "--socket", "127.0.0.1:0"))


@pytest.fixture(scope="session", params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture(scope="session")
def proxy(upstream: Server, way: Way) -> Iterator[Proxy]:
    """The proxy of the present way, in front of the server of the present runner."""
    with way.before(upstream.addresses[way.listener]) as running:
        yield running
