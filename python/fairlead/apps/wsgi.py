"""How a WSGI application is called, PEP 3333, with uWSGI's texts and leniences (compatibility spec §3.2-3.3).

One call of `WsgiCaller.run` is one unit: it makes the environ, calls the application, sends what it returns, and sees
that whatever happened the client gets an end: a response, a Close frame, or a cut connection. It knows no host; its
verbs wait by themselves. The invariant: after a handshake no body byte leaves, and the slot always comes back.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Coroutine, Iterable, Mapping
from typing import Any, Callable, Optional, Protocol

from fairlead._native import Request
from fairlead.apps.task import Tally, Unit
from fairlead.apps.wsgi_input import Input
from fairlead.apps.wsgi_response import Response
from fairlead.current import current
from fairlead.errors import BodyFailed, ConnectionClosed, HandshakeRefused
from fairlead.files import stretch_of
from fairlead.websocket import REQUEST_KEY

__all__ = ["AccessLog", "ErrorLog", "Watch", "WsgiApplication", "WsgiCaller"]

#: A WSGI callable; what it returns is checked when it is sent.
WsgiApplication = Callable[[dict[str, Any], Any], Any]
#: Finds the application for a PATH_INFO: its mount point and itself.
Find = Callable[[str], Optional[tuple[str, WsgiApplication]]]


#: The environ of a unit that has ended.
_OVER: dict[str, Any] = {}


class ErrorLog(Protocol):
    """Where an application's failures go."""

    def error(self, text: str) -> None: ...
    def exception(self, text: str, error: BaseException) -> None: ...


class AccessLog(Protocol):
    """Where a line for each request and session goes, if `enabled` or `always`."""

    enabled: bool

    def request(
        self,
        peer: str,
        method: str,
        path: str,
        protocol: str,
        status: int,
        sent_bytes: int,
        duration_s: float,
        variables: Mapping[bytes, bytes],
        always: bool,
    ) -> None: ...
    def session(
        self,
        peer: str,
        path: str,
        duration_s: float,
        received: tuple[int, int],
        sent: tuple[int, int],
        code: int,
        closed_by: str,
        variables: Mapping[bytes, bytes],
        always: bool,
    ) -> None: ...


class Watch(Protocol):
    """Who wants to know how long a unit runs."""

    #: True if every unit is watched from its beginning; others may be watched later.
    watches_all: bool

    def begin(self, unit: Unit) -> None: ...
    def end(self, unit: Unit) -> None: ...


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


