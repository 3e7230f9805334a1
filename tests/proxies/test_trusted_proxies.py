"""`--trusted-proxy`: whose word about a client counts, on the wire. The cases of headers are in crates/http.

Peers are told apart by the address they connect from: 127.0.0.3 is trusted and 127.0.0.4 is not.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.raw_client import RawClient, handshake_request
from support.server import TIMEOUT_S, Server

TRUSTED, STRANGER = "127.0.0.3", "127.0.0.4"

Headers = Sequence[tuple[str, str]]
Told = list[tuple[str, str]]

#: What a proxy says of a client who came by TLS.
SAYS: Told = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "chat.example"),
]


@pytest.fixture
def server(serve: Callable[..., Server], runner: Any, socket_folder: str) -> Server:
    path = f"{socket_folder}/t-{runner.name}.sock"
    listen = ("--http", "127.0.0.1:0", "--http", path, "--http-socket", "127.0.0.1:0")
    return serve("behind_proxies.py", "--trusted-proxy", TRUSTED, "--trusted-proxy", "10.0.0.0/8", listen=listen)


def connect(server: Server, source: str, listener: int = 0) -> RawClient:
    address = server.addresses[listener]
    if isinstance(address, str):
        return RawClient(server.connect(listener))
    return RawClient(socket.create_connection(address, timeout=TIMEOUT_S, source_address=(source, 0)))


def environ(server: Server, source: str, headers: Headers, listener: int = 0) -> dict[str, str]:
    with connect(server, source, listener) as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        client.send_bytes(f"GET /page HTTP/1.1\r\nHost: inside:1\r\nConnection: close\r\n{lines}\r\n".encode("latin-1"))
        assert client.read_response().status == 200
        return json.loads(client.read_rest())["environ"]


def test_what_a_trusted_proxy_says_counts(server: Server) -> None:
    mark = server.mark()
    found = environ(server, TRUSTED, SAYS)
    assert found["REMOTE_ADDR"] == "203.0.113.7"
    assert "REMOTE_PORT" not in found, "the proxy's would be wrong and the client's is not known"
    assert (found["wsgi.url_scheme"], found["HTTPS"]) == ("https", "on")
    assert found["HTTP_HOST"] == "chat.example"
    assert found["UWSGI_ROUTER"] == "http"
    server.wait_for_line(r'request: 203\.0\.113\.7 "GET /page HTTP/1\.1" 200', since=mark)


def test_a_stranger_is_not_trusted_and_the_application_sees_what_it_said(server: Server) -> None:
    mark = server.mark()
    found = environ(server, STRANGER, [*SAYS, ("Forwarded", "for=6.6.6.6")])
    assert found["REMOTE_ADDR"] == STRANGER
    assert found["REMOTE_PORT"].isdigit()
    assert found["wsgi.url_scheme"] == "http" and "HTTPS" not in found
    assert found["HTTP_HOST"] == "inside:1"
    assert (found["HTTP_X_FORWARDED_FOR"], found["HTTP_FORWARDED"]) == ("203.0.113.7", "for=6.6.6.6")
    server.wait_for_line(rf'request: {STRANGER} "GET /page HTTP/1\.1" 200', since=mark)


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Forwarded-For", "127.0.0.1, 203.0.113.7")],
        [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-For", "203.0.113.7, 10.1.1.1")],
        [("X-Forwarded-For", '"rubbish, 203.0.113.7')],
        [("Forwarded", 'for="127.0.0.1, for=203.0.113.7')],
        [("Forwarded", "for=127.0.0.1;host=evil"), ("Forwarded", "for=203.0.113.7, for=10.1.1.1")],
    ],
)
def test_what_a_client_forges_before_its_proxy_does_not_count(server: Server, headers: Told) -> None:
    found = environ(server, TRUSTED, headers)
    assert (found["REMOTE_ADDR"], found["HTTP_HOST"]) == ("203.0.113.7", "inside:1")


@pytest.mark.parametrize(
    "headers, why",
    [
        ([*SAYS, ("Forwarded", "for=6.6.6.6")], "Forwarded and X-Forwarded-* do not say the same"),
        ([("X-Forwarded-For", "rubbish")], "the X-Forwarded-For of a trusted proxy cannot be read"),
        ([("Forwarded", "for=1.2.3.4;proto=x")], "the Forwarded of a trusted proxy cannot be read"),
        ([("X-Forwarded-Host", "a/b")], "the X-Forwarded-Host of a trusted proxy cannot be read"),
    ],
)
def test_what_cannot_be_known_changes_nothing_but_the_log(server: Server, headers: Told, why: str) -> None:
    mark = server.mark()
    found = environ(server, TRUSTED, headers)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTP_HOST"]) == (TRUSTED, "http", "inside:1")
    line = server.wait_for_line(rf"warning: {TRUSTED}:\d+: (.*)", since=mark)
    assert line[1].startswith(why)


def test_the_same_origin_is_that_of_the_host_that_the_proxy_tells(server: Server) -> None:
    origin = ("Origin", "https://chat.example")
    for source, headers, status in (
        (TRUSTED, [*SAYS, origin], 101),
        (TRUSTED, [*SAYS, ("Origin", "https://inside:1")], 403),
        (TRUSTED, [*SAYS, ("Origin", "http://chat.example")], 403),
        (STRANGER, [*SAYS, origin], 403),
    ):
        with connect(server, source) as client:
            client.send_bytes(handshake_request("inside:1", headers=headers))
            assert client.read_response().status == status, (source, headers)


def test_a_forwarded_port_makes_no_router_of_a_workers_own_socket(server: Server) -> None:
    router = str(server.addresses[0][1])
    found = environ(server, TRUSTED, [*SAYS, ("X-Forwarded-Port", router)], listener=2)
    assert found["SERVER_PORT"] == router
    assert "UWSGI_ROUTER" not in found


def test_a_unix_socket_has_to_be_named(server: Server, start: Callable[..., Server], socket_folder: str) -> None:
    assert environ(server, "", SAYS, listener=1)["REMOTE_ADDR"] == ""
    named = start("behind_proxies.py", "--trusted-proxy", "unix", listen=("--http", f"{socket_folder}/named.sock"))
    assert environ(named, "", SAYS)["REMOTE_ADDR"] == "203.0.113.7"
