"""A server behind a server, by hand: accepts on a port, reads a request or a packet of the uwsgi protocol, and does
what the test says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

TIMEOUT_S = 20.0


class Backend:
    """Each accepted connection is given to `serve` in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None], port: int = 0) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", port))
        self.errors: list[BaseException] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(TIMEOUT_S)
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(connection)
            except BaseException as error:
                self.errors.append(error)

    def close(self) -> None:
        # Closing alone does not end an accept that another thread is in.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def backend(serve: Callable[[socket.socket], None]) -> Iterator[Backend]:
    """A backend for the length of a block; what went wrong in it fails the test."""
    here = Backend(serve)
    try:
        yield here
    finally:
        here.close()
    if here.errors:
        raise here.errors[0]


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(f"the server ended after {data!r} of {size} bytes")
        data += piece
    return data


def read_packet(connection: socket.socket) -> tuple[int, int, list[tuple[str, str]]]:
    """One packet of the uwsgi protocol (compat §6.1): both modifiers and the variables in order."""
    modifier1, size, modifier2 = struct.unpack("<BHB", exactly(connection, 4))
    block = exactly(connection, size)
    variables = []
    at = 0
    while at < size:
        pair = []
        for _ in range(2):
            (length,) = struct.unpack_from("<H", block, at)
            pair.append(block[at + 2 : at + 2 + length].decode("latin-1"))
            at += 2 + length
        variables.append((pair[0], pair[1]))
    assert at == size
    return modifier1, modifier2, variables


def read_head(connection: socket.socket) -> str:
    """An HTTP request head, without the empty line."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += exactly(connection, 1)
    return data[:-4].decode("latin-1")
