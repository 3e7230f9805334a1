"""Requests and WebSockets that come over TLS and HTTP/2, and go on to another server by HTTP and the uwsgi protocol.

Both servers are Fairlead: what one of them says the other has to understand.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from end_to_end.http_wire import request
from support import certificates
from support.certificates import Pair
from support.http2_client import Http2Client
from support.raw_client import RawClient
from support.runners import DEFAULT
from support.server import Server

#: More than a tunnel's buffer and than a stream's window.
LARGE = "0123456789abcdef" * 20_000


@pytest.fixture(scope="module")
def servers(pair: Pair) -> Iterator[tuple[Server, Server]]:
    """One at --http and --socket; and one at --http and --https that sends /http and /uwsgi there."""
    behind_at = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    front_at = ("--http", "127.0.0.1:0", "--https", f"127.0.0.1:0,{pair.https}")
    with Server.start("routed.py", *DEFAULT.options, listen=behind_at) as behind:
        http, uwsgi = (f"{host}:{port}" for host, port in behind.addresses)
        rules = ("--route", f"^/http http:{http}", "--route", f"^/uwsgi uwsgi:{uwsgi}")
        with Server.start("routed.py", *DEFAULT.options, *rules, listen=front_at) as front:
            yield behind, front


KINDS = ("http", "uwsgi")


def echo(client: RawClient) -> None:
    for message in ("text", "", LARGE):
        client.send_text(message)
        assert client.read_data().payload == message.encode()
    client.send_close(1000)
    assert client.read_close()[0] == 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_websocket_without_tls_goes_on(servers, kind):
    with RawClient.upgrade(servers[1], f"/{kind}/ws") as client:
        echo(client)


@pytest.mark.parametrize("kind", KINDS)
def test_a_websocket_over_tls_goes_on(servers, kind, trusting):
    front = servers[1]
    made = RawClient(certificates.connect(front, trusting, listener=1))
    head = request(front, f"/{kind}/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    made.send_bytes(head)
    assert made.read_response().status == 101
    echo(made)
    made.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_websocket_inside_http_2_goes_on(servers, kind):
    with Http2Client.connect(servers[1]) as client:
        echo(client.websocket(f"/{kind}/ws"))


@pytest.mark.parametrize("with_length", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_body_inside_http_2_goes_on_whoever_told_its_length(servers, kind, with_length):
    body = LARGE[:100_000].encode()
    headers = [("content-length", str(len(body)))] if with_length else []
    with Http2Client.connect(servers[1]) as client:
        stream = client.request(f"/{kind}/body", method="POST", headers=headers, body=body)
        assert (stream.status, stream.body()) == (200, body)
        stream = client.request(f"/{kind}/body", method="POST")
        assert (stream.status, stream.body()) == (200, b"")
