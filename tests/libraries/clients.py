"""The clients that drive the libraries' applications: a WebSocket of the `websockets` library, and a visitor with
cookies.

Everything that waits has the time-out of the outer tests, so that a test fails by itself and says where.
"""

from __future__ import annotations

import requests
from support.server import TIMEOUT_S, Server
from websockets.sync.client import ClientConnection, connect


def dial(server: Server, path: str = "/", **how: object) -> ClientConnection:
    """An open WebSocket; a context manager that closes it."""
    options: dict[str, object] = {
        "open_timeout": TIMEOUT_S,
        "close_timeout": TIMEOUT_S,
        "max_size": None,
        "compression": None,
        **how,
    }
    return connect(server.url(path), **options)  # type: ignore[arg-type]


class Visitor(requests.Session):
    """A browser as far as pages and cookies go: it loads pages, submits forms, and its WebSockets carry its cookies."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def load(self, path: str = "/") -> requests.Response:
        return self.get(self._server.url(path, "http"), timeout=TIMEOUT_S)

    def submit(self, path: str, **fields: str) -> requests.Response:
        """Post a form, with Django's token if a page has set it as a cookie."""
        token = self.cookies.get("csrftoken")
        if token:
            fields["csrfmiddlewaretoken"] = token
        return self.post(self._server.url(path, "http"), data=fields, timeout=TIMEOUT_S)

    def dial(self, path: str) -> ClientConnection:
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        return dial(self._server, path, additional_headers={"Cookie": cookies} if cookies else {})
