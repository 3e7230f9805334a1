"""A TCP proxy that can fall silent: what it has open stays open and carries nothing any more, in either direction, as
when a phone leaves its network. What connects afterwards is carried again."""

from __future__ import annotations

import contextlib
import socket
import threading

__all__ = ["SilentProxy"]


class SilentProxy:
    """Listens on a port of the loopback and passes all on to a server, until `fall_silent`."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[_Path] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """HOST:PORT, for an address of a page."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def fall_silent(self) -> None:
        """Carry nothing any more for those who are connected. No end of theirs is told to the other side either."""
        for path in list(self._open):
            path.is_silent.set()

    def __enter__(self) -> SilentProxy:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for path in list(self._open):
            path.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(_Path(client, socket.create_connection(self._server)))


class _Path:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = (client, server)
        self.is_silent = threading.Event()
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.is_silent.is_set():
                    return
                target.sendall(data)
            if not self.is_silent.is_set():
                target.shutdown(socket.SHUT_WR)