class WsgiCaller:
    """Calls one worker's applications. `run` is the host's callable for a unit; it may run in many units at once."""

    def __init__(
        self,
        find: Find,
        base_environ: dict[str, Any],
        *,
        cores: int,
        io_timeout_s: float,
        move_script_name: bool,
        item_by_item: bool,
        show_tracebacks: bool,
        log: ErrorLog,
        access: AccessLog,
        watch: Watch,
        before_items: Callable[[], object] | None = None,
        after_item: Callable[[dict[str, Any]], object] | None = None,
        after_request: Callable[[], object] | None = None,
        has_routes: bool = False,
    ) -> None:
        """`base_environ` holds the keys that do not change; `cores` is the number of units at a time (the size of
        `uwsgi.core`); `io_timeout_s` bounds each wait for the client's body or for room to send; `after_item`, given
        the environ, is what each `yield` of an application means to its concurrency model, and `before_items` is
        called before the first."""
        self._find = find
        self._base = base_environ
        self._timeout_s = io_timeout_s
        self._move_script_name = move_script_name
        self._item_by_item = item_by_item
        self._show_tracebacks = show_tracebacks
        self._log = log
        self._access = access
        self._before_items = before_items
        self._after_item = after_item
        self._watch = watch
        self._after_request = after_request
        self._has_routes = has_routes
        # uWSGI's core numbers: apps use them as client ids, so a number in use is never given twice.
        self._cores: deque[int] | None = deque(range(cores)) if cores > 1 else None
        self.tally = Tally(cores)
        #: The host's way of running the rest of a unit in a task; None where applications cannot be async.
        self.start_task: Callable[[Coroutine[Any, Any, None]], None] | None = None
        #: The worker ends what still runs: a task that is cancelled has not failed.
        self.is_killing = False

    def run(self, request: Request) -> None:
        """Serve one request to its end."""
        # Never taken back: the host runs each unit in a context of its own.
        current.set(request)
        response = Response(request, self._timeout_s, self._log.error)
        core = self._cores.popleft() if self._cores else None
        place = core or 0
        request.unit = unit = Unit(request, response, place, self.tally.by_core[place], time.monotonic())
        if self._watch.watches_all:
            self._watch.begin(unit)
        rest = None
        try:
            unit.environ = environ = self._environ(request, core)
            if self._has_routes:
                _take_notes(unit, environ)
            rest = self._serve(unit, response)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            # An application that calls sys.exit() means its request. A worker serves many: it must not end, and under
            # threads not even lose the thread. Signals are the master's, so none arrives as KeyboardInterrupt.
            self._failed(unit, response, error)
        except BaseException:
            # GreenletExit: the worker ends this unit, nobody has failed. The unit is over with this call anyway.
            _ended_from_outside(request, response)
        finally:
            if rest is None:
                self._end(unit, response, core)
        if rest is not None and self.start_task is not None:
            self.start_task(self._go_on(rest, unit, response, core))

    async def _go_on(self, rest: Any, unit: Unit, response: Response, core: int | None) -> None:
        """What follows the call of an application that is async: the same rules, in a task."""
        try:
            await self._serve_async(unit.request, response, rest)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            self._failed(unit, response, error)
        except BaseException as error:
            # CancelledError: the worker ends this task; or else a cancellation of the application's own went astray.
            if self.is_killing:
                _ended_from_outside(unit.request, response)
            else:
                self._failed(unit, response, error)
        finally:
            self._end(unit, response, core)

    def _end(self, unit: Unit, response: Response, core: int | None) -> None:
        try:
            took_s = time.monotonic() - unit.started
            if unit.is_watched:
                self._watch.end(unit)
            session = unit.request.session
            self.tally.add(unit, response.sent_bytes if session is None else session.counters[3], took_s)
            if self._has_routes:
                _conclude(unit, response)
            if self._after_request is not None:
                try:
                    self._after_request()
                except (Exception, SystemExit, KeyboardInterrupt) as error:  # as for the application itself
                    self._log.exception(f"the after_req_hook raised {type(error).__name__}: {error}", error)
            if (self._access.enabled and not unit.is_unlogged) or unit.is_logged:
                self._write_access(unit, response, took_s)
            # A greenlet that rests until its next request keeps its context, and with it the unit; not so all this.
            unit.environ = _OVER
        finally:
            if core is not None and self._cores is not None:
                self._cores.append(core)
            # From here on another unit may start.
            unit.request.complete()
            # Behind it: who joins in a thread of the unit's looks afterwards whether the request still goes on.
            if unit.memberships is not None:
                self._leave(unit)

    def _leave(self, unit: Unit) -> None:
        joined, unit.memberships = unit.memberships or {}, None
        for membership in list(joined.values()):
            membership.close()

    def _environ(self, request: Request, core: int | None) -> dict[str, Any]:
        environ = request.environ(self._base, core)
        environ["wsgi.input"] = Input(request, self._timeout_s)
        environ["wsgi.errors"] = sys.stderr
        environ[REQUEST_KEY] = request
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input_terminated"] = True
        return environ

    def _serve(self, unit: Unit, response: Response) -> Any:
        """Returns what the application gave if a coroutine has to go on with that; None when all is done."""
        request, environ = unit.request, unit.environ
        # Spec §3.1: a peer of the uwsgi protocol may choose the application by its mount point. Headers never get here.
        found = self._find(environ.get("UWSGI_APPID") or environ["PATH_INFO"])
        if found is None:
            response.plain(404, "Not Found", "no application is mounted here\n")
            return None
        mount, application = found
        unit.mount = mount
        if mount and self._move_script_name and environ["PATH_INFO"].startswith(mount):
            environ["SCRIPT_NAME"] = mount
            environ["PATH_INFO"] = environ["PATH_INFO"][len(mount) :]
        result = application(environ, response.start_response)
        kind = type(result)
        if kind is not list and (hasattr(kind, "__await__") or hasattr(kind, "__aiter__")):
            if self.start_task is not None:
                return result
            if isinstance(result, Coroutine):
                result.close()
            raise RuntimeError("the application is async def; start Fairlead with --asyncio N")
        try:
            items = self._send(request, response, result)
            if items is not None:
                self._iterate(request, response, environ, items)
        finally:
            # PEP 3333: `close` is called whatever became of the response.
            if kind is not list and (close := getattr(result, "close", None)) is not None:
                close()
        return None

    async def _serve_async(self, request: Request, response: Response, result: Any) -> None:
        if isinstance(result, Awaitable):
            result = await result
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

    def _send(self, request: Request, response: Response, result: Any) -> Iterable[Any] | None:
        """Sends a result that is whole; returns one that has to be iterated."""
        if request.session is not None:
            # Nothing of the result may be sent, but a generator's code has to run: it may be the application.
            if isinstance(result, Iterable) and not isinstance(result, (bytes, str, list, tuple)):
                return result
            request.release(response.close_code, "")
        elif not result and not response.status and response.refused():
            pass  # the application met a refused handshake and returned nothing: None, [], "" or b""
        elif isinstance(result, bytes) and not self._item_by_item:
            response.whole(result)
        elif type(result) is list and len(result) == 1 and type(result[0]) is bytes:
            response.whole(result[0])  # by far the most frequent result; the next line would do, more slowly
        elif isinstance(result, (list, tuple)) and all(isinstance(item, bytes) for item in result):
            response.whole(b"".join(result))
        elif type(result) is FileWrapper and (stretch := stretch_of(result.file)) is not None:
            response.whole_file(result.file, stretch)
        elif isinstance(result, Iterable):
            return result
        else:
            raise TypeError(f"the application returned {type(result).__name__}, which cannot be iterated")
        return None

    def _iterate(self, request: Request, response: Response, environ: dict[str, Any], items: Iterable[Any]) -> None:
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

    def _failed(self, unit: Unit, response: Response, error: BaseException) -> None:
        request = unit.request
        session = request.session
        if session is not None:
            closed = session.closed
            if closed is not None and isinstance(error_of_session(error), ConnectionClosed):
                # The application was told that the connection is over and let that end it: the usual end.
                request.release(1000, "")
                return
            self._report(unit, error)
            request.release(1011, "")
            return
        is_refusal = isinstance(error_of_session(error), HandshakeRefused) and not response.began
        if is_refusal and response.refused():
            return  # the engine has logged peer, path and rule
        if response.client_left(error):
            return
        cause = error_of_session(error)
        if isinstance(cause, BodyFailed) and cause.status and not response.began:
            # The client's fault and no news to the application's author: a line instead of a traceback.
            self._log.error(f"{request.label}: {cause}; answered with {cause.status}")
            response.faulty_body(cause.status, str(cause))
            return
        self._report(unit, error)
        response.failed(error, self._show_tracebacks)

    def _report(self, unit: Unit, error: BaseException) -> None:
        unit.failed = True
        label = unit.request.label
        self._log.exception(f"{label}: the application raised {type(error).__name__}: {error}", error)

    def _write_access(self, unit: Unit, response: Response, duration_s: float) -> None:
        environ, variables = unit.environ, unit.log_variables or {}
        peer = environ.get("REMOTE_ADDR", "")
        path = environ.get("REQUEST_URI", "")
        session = unit.request.session
        if session is None:
            method, protocol = environ.get("REQUEST_METHOD", ""), environ.get("SERVER_PROTOCOL", "")
            self._access.request(
                peer,
                method,
                path,
                protocol,
                response.status,
                response.sent_bytes,
                duration_s,
                variables,
                unit.is_logged,
            )
            return
        messages_in, messages_out, bytes_in, bytes_out = session.counters
        code, _, by = session.closed or (1006, "", "lost")
        received, sent = (messages_in, bytes_in), (messages_out, bytes_out)
        self._access.session(peer, path, duration_s, received, sent, code, by, variables, unit.is_logged)


