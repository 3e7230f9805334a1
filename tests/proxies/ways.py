"""The ways to stand in front of one server, and which of its listeners each of them reaches."""

from __future__ import annotations

from typing import NamedTuple

from support.proxy_servers import HAProxy, Nginx, Proxy


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
TCP, UNIX, ANNOUNCED, UWSGI = range(4)

NGINX = Way("nginx", Nginx, "/etc/nginx/conf.d/chat.conf")
NGINX_UWSGI = Way("nginx_uwsgi", Nginx, "/etc/nginx/conf.d/chat-uwsgi.conf", listener=UWSGI)
HAPROXY_HTTP = Way("haproxy_http", HAProxy, "/etc/haproxy/haproxy.cfg")
HAPROXY_PROXY_V2 = Way("haproxy_proxy_v2", HAProxy, "/etc/haproxy/haproxy-tcp.cfg", listener=ANNOUNCED)
HAPROXY_TCP = HAPROXY_PROXY_V2._replace(
    name="haproxy_tcp", replace=((" send-proxy-v2", ""),), listener=TCP, tells=False
)

WAYS = (
    NGINX,
    NGINX._replace(name="nginx_unix", listener=UNIX),
    NGINX_UWSGI,
    HAPROXY_HTTP,
    HAPROXY_HTTP._replace(name="haproxy_http_unix", listener=UNIX),
    HAPROXY_TCP,
    HAPROXY_PROXY_V2._replace(name="haproxy_proxy_v1", replace=(("send-proxy-v2", "send-proxy"),)),
    HAPROXY_PROXY_V2,
)
