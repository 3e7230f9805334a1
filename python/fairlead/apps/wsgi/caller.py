"""How a WSGI application is called, PEP 3333, with uWSGI's texts and leniences (compat §3.2-3.3).

A caller on top of contract.py, which owns a task's life: here are the environ, the call, and what each kind of result
means. The invariant: after a handshake no body byte leaves.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Coroutine, Iterable
from typing import Any

from fairlead._native import Request
from fairlead.apps.application_kind import WHEN_ASYNC
from fairlead.apps.contract import Application, Caller, Find, Setup
from fairlead.apps.task import Task
from fairlead.apps.wsgi.bodies import bad_result, can_be_iterated, is_body, joined
from fairlead.apps.wsgi.input import Input
from fairlead.apps.wsgi.response import WsgiResponse
from fairlead.files import range_of
from fairlead.settings.options import Settings
from fairlead.websocket import REQUEST_KEY

__all__ = ["FileWrapper", "WsgiCaller"]


class FileWrapper:
    """`wsgi.file_wrapper`: iterates over a file in blocks, and closes it. The server may send `file` in its own way."""

    def __init__(self, file: Any, block_size: int = 65536) -> None:
        self.file = file
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.file.read(self._block_size)
        if not block:
            raise StopIteration
        return block


class WsgiCaller(Caller[WsgiResponse]):
    """Calls WSGI applications, and those that are async in WSGI's shape where the runner has an asyncio loop."""

    def __init__(self, find: Find, setup: Setup, settings: Settings) -> None:
        super().__init__(WsgiResponse, find, setup)
        self._item_by_item = settings.wsgi_strict
        self._before_items = setup.before_items
        self._after_item = setup.after_item
        self._base = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.multithread": setup.has_threads,
            "wsgi.multiprocess": setup.has_processes,
            "wsgi.run_once": False,
            **setup.variables,
        }
        if not settings.wsgi_disable_file_wrapper:
            self._base["wsgi.file_wrapper"] = FileWrapper

    def environ_of(self, request: Request, core: int | None) -> dict[str, Any]:
        environ = request.environ(self._base, core)
        environ["wsgi.input"] = Input(request, self._timeout_s)
        environ["wsgi.errors"] = sys.stderr
        environ[REQUEST_KEY] = request
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input_terminated"] = True
        return environ

    def call(self, task: Task, response: WsgiResponse, application: Application) -> Any:
        request, environ = task.request, task.environ
        # Before the application sees it, which may change it: middlewares let forms say another method.
        if environ["REQUEST_METHOD"] == "HEAD":
            response.is_head = True
        result = application(environ, response.start_response)
        kind = type(result)
        if kind is not list and _is_async(kind):
            if self.start_task is not None:
                return result
            if isinstance(result, Coroutine):
                result.close()
            raise RuntimeError(f"the application is {WHEN_ASYNC}")
        try:
            items = self._send(request, response, result)
            if items is not None:
                self._iterate(request, response, environ, items)
        finally:
            # PEP 3333: `close` is called whatever became of the response.
            if kind is not list and (close := getattr(result, "close", None)) is not None:
                close()
        return None

    async def finish(self, request: Request, response: WsgiResponse, rest: Any) -> None:
        result = await rest if isinstance(rest, Awaitable) else rest
        try:
            items = result if isinstance(result, AsyncIterable) else self._send(request, response, result)
            if items is not None:
                await response.pieces_async(items if isinstance(items, AsyncIterable) else _each(items))
                request.release(response.close_code, "")
        finally:
            if (aclose := getattr(result, "aclose", None)) is not None:
                await aclose()
            elif (close := getattr(result, "close", None)) is not None:
                close()

    def _send(self, request: Request, response: WsgiResponse, result: Any) -> Iterable[Any] | None:
        """Sends a result that is whole; returns one that has to be iterated."""
        if request.session is not None:
            # Nothing of the result may be sent, but a generator's code has to run: it may be the application.
            if can_be_iterated(result) and not isinstance(result, (bytes, str, list, tuple)):
                return result
            request.release(response.close_code, "")
        elif not result and not response.status and response.refused():
            pass  # the application met a refused handshake and returned nothing: None, [], "" or b""
        elif isinstance(result, bytes) and not self._item_by_item:
            response.whole(result)
        elif type(result) is list and len(result) == 1 and type(result[0]) is bytes:
            response.whole(result[0])  # by far the most frequent result; the next line would do, more slowly
        elif isinstance(result, (list, tuple)):
            response.whole(joined(result))
        elif type(result) is FileWrapper and not response.is_chunked and (part := range_of(result.file)) is not None:
            response.whole_file(result.file, part)
        elif isinstance(result, str) and not result:
            response.whole(b"")  # compat §3.3: harmless
        elif is_body(result):
            return result
        else:
            raise bad_result(result)
        return None

    def _iterate(self, request: Request, response: WsgiResponse, environ: dict[str, Any], items: Iterable[Any]) -> None:
        if self._before_items is not None:
            self._before_items()
        after_item = self._after_item
        if request.session is None:
            response.pieces(items, environ, after_item)
        elif after_item is None:
            deque(items, maxlen=0)
        else:
            for _ in items:
                after_item(environ)
        request.release(response.close_code, "")


def _is_async(kind: type) -> bool:
    """Whether results of this type have to be awaited. What can be iterated both ways is iterated in the plain one, but
    that asyncio's futures have an `__iter__` which is no iteration."""
    return hasattr(kind, "__await__") or (hasattr(kind, "__aiter__") and not hasattr(kind, "__iter__"))


async def _each(result: Iterable[Any]) -> AsyncIterator[Any]:
    for item in result:
        yield item
