"""A client of the uwsgi protocol, as nginx is one: packets of variables out, raw HTTP back, WebSocket frames behind it.

`RawClient` does the rest: after a 101 the connection carries frames, as it would without a packet.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterable

from support.raw_client import RawClient, accept_value
from support.server import Server

Variables = Iterable[tuple[str, str]]


def packet(
    variables: Iterable[tuple[str | bytes, str | bytes]] = (),
    *,
    modifier1: int = 0,
    modifier2: int = 0,
    size: int | None = None,
) -> bytes:
    """The bytes of one packet; `size` is announced instead of the block's."""
    block = b""
    for text in (text for pair in variables for text in pair):
        data = text.encode("latin-1") if isinstance(text, str) else text
        block += struct.pack("<H", len(data)) + data
    return struct.pack("<BHB", modifier1, len(block) if size is None else size, modifier2) + block


def variables(path: str = "/", *more: tuple[str, str], method: str = "GET", version: str = "1.1") -> Variables:
    """What nginx's `uwsgi_params` name, then `more`."""
    path_info, _, query = path.partition("?")
    return [
        ("QUERY_STRING", query), ("REQUEST_METHOD", method), ("CONTENT_TYPE", ""), ("CONTENT_LENGTH", ""),
        ("REQUEST_URI", path), ("PATH_INFO", path_info), ("DOCUMENT_ROOT", "/srv/www"),
        ("SERVER_PROTOCOL", f"HTTP/{version}"), ("REQUEST_SCHEME", "http"), ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "4711"), ("SERVER_PORT", "8099"), ("SERVER_NAME", "front.example"),
        ("HTTP_HOST", "front.example:8099"), *more,
    ]  # fmt: skip


def handshake(path: str = "/", *more: tuple[str, str], key: str = "dGhlIHNhbXBsZSBub25jZQ==") -> Variables:
    """The variables of an opening handshake."""
    return variables(
        path,
        ("HTTP_UPGRADE", "websocket"),
        ("HTTP_CONNECTION", "Upgrade"),
        ("HTTP_SEC_WEBSOCKET_KEY", key),
        ("HTTP_SEC_WEBSOCKET_VERSION", "13"),
        *more,
    )


def ask(server: Server, data: bytes, listener: int = 0) -> bytes:
    """Send and read to the end of the connection."""
    with RawClient(server.connect(listener)) as client:
        client.send_bytes(data)
        return client.read_rest()


def upgrade(
    server: Server, path: str = "/", *more: tuple[str, str], behind: bytes = b"", listener: int = 0
) -> RawClient:
    """Connect and complete the handshake; `behind` goes out in the same write, right after the packet."""
    client = RawClient(server.connect(listener))
    key = base64.b64encode(os.urandom(16)).decode()
    client.send_bytes(packet(handshake(path, *more, key=key)) + behind)
    client.response = client.read_response()
    assert client.response.status == 101, (client.response, bytes(client.buffer))
    assert client.response.header("Sec-WebSocket-Accept") == accept_value(key)
    return client
