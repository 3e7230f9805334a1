"""What became of one request, and the answers that are the server's own, whatever interface the application has.

A caller's response is a subclass that sends what its interface's applications give. Once bytes have left, a failure can
only cut the connection: the client must not take half a body for a whole one.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from http import HTTPStatus
from typing import Callable

from fairlead._native import Head, Request
from fairlead.errors import ConnectionClosed, HandshakeRefused

__all__ = ["Response"]


class Response:
    """The outcome of one request. What many never change has its first value in the class: it is made for each."""

    #: For the log; 0: none was set.
    status = 0
    #: Of the body; for the log.
    sent_bytes = 0
    #: The head has left.
    began = False

    def __init__(self, request: Request, timeout_s: float, complain: Callable[[str], None]) -> None:
        """`timeout_s` bounds each wait for room to send; `complain` writes a line into the log."""
        self._request = request
        self._timeout_s = timeout_s
        self._complain = complain

    @property
    def close_code(self) -> int:
        """The Close code for a WebSocket whose application has returned, RFC 6455 §7.4.1: 1011 if its framework answers
        with a server's error, which is what it makes of an exception."""
        return 1011 if self.status >= 500 else 1000

    def plain(self, status: int, reason: str, text: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """The server's own answer."""
        self.status, self.began = status, True
        body = text.encode()
        self.sent_bytes = len(body)
        head = Head(f"{status} {reason}", [("Content-Type", "text/plain; charset=utf-8"), *headers])
        self._request.respond(head, body)

    def failed(self, error: BaseException, show: bool, why: str = "") -> None:
        """The application raised: 500 if nothing was sent, else the connection is cut, and the log says `why`."""
        if self.began:
            self._request.abort(why or f"the application raised {type(error).__name__}")
            return
        text = "Internal Server Error\n"
        if show:
            text += "\n" + "".join(traceback.format_exception(type(error), error, error.__traceback__))
        try:
            self.plain(500, "Internal Server Error", text)
        except OSError:
            self.status = 500  # the client did not wait for it

    def faulty_body(self, status: int, why: str) -> None:
        """The application gave up on a body that broke off by the client's fault."""
        try:
            self.plain(status, HTTPStatus(status).phrase, f"{why}\n", [("Connection", "close")])
        except OSError:
            self.status = status

    def give_up(self) -> None:
        """The task is ended from outside."""
        if self.began:
            self._request.abort("the worker is stopping")
            return
        try:
            self.plain(503, "Service Unavailable", "the server is stopping\n")
        except OSError:
            self.status = 503

    def overdue(self) -> None:
        """The application takes too long."""
        if self.began:
            self._request.abort("the request took too long")
            return
        try:
            self.plain(503, "Service Unavailable", "the request took too long\n")
        except OSError:
            self.status = 503

    def refused(self) -> bool:
        """True if the request was a handshake that was refused; the engine has answered it then."""
        status = self._request.answer_refusal()
        if status is None:
            return False
        self.status, self.began = status, True
        return True

    def client_left(self, error: BaseException) -> bool:
        """True if `error` only says that the client has gone: nobody has failed."""
        return isinstance(error, (OSError, ConnectionClosed, HandshakeRefused)) and self._request.is_gone()