def _take_notes(unit: Unit, environ: dict[str, Any]) -> None:
    """What routes want of the line in the log; the engine leaves it among the variables."""
    unit.is_unlogged = environ.pop("fairlead.donotlog", None) is not None
    for key in [key for key in environ if key.startswith("fairlead.logvar.")]:
        name = key[len("fairlead.logvar.") :]
        unit.log_variables = unit.log_variables or {}
        unit.log_variables[name.encode("latin-1")] = environ.pop(key).encode("latin-1")


def _conclude(unit: Unit, response: Response) -> None:
    """Rules for the end see the request; what they and those for answers want of the line in the log."""
    variables, is_unlogged, instead = unit.request.conclude()
    if instead is not None:
        response.status, response.sent_bytes = instead
    unit.is_unlogged = unit.is_unlogged or is_unlogged
    if variables:
        unit.log_variables = {**(unit.log_variables or {}), **dict(variables)}


def _ended_from_outside(request: Request, response: Response) -> None:
    if not request.release(1001, ""):
        response.give_up()


async def _each(result: Iterable[Any]) -> AsyncIterator[Any]:
    for item in result:
        yield item


def error_of_session(error: BaseException) -> BaseException:
    """The engine's own error behind `error`: compatibility modules raise other types *from* it."""
    return error.__cause__ if isinstance(error, OSError) and error.__cause__ is not None else error
