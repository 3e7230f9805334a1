"""The clients that drive the libraries' applications: a WebSocket of the `websockets` library, a visitor with cookies,
and a guest who speaks Socket.IO.

Everything that waits has the time-out of the outer tests, so that a test fails by itself and says where.
"""

from __future__ import annotations

import queue
from types import TracebackType

import requests
import socketio
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


class Refused(Exception):
    """The server did not let a guest in; says what it said."""


class Guest:
    """A real Socket.IO client; what it hears waits in a queue, in order."""

    def __init__(self, server: Server, *transports: str, auth: object = None) -> None:
        self._client = socketio.Client(reconnection=False, handle_sigint=False)
        self._heard: queue.Queue[tuple[object, ...]] = queue.Queue()
        self._client.on("*", lambda *heard: self._heard.put(heard))
        self._client.on("disconnect", lambda reason: self._heard.put(("disconnect", reason)))
        self._client.on("question", lambda question: f"{question} Yes!")
        self._client.on("connect_error", lambda why: self._heard.put(("connect_error", why)))
        try:
            self._client.connect(server.url("", "http"), auth=auth, transports=list(transports), wait_timeout=TIMEOUT_S)
        except socketio.exceptions.ConnectionError as error:
            raise Refused(self.hear()) from error

    @property
    def transport(self) -> str:
        return self._client.transport()

    def emit(self, event: str, *data: object) -> None:
        self._client.emit(event, data)

    def call(self, event: str, *data: object) -> object:
        """Emit, and wait for the acknowledgement."""
        return self._client.call(event, data, timeout=TIMEOUT_S)

    def hear(self) -> tuple[object, ...]:
        """The next event and its data; ("disconnect", reason) at the end."""
        return self._heard.get(timeout=TIMEOUT_S)

    def leave(self) -> None:
        self._client.disconnect()

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
