"""The proxies of the folder: each way to stand in front of one server, started once for each host and shared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from support.proxy_servers import HAProxy, Nginx, Proxy
from support.server import Server


class Way(NamedTuple):
    """One way to stand in front: the proxy, its file on the page, what differs there, the server's listener that it
    reaches, and whether the server learns of the client."""

    name: str
    proxy: type[Proxy]
    file: str
    replace: tuple[tuple[str, str], ...] = ()
    listener: int = 0
    tells: bool = True

    def before(self, upstream: tuple[str, int] | str, *replace: tuple[str, str]) -> Proxy:
        """The proxy, running, in front of an address of a server."""
        return self.proxy(self.file, upstream, dict((*self.replace, *replace)))


#: The listeners of the server behind.
TCP, UNIX, ANNOUNCED = range(3)

NGINX = Way("nginx", Nginx, "/etc/nginx/conf.d/chat.conf")
HAPROXY_HTTP = Way("haproxy_http", HAProxy, "/etc/haproxy/haproxy.cfg")
HAPROXY_PROXY_V2 = Way("haproxy_proxy_v2", HAProxy, "/etc/haproxy/haproxy-tcp.cfg", listener=ANNOUNCED)
HAPROXY_TCP = HAPROXY_PROXY_V2._replace(
    name="haproxy_tcp", replace=((" send-proxy-v2", ""),), listener=TCP, tells=False
)

WAYS = (
    NGINX,
    NGINX._replace(name="nginx_unix", listener=UNIX),
    HAPROXY_HTTP,
    HAPROXY_HTTP._replace(name="haproxy_http_unix", listener=UNIX),
    HAPROXY_TCP,
    HAPROXY_PROXY_V2._replace(name="haproxy_proxy_v1", replace=(("send-proxy-v2", "send-proxy"),)),
    HAPROXY_PROXY_V2,
)


@pytest.fixture(scope="session")
def socket_folder() -> Iterator[str]:
    """A folder whose path is short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="fairlead-") as folder:
        yield folder


@pytest.fixture(scope="session")
def upstream(serve: Callable[..., Server], host: object, socket_folder: str) -> Server:
    """The server behind them all, with its three listeners."""
    path = f"{socket_folder}/{getattr(host, 'name', '')}.sock"
    trust = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "unix")
    listen = ("--http", "127.0.0.1:0", "--http", path, "--http-socket", "127.0.0.1:0", "--enable-proxy-protocol")
    return serve("behind_proxies.py", *trust, listen=listen)


@pytest.fixture(scope="session", params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture(scope="session")
def proxy(upstream: Server, way: Way) -> Iterator[Proxy]:
    """The proxy of the present way, in front of the server of the present host."""
    with way.before(upstream.addresses[way.listener]) as running:
        yield running
