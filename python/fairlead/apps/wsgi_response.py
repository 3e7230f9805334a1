"""The response of one WSGI request: `start_response`, `write`, and how a result is sent.

Nothing leaves before the first body byte or the end of the request (PEP 3333), so an application may call
`start_response` again until then. A whole body goes in one step, with its length; pieces go as they come. Once bytes
have left, a failure can only cut the connection: the client must not take half a body for a whole one.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import AsyncIterable, Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Callable, Union

from fairlead._native import Head, Request
from fairlead.files import Stretch

__all__ = ["Response"]

#: Bytes up to which a file is read and sent in one step with the head, which costs less than a way of its own; and the
#: kernel's own files (/sys) have fewer bytes than they say.
_SMALL = 32768

ExcInfo = Union[tuple[type[BaseException], BaseException, TracebackType], tuple[None, None, None]]


class Response:
    """What became of one request. What many never change has its first value in the class: it is made for each."""

    #: For the log; 0: none was set.
    status = 0
    #: Of the body; for the log.
    sent_bytes = 0
    #: The head has left.
    began = False
    _head: Head | None = None

    def __init__(self, request: Request, timeout_s: float, complain: Callable[[str], None]) -> None:
        self._request = request
        self._timeout_s = timeout_s
        self._complain = complain

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333's callable. Raises TypeError for what is no status or header, ValueError for what cannot be sent as
        one, OSError once headers were sent.

        After a handshake nothing of it is sent, and it is no error as in uWSGI: a framework has to answer when its view
        returns, and would take the error for a failure of the view.
        """
        is_websocket = self._request.session is not None
        if self.began or is_websocket:
            if exc_info and exc_info[1] is not None:
                raise exc_info[1].with_traceback(exc_info[2])
            if not is_websocket:
                raise OSError("headers already sent")
        self._head = head = Head(status, headers)
        self.status = head.status
        return self.write

    @property
    def close_code(self) -> int:
        """The Close code for a WebSocket whose application has returned, RFC 6455 §7.4.1: 1011 if its framework answers
        with a server's error, which is what it makes of an exception."""
        return 1011 if self.status >= 500 else 1000

    def write(self, data: bytes) -> None:
        """PEP 3333's imperative way. Anything but bytes is ignored, as in uWSGI. Raises OSError('write error')."""
        if not isinstance(data, bytes) or self._request.session is not None:
            return
        try:
            self._begin()
            if data:
                self._request.write(data, self._timeout_s)
                self.sent_bytes += len(data)
        except OSError as error:
            raise OSError("write error") from error

    def whole(self, body: bytes) -> None:
        """The result is one body."""
        if self.began:
            if body:
                self.write(body)
            self._request.finish()
        elif self._head is None:
            raise no_start()
        else:
            self._request.respond(self._head, body)
            self.began = True
            self.sent_bytes = len(body)

    def whole_file(self, file: Any, stretch: Stretch) -> None:
        """The result is what is left of a regular file: this stretch of it, which `file.read` would give."""
        descriptor, offset, length = stretch
        body: bytes | None = None
        if length <= _SMALL:
            body = file.read(length)
            length = len(body)
        head = self._head
        given = head.header("Content-Length") if head is not None else None
        if given is not None and given.isdecimal():
            length = min(length, int(given))
        elif given is None and head is not None and not self.began and self.status not in (204, 304):
            head.set_length(length)
        if body is not None:
            self.whole(body)
        else:
            self.file(descriptor, offset, length)
            self._request.finish()

    def file(self, descriptor: int, offset: int, length: int) -> None:
        """Send a stretch of a regular file, and return when it was handed on. Raises OSError('write error')."""
        if self._request.session is not None:
            raise OSError("write error")
        try:
            self._begin()
            if length:
                self._request.write_file(descriptor, offset, length, self._timeout_s)
                self.sent_bytes += length
        except OSError as error:
            raise OSError("write error") from error

    def pieces(
        self,
        result: Iterable[Any],
        environ: dict[str, Any],
        after_item: Callable[[dict[str, Any]], object] | None,
    ) -> None:
        """The result is iterated, with `after_item(environ)` after each item.

        The handshake may happen in it; from then on its items are dropped.
        """
        items = iter(result)
        for item in items:
            if self._request.session is not None:
                break
            if isinstance(item, bytes):
                if item:
                    self.write(item)
            elif item is not None:
                self._complain_about(item)
            if after_item is not None:
                after_item(environ)
        if self._request.session is not None:
            # A WebSocket as a generator: this loop is its life, a round for each message.
            if after_item is not None:
                after_item(environ)
                for _ in items:
                    after_item(environ)
            else:
                deque(items, maxlen=0)
            return
        self._end_of_pieces()

    async def pieces_async(self, result: AsyncIterable[Any]) -> None:
        """The same in a coroutine."""
        async for item in result:
            if self._request.session is not None:
                continue
            if isinstance(item, bytes):
                if item:
                    self._begin()
                    if not await self._request.room(self._timeout_s) and not self._request.is_gone():
                        raise OSError(f"the client took nothing for {self._timeout_s:g} seconds")
                    self.write(item)
            elif item is not None:
                self._complain_about(item)
        if self._request.session is None:
            self._end_of_pieces()

    def _complain_about(self, item: object) -> None:
        self._complain(
            f"{self._request.label}: [ERROR] Unhandled object from iterator: {item!r:.200}: a WSGI result yields bytes"
        )

    def _end_of_pieces(self) -> None:
        if not self.began and not self.status and self.refused():
            return
        if self.began:
            self._request.finish()
        else:
            self.whole(b"")

    def plain(self, status: int, reason: str, text: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """The server's own answer."""
        self.status, self.began = status, True
        body = text.encode()
        self.sent_bytes = len(body)
        head = Head(f"{status} {reason}", [("Content-Type", "text/plain; charset=utf-8"), *headers])
        self._request.respond(head, body)

    def failed(self, error: BaseException, show: bool) -> None:
        """The application raised: 500 if nothing was sent, else the connection is cut."""
        if self.began:
            self._request.abort(f"the application raised {type(error).__name__}")
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
        """The unit is ended from outside."""
        if self.began:
            self._request.abort("the worker is stopping")
            return
        try:
            self.plain(503, "Service Unavailable", "the server is stopping\n")
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
        """True if `error` only says that the client has gone; the log has a line for that already."""
        return isinstance(error, OSError) and self._request.is_gone()

    def _begin(self) -> None:
        if self.began:
            return
        if self._head is None:
            raise no_start()
        self._request.start(self._head)
        self.began = True


def no_start() -> RuntimeError:
    return RuntimeError("the application sent a body, or ended, without calling start_response")
