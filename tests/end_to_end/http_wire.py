"""HTTP/1.1 by hand: a request as bytes, a response read from the socket with its framing noted.

http.client hides how a body was delimited and when the connection ended; these tests are about just that.
Fails on anything a client could not parse.
"""

from __future__ import annotations

from dataclasses import dataclass

from support.raw_client import RawClient
from support.raw_client import Response as Head
from support.server import Server


@dataclass
class Answer:
    """A whole response. `framing`: "length", "chunked", "none" or "close"; `is_complete` False: cut."""

    head: Head
    body: bytes
    framing: str
    is_complete: bool = True

    @property
    def status(self) -> int:
        return self.head.status

    def header(self, name: str) -> str | None:
        return self.head.header(name)


def request(server: Server, path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """The bytes of a request head with Host and these header lines."""
    head = [f"{method} {path} HTTP/{version}", f"Host: {server.host_header}", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def chunks(*parts: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def read_answer(client: RawClient, method: str = "GET") -> Answer:
    """The next response of a connection, RFC 9112 §6.3."""
    head = client.read_response()
    if method == "HEAD" or head.status in (204, 304):
        return Answer(head, b"", "none")
    if (head.header("Transfer-Encoding") or "").lower() == "chunked":
        return _read_chunked(client, head)
    length = head.header("Content-Length")
    if length is None:
        return Answer(head, client.read_rest(), "close")
    try:
        return Answer(head, client.read_exactly(int(length)), "length")
    except (EOFError, ConnectionResetError):
        return Answer(head, client.read_rest(), "length", is_complete=False)


def _read_chunked(client: RawClient, head: Head) -> Answer:
    body = b""
    try:
        while True:
            size = int(_line(client), 16)
            body += client.read_exactly(size)
            assert _line(client) == b""
            if not size:
                return Answer(head, body, "chunked")
    except (EOFError, ConnectionResetError):
        return Answer(head, body + client.read_rest(), "chunked", is_complete=False)


def _line(client: RawClient) -> bytes:
    while b"\r\n" not in client.buffer:
        if not client.read_some():
            raise EOFError
    line, _, rest = bytes(client.buffer).partition(b"\r\n")
    client.buffer[:] = rest
    return line


def get(server: Server, path: str, *lines: str, method: str = "GET", body: bytes = b"", listener: int = 0) -> Answer:
    """One request on a connection of its own."""
    with RawClient(server.connect(listener)) as client:
        if body:
            lines = (*lines, f"Content-Length: {len(body)}")
        client.send_bytes(request(server, path, *lines, method=method) + body)
        return read_answer(client, method)
