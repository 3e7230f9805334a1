"""A reload behind a proxy that keeps connections to the server: nobody's request is lost, and no 502 is seen.

What counts as dropped stands in support/load.py; the same without a proxy in test_reload_under_load.py.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable

from faults.machine import wait_until
from proxies.ways import HAPROXY_HTTP, HAPROXY_PROXY_V2, NGINX, NGINX_UWSGI
from support.load import Client, Load, kept, single
from support.proxy_servers import Proxy
from support.raw_client import RawClient
from support.server import Server

WAYS = (NGINX, NGINX_UWSGI, HAPROXY_HTTP, HAPROXY_PROXY_V2)


def clients_of(proxy: Proxy) -> tuple[Client, Client]:
    def connect() -> RawClient:
        return RawClient(proxy.connect())

    return kept(proxy, connect), single(proxy, connect)


def reload(server: Server) -> None:
    old = set(server.worker_pids())
    server.signal(signal.SIGHUP)
    wait_until(lambda: not old & set(server.worker_pids()), "the old workers end")


def test_reloads_behind_proxies_drop_no_request(start: Callable[..., Server], socket_folder: str) -> None:
    listen = ("--http", "127.0.0.1:0", "--http", f"{socket_folder}/reload.sock")
    listen += ("--http-socket", "127.0.0.1:0", "--enable-proxy-protocol", "--socket", "127.0.0.1:0")
    server = start("generations.py", "--processes", "2", listen=listen)
    with contextlib.ExitStack() as stack:
        clients = {}
        for way in WAYS:
            proxy = stack.enter_context(way.before(server.addresses[way.listener]))
            for number in range(2):
                clients[f"{way.name} kept {number}"], clients[f"{way.name} single {number}"] = clients_of(proxy)
        with Load(clients) as load:
            for _ in range(3):
                load.wait_for_more(5)
                reload(server)
                load.wait_until_all_are_served_by(set(server.worker_pids()))
