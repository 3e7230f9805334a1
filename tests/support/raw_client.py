"""A WebSocket client at socket level that can break every rule, and checks what the server must keep.

It builds any frame: reserved bits, any opcode, any length form, masked or not; and any handshake. What it
reads is held to RFC 6455 §5 on the spot: a server's frame is unmasked, has no reserved bits and the shortest
length form. It knows no state of a session, so a test says what it expects, frame by frame.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import struct
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple

from support.server import TIMEOUT_S, Server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: RFC 6455 §1.3
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Headers = Sequence[tuple[str, str]]


class Frame(NamedTuple):
    """One frame of the server."""

    opcode: int
    payload: bytes
    fin: bool = True


class Response(NamedTuple):
    """The head of an HTTP response; header names in lower case."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    version: str = "HTTP/1.1"

    def header(self, name: str) -> str | None:
        """The value of a header that may be there once."""
        values = [value for other, value in self.headers if other == name.lower()]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    form: int | None = None,
    length: int | None = None,
) -> bytes:
    """The bytes of one frame. `mask` None leaves it unmasked; `form` 7, 16 or 64 forces a length form, and
    `length` a length that is not the payload's."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data) if length is None else length
    if form is None:
        form = 7 if size < 126 else 16 if size < 65536 else 64
    masked = 0 if mask is None else 0x80
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if form == 7:
        head += bytes([masked | size])
    elif form == 16:
        head += bytes([masked | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", size)
    if mask is None:
        return head + data
    return head + mask + apply_mask(data, mask)


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """RFC 6455 §5.3, as one large number: quick enough for megabytes."""
    if not data:
        return b""
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")


def close_payload(code: int, reason: bytes | str = b"") -> bytes:
    data = reason.encode() if isinstance(reason, str) else reason
    return struct.pack("!H", code) + data


def fragments(opcode: int, parts: Sequence[bytes]) -> list[bytes]:
    """The frames of one message, one for each part."""
    last = len(parts) - 1
    return [frame(CONTINUATION if at else opcode, part, fin=at == last) for at, part in enumerate(parts)]


def handshake_request(
    host: str,
    path: str = "/",
    *,
    headers: Headers = (),
    without: Iterable[str] = (),
    replace: dict[str, str] | None = None,
    method: str = "GET",
    version: str = "HTTP/1.1",
    key: str = "dGhlIHNhbXBsZSBub25jZQ==",
) -> bytes:
    """The bytes of an opening handshake; `without` and `replace` take names of its own five headers."""
    lines = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
    ]
    gone = {name.lower() for name in without}
    changed = {name.lower(): value for name, value in (replace or {}).items()}
    lines = [(name, changed.get(name.lower(), value)) for name, value in lines if name.lower() not in gone]
    head = f"{method} {path} {version}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in [*lines, *headers])
    return head.encode("latin-1") + b"\r\n"


def accept_value(key: str) -> str:
    """RFC 6455 §4.2.2, item 5.4"""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


class RawClient:
    """One connection. `upgrade` makes an open WebSocket; the constructor only takes a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = bytearray()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) if connection.family in (
            socket.AF_INET,
            socket.AF_INET6,
        ) else None

    @classmethod
    def upgrade(
        cls, server: Server, path: str = "/", *, headers: Headers = (), behind: bytes = b"", listener: int = 0
    ) -> RawClient:
        """Connect and complete the handshake; `behind` goes out in the same write, right after it."""
        client = cls(server.connect(listener))
        key = base64.b64encode(os.urandom(16)).decode()
        request = handshake_request(server.host_header, path, headers=headers, key=key)
        client.send_bytes(request + behind)
        client.response = client.read_response()
        assert client.response.status == 101, (client.response, bytes(client.buffer))
        assert client.response.header("Sec-WebSocket-Accept") == accept_value(key)
        return client

    # -- sending

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_octets(self, data: bytes) -> None:
        """Each byte in a segment of its own, as far as the kernel lets us."""
        for at in range(len(data)):
            self.socket.sendall(data[at : at + 1])

    def send(self, opcode: int, payload: bytes | str = b"", **how: object) -> None:
        self.send_bytes(frame(opcode, payload, **how))  # type: ignore[arg-type]

    def send_text(self, payload: bytes | str) -> None:
        self.send(TEXT, payload)

    def send_close(self, code: int | None = 1000, reason: bytes | str = b"") -> None:
        self.send(CLOSE, b"" if code is None else close_payload(code, reason))

    # -- reading

    def read_some(self) -> bool:
        """More bytes into the buffer; False at the end. A reset is an error: it can destroy a last frame."""
        data = self.socket.recv(262144)
        self.buffer += data
        return bool(data)

    def read_exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.read_some():
                raise EOFError(f"the server closed after {bytes(self.buffer)!r}")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def read_response(self) -> Response:
        """The head of a response; what follows stays in the buffer."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.read_some():
                raise EOFError(f"the server closed after {bytes(self.buffer)!r}")
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer[:] = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, reason = (first + " ").split(" ", 2)
        pairs = [line.split(":", 1) for line in lines]
        return Response(int(status), reason.strip(), [(n.lower(), v.strip()) for n, v in pairs], version)

    def read_frame(self) -> Frame:
        """The next frame; fails if it breaks a rule that any server's frame has to keep."""
        first, second = self.read_exactly(2)
        assert not first & 0x70, f"reserved bits are set: {first:#x}"
        assert not second & 0x80, "a server's frame must not be masked"
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self.read_exactly(2))
            assert size >= 126, f"{size} is not in its shortest form"
        elif second == 127:
            (size,) = struct.unpack("!Q", self.read_exactly(8))
            assert size >= 65536, f"{size} is not in its shortest form"
        found = Frame(first & 0x0F, self.read_exactly(size), bool(first & 0x80))
        if found.opcode >= 8:
            assert found.fin and size <= 125, f"a broken control frame: {found}"
        return found

    def read_data(self) -> Frame:
        """The next data frame, past the server's own pings and pongs."""
        while True:
            found = self.read_frame()
            if found.opcode not in (PING, PONG):
                return found

    def read_close(self) -> tuple[int | None, str]:
        """The next frame, which must be a Close: its code (None without one) and reason."""
        found = self.read_data()
        assert found.opcode == CLOSE, found
        if not found.payload:
            return None, ""
        (code,) = struct.unpack("!H", found.payload[:2])
        return code, found.payload[2:].decode()

    def read_end(self) -> None:
        """Nothing but the orderly end of the TCP stream."""
        if not self.buffer:
            self.read_some()
        assert not self.buffer, f"bytes after the end: {bytes(self.buffer)!r}"

    def read_rest(self) -> bytes:
        """All until the end of the stream; a reset counts as an end, and so does TLS that was cut."""
        try:
            while self.read_some():
                pass
        except (ConnectionResetError, ssl.SSLEOFError):
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def expect_failure(self, code: int) -> str:
        """The server fails the connection with `code`, RFC 6455 §7.1.7; answers the reason."""
        found, reason = self.read_close()
        assert found == code, (found, reason)
        self.read_end()
        return reason

    def close_in_order(self, code: int = 1000) -> None:
        """The close handshake from our side, RFC 6455 §7.1.2."""
        self.send_close(code)
        assert self.read_close()[0] == code
        self.read_end()

    def abort(self) -> None:
        """Vanish with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


__all__ = [
    "BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "TIMEOUT_S", "Frame", "RawClient", "Response",
    "accept_value", "apply_mask", "close_payload", "fragments", "frame", "handshake_request",
]  # fmt: skip
