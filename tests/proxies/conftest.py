"""The proxies of the folder: each way to stand in front of one server, started once for each host and shared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from support.proxy_servers import HAProxy, Nginx, Proxy
from support.server import Server


class Way(NamedTuple):
    """One way to stand in front: the proxy, its file on the page, and by what it reaches the server."""

    name: str
    proxy: type[Proxy]
    file: str
    over_unix: bool = False


NGINX = Way("nginx", Nginx, "/etc/nginx/conf.d/chat.conf")
HAPROXY_HTTP = Way("haproxy_http", HAProxy, "/etc/haproxy/haproxy.cfg")
HAPROXY_TCP = Way("haproxy_tcp", HAProxy, "/etc/haproxy/haproxy-tcp.cfg")

WAYS = (
    NGINX,
    NGINX._replace(name="nginx_unix", over_unix=True),
    HAPROXY_HTTP,
    HAPROXY_HTTP._replace(name="haproxy_http_unix", over_unix=True),
    HAPROXY_TCP,
)


@pytest.fixture(scope="session")
def socket_folder() -> Iterator[str]:
    """A folder whose path is short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="fairlead-") as folder:
        yield folder


@pytest.fixture(scope="session")
def upstream(serve: Callable[..., Server], host: object, socket_folder: str) -> Server:
    """The server behind them all; it listens at TCP first, and at a UNIX socket."""
    path = f"{socket_folder}/{getattr(host, 'name', '')}.sock"
    trust = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "unix")
    return serve("behind_proxies.py", *trust, listen=("--http", "127.0.0.1:0", "--http", path))


@pytest.fixture(scope="session", params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture(scope="session")
def proxy(upstream: Server, way: Way) -> Iterator[Proxy]:
    """The proxy of the present way, in front of the server of the present host."""
    with way.proxy(way.file, upstream.addresses[way.over_unix]) as running:
        yield running
