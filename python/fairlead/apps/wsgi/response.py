"""The response of one WSGI request: `start_response`, `write`, and how a result is sent.

Nothing leaves before the first body byte or the end of the request (PEP 3333), so an application may call
`start_response` again until then. A whole body goes in one step, with its length; pieces go as they come. An iterable
is left, and closed, once nobody can get more of it: the client has gone, or the response has no body. Once bytes have
left, a failure can only cut the connection: the client must not take half a body for a whole one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Iterable
from types import TracebackType
from typing import Any, Callable, Union

from fairlead._native import Head
from fairlead.apps.response import Response
from fairlead.apps.wsgi.bodies import bad_item
from fairlead.errors import ResponseTimedOut
from fairlead.files import FileRange

__all__ = ["WsgiResponse"]

#: Bytes up to which a file is read and sent in one step with the head, which costs less than a way of its own; and the
#: kernel's own files (/sys) have fewer bytes than they say.
_SMALL = 32768

ExcInfo = Union[tuple[type[BaseException], BaseException, TracebackType], tuple[None, None, None]]


class WsgiResponse(Response):
    """What an application has said of its response, and what of it has left."""

    #: Of a request with the method HEAD.
    is_head = False
    _head: Head | None = None
    #: Something that is no bytes was dropped, and the log has said so.
    _has_complained = False

    @property
    def is_chunked(self) -> bool:
        """The application says that it puts its body into chunks by itself."""
        return self._head is not None and self._head.header("Transfer-Encoding") is not None

    @property
    def _is_bodiless(self) -> bool:
        """RFC 9110 §6.4.1, §15.3.6: whatever the application sends, nothing of it leaves."""
        return self.is_head or self.status in (204, 205, 304)

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
        head = Head(status, headers)
        if head.status < 200 and not is_websocket:
            raise ValueError(
                "a 101 is the server's to send; open the WebSocket with fairlead.websocket(environ) or "
                "uwsgi.websocket_handshake(), and answer nothing"
                if head.status == 101
                else f"{status!r} is no answer to a request; give a status from 200 to 999"
            )
        self._head = head
        self.status = head.status
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333's imperative way. Anything but bytes is ignored, as in uWSGI. Raises OSError('write error')."""
        if self._request.session is not None:
            return
        if not isinstance(data, bytes):
            self._complain_about(data, "write")
            return
        try:
            self._begin()
            if data and not self._is_bodiless:
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
            if not self._is_bodiless:
                self.sent_bytes = len(body)

    def whole_file(self, file: Any, part: FileRange) -> None:
        """The result is what is left of a regular file: this range of it, which `file.read` would give."""
        descriptor, offset, length = part
        body: bytes | None = None
        if length <= _SMALL:
            body = file.read(length)
            length = len(body)
        head = self._head
        given = head.header("Content-Length") if head is not None else None
        if given is not None and given.isdecimal():
            length = min(length, int(given))
        elif given is None and head is not None and not self.began and self.status not in (204, 205, 304):
            head.set_length(length)
        if body is not None:
            self.whole(body)
        else:
            self.file(descriptor, offset, length)
            self._request.finish()

    def file(self, descriptor: int, offset: int, length: int) -> None:
        """Send a range of a regular file, and return when it was handed on. Raises OSError('write error')."""
        if self._request.session is not None:
            raise OSError("write error")
        try:
            self._begin()
            if length and not self._is_bodiless:
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
            if isinstance(item, bytes) and item:
                self.write(item)
                if self._is_bodiless:
                    break
            else:
                self._pass_over(item)
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
            if isinstance(item, bytes) and item:
                self._begin()
                if self._is_bodiless:
                    break
                if not await self._request.room(self._timeout_s) and not self._request.is_gone():
                    raise ResponseTimedOut(f"the client took nothing for {self._timeout_s:g} seconds")
                self.write(item)
            else:
                self._pass_over(item)
        if self._request.session is None:
            self._end_of_pieces()

    def _pass_over(self, item: object) -> None:
        """An item that is nothing to send: b"", None and "" mean that, anything else is a mistake. Raises BadResult
        while the client can still be told, OSError when it has gone: nobody waits for the next item."""
        if item is not None and not isinstance(item, bytes) and not (isinstance(item, str) and not item):
            if not self.began:
                raise bad_item(item)
            self._complain_about(item, "iterator")
        if self._request.is_gone():
            raise OSError("write error")

    def _complain_about(self, item: object, source: str) -> None:
        """Once for a response: an application may have many of them."""
        if not self._has_complained:
            self._has_complained = True
            self._complain(
                f"{self._request.label}: [ERROR] Unhandled object from {source}: {item!r:.200}: a body is bytes, and "
                "whatever else this response has in it is left out"
            )

    def _end_of_pieces(self) -> None:
        if not self.began and not self.status and self.refused():
            return
        if self.began:
            self._request.finish()
        else:
            self.whole(b"")

    def _begin(self) -> None:
        if self.began:
            return
        if self._head is None:
            raise no_start()
        self._request.start(self._head)
        self.began = True


def no_start() -> RuntimeError:
    return RuntimeError("the application sent a body, or ended, without calling start_response")
