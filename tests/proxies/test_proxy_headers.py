"""The PROXY protocol on the wire, at both kinds of listener.

What a header may be is tested in crates/http, how it is taken from a socket in crates/front, and HAProxy's own
headers in test_behind_proxies.py.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from support.raw_client import TEXT, Frame, RawClient, frame, handshake_request
from support.server import Server

ROUTER, WORKER = range(2)

VERSION_1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = bytes([203, 0, 113, 7, 198, 51, 100, 1]) + struct.pack("!HH", 4711, 443)
VERSION_2 = SIGNATURE + b"\x21\x11" + struct.pack("!H", len(ADDRESSES) + 5) + ADDRESSES + b"\x04\x00\x02\x00\x00"

PAGE = b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

BOTH = pytest.mark.parametrize("header", [VERSION_1, VERSION_2], ids=["v1", "v2"])


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    listen = ("--http", "127.0.0.1:0", "--http-socket", "127.0.0.1:0")
    options = ("--http-enable-proxy-protocol", "--enable-proxy-protocol", "--http-headers-timeout", "1")
    return serve("behind_proxies.py", *options, listen=listen)


def environ(server: Server, header: bytes, listener: int) -> dict[str, Any]:
    with RawClient(server.connect(listener)) as client:
        client.send_bytes(header + PAGE)
        assert client.read_response().status == 200
        return json.loads(client.read_rest())["environ"]


@BOTH
def test_the_application_sees_both_ends_of_the_proxys_connection(server: Server, header: bytes) -> None:
    mark = server.mark()
    router, worker = environ(server, header, ROUTER), environ(server, header, WORKER)
    for found in (router, worker):
        assert (found["REMOTE_ADDR"], found["REMOTE_PORT"], found["SERVER_PORT"]) == ("203.0.113.7", "4711", "443")
    # compat §3.1: what a worker's own socket tells by the PROXY protocol only.
    assert router["UWSGI_ROUTER"] == "http" and "SERVER_ADDR" not in router
    assert worker["SERVER_ADDR"] == "198.51.100.1" and "UWSGI_ROUTER" not in worker
    server.wait_for_lines(r'request: 203\.0\.113\.7 "GET /page', 2, since=mark)


def test_a_check_of_the_proxy_has_its_own_address(server: Server) -> None:
    for header in (b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00"):
        found = environ(server, header, WORKER)
        assert found["REMOTE_ADDR"] == "127.0.0.1"
        assert "SERVER_ADDR" not in found and "REMOTE_PORT" not in found


@BOTH
def test_a_websocket_begins_behind_its_header_whatever_the_segments(server: Server, header: bytes) -> None:
    with RawClient(server.connect()) as client:
        client.send_octets(header)
        client.send_bytes(handshake_request("a") + frame(TEXT, "first"))
        assert client.read_response().status == 101
        assert client.read_data() == Frame(TEXT, b"first")
        client.close_in_order()


@pytest.mark.parametrize(
    "sent, line",
    [
        (PAGE, r'has no PROXY header: "GET /page HTTP/1\.1.*" came instead of one; let the proxy send one'),
        (b"PROXY TCP4 203.0.113.7 evil 1 2\r\n" + PAGE, r'the line "PROXY TCP4 203\.0\.113\.7 evil 1 2" is none'),
        (b"PROXY UNKNOWN " + b"x" * 200, r"a line of version 1 is longer than 107 bytes"),
        (SIGNATURE + b"\x21\x11\xff\xff", r"it announces 65535 bytes; at most 4080 are accepted"),
        (SIGNATURE + b"\x21\x21\x00\x0c" + ADDRESSES, r"it announces 12 bytes of addresses, and they need 36"),
        (VERSION_2[:20], r"the PROXY header was not complete in time"),
    ],
)
def test_a_bad_header_costs_its_connection_alone(server: Server, sent: bytes, line: str) -> None:
    mark = server.mark()
    with RawClient(server.connect()) as bystander:
        bystander.send_bytes(VERSION_1 + handshake_request("a"))
        assert bystander.read_response().status == 101
        with RawClient(server.connect()) as client:
            client.send_bytes(sent)
            assert client.read_rest() == b"", "nobody knows what it speaks, so it is told nothing"
        server.wait_for_line(rf"warning: 127\.0\.0\.1:\d+: .*{line}", since=mark)
        bystander.send_text("still here")
        assert bystander.read_data() == Frame(TEXT, b"still here")


@BOTH
def test_without_the_option_a_header_is_a_bad_request(serve: Callable[..., Server], header: bytes) -> None:
    with RawClient(serve("behind_proxies.py").connect()) as client:
        client.send_bytes(header + PAGE)
        assert client.read_response().status == 400
