"""How a request becomes a call of an application, and what follows from its end, whatever the interface.

A `Caller` owns a task's life: the request in, then a response, a session or a failure out, the line in the log, the
deadlines, and the slot back. What is WSGI's, or another interface's, is a subclass (wsgi/caller.py): it makes the
variables of a request, calls the application and sends what that gives. It knows no runner; its verbs wait by
themselves, and the runner that is handed `run` does not know which interface it runs. The invariant: whatever happened
the client gets an end (a response, a Close frame, or a cut connection), and the slot always comes back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, Protocol, TypeVar

from fairlead import forked
from fairlead._native import Request
from fairlead.apps.disconnects import Disconnects
from fairlead.apps.response import Response
from fairlead.apps.task import Task, Totals
from fairlead.current import current
from fairlead.errors import (
    BadResult,
    BodyFailed,
    ConnectionClosed,
    HandshakeRefused,
    ResponseTimedOut,
    text_of,
)

if TYPE_CHECKING:
    from fairlead._native import SessionEnd

__all__ = ["AccessLog", "Application", "Caller", "ErrorLog", "Find", "Setup", "Watch"]

#: What an interface calls.
Application = Callable[..., Any]
#: Finds the application for a PATH_INFO: its mount point and itself.
Find = Callable[[str], Optional[tuple[str, Application]]]

R = TypeVar("R", bound=Response)

#: The environ of a task that has ended.
_NO_ENVIRON: dict[str, Any] = {}


class ErrorLog(Protocol):
    """Where an application's failures go."""

    def info(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...
    def exception(self, text: str, error: BaseException) -> None: ...


class AccessLog(Protocol):
    """Where a line for each request goes if `requests` or `always`, and for each session if `sessions` or `always`."""

    requests: bool
    sessions: bool

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
        received: tuple[int, int, int],
        sent: tuple[int, int, int],
        end: SessionEnd | None,
        variables: Mapping[bytes, bytes],
        always: bool,
    ) -> None: ...


class Watch(Protocol):
    """Who wants to know how long a task runs."""

    #: True if every task is watched from its beginning; others may be watched later.
    watches_all: bool

    def begin(self, task: Task) -> None: ...
    def end(self, task: Task) -> None: ...


@dataclass(frozen=True)
class Setup:
    """What the worker tells a caller, of whatever interface."""

    #: The number of tasks at a time (the size of `uwsgi.core`).
    cores: int
    #: Bounds each wait for the client's body or for room to send, in seconds.
    io_timeout_s: float
    log: ErrorLog
    access: AccessLog
    watch: Watch
    #: Variables that do not change from request to request.
    variables: dict[str, Any] = field(default_factory=dict)
    #: Whether several tasks, or several workers, may run the application at the same moment.
    has_threads: bool = False
    has_processes: bool = False
    #: A mount point moves from PATH_INFO to SCRIPT_NAME.
    move_script_name: bool = False
    #: A failure's traceback goes to the client.
    show_tracebacks: bool = False
    #: Routes leave notes for the log, and have rules for the end.
    has_routes: bool = False
    #: Called once each task has ended.
    after_request: Callable[[], object] | None = None
    #: What each `yield` of an application means to the runner, given the environ; `before_items` is called before the
    #: first of them.
    after_item: Callable[[dict[str, Any]], object] | None = None
    before_items: Callable[[], object] | None = None


class Caller(Generic[R]):
    """Calls one worker's applications. `run` is what a runner runs for each request; it may run in many tasks at once.

    A subclass supplies `environ_of`, `call` and, for applications that go on in a coroutine, `finish`.
    """

    def __init__(self, response: type[R], find: Find, setup: Setup) -> None:
        """`response` is the interface's own class of responses."""
        self._response = response
        self._find = find
        self._timeout_s = setup.io_timeout_s
        self._move_script_name = setup.move_script_name
        self._show_tracebacks = setup.show_tracebacks
        self._log = setup.log
        self._access = setup.access
        self._watch = setup.watch
        self._after_request = setup.after_request
        self._has_routes = setup.has_routes
        # uWSGI's core numbers: apps use them as client ids, so a number in use is never given twice.
        self._cores: deque[int] | None = deque(range(setup.cores)) if setup.cores > 1 else None
        self.totals = Totals(setup.cores)
        self.disconnects = Disconnects(setup.log.info)
        #: The runner's way of running the rest of a task as a coroutine; None where applications cannot be async.
        self.start_task: Callable[[Coroutine[Any, Any, None]], None] | None = None
        #: What a runner's tasks are ended by, see its contract.
        self.task_exit: type[BaseException] | None = None
        #: The worker ends what still runs: a task that ends by an exception which is no `Exception` has not failed.
        self.is_killing = False

    # -- what an interface supplies

    def environ_of(self, request: Request, core: int | None) -> dict[str, Any]:
        """The variables of one request; `core` is None where there is one core only."""
        raise NotImplementedError

    def call(self, task: Task, response: R, application: Application) -> Any:
        """Call the application and send what it gives. Returns what a coroutine has to go on with, see `finish`; None
        when all is done. Whatever it raises is a failure of the application."""
        raise NotImplementedError

    async def finish(self, request: Request, response: R, rest: Any) -> None:
        """Go on with what `call` has returned, on an asyncio loop."""
        raise NotImplementedError

    # -- the life of a task

    def run(self, request: Request) -> None:
        """Serve one request to its end."""
        # Never taken back: the runner runs each task in a context of its own.
        current.set(request)
        response = self._response(request, self._timeout_s, self._log.error)
        core = self._cores.popleft() if self._cores else None
        place = core or 0
        request.task = task = Task(request, response, place, self.totals.by_core[place], time.monotonic())
        if self._watch.watches_all:
            self._watch.begin(task)
        rest = None
        try:
            task.environ = environ = self.environ_of(request, core)
            if self._has_routes:
                _take_notes(task, environ)
            # compat §3.1: a peer of the uwsgi protocol may choose the application by its mount point. Headers never get
            # here.
            found = self._find(environ.get("UWSGI_APPID") or environ["PATH_INFO"])
            if found is None:
                response.plain(404, "Not Found", "no application is mounted here\n")
            else:
                mount, application = found
                task.mount = mount
                if mount and self._move_script_name and environ["PATH_INFO"].startswith(mount):
                    environ["SCRIPT_NAME"] = mount
                    environ["PATH_INFO"] = environ["PATH_INFO"][len(mount) :]
                rest = self.call(task, response, application)
        except BaseException as error:
            # An application that calls sys.exit() means its request. A worker serves many: it must not end, and under
            # threads not even lose the thread. Signals are the master's, so none arrives as KeyboardInterrupt. A task
            # that is ended from outside is over with this call anyway.
            self._raised(task, response, error)
        finally:
            if rest is None:
                self._end(task, response, core)
        if rest is not None and self.start_task is not None:
            self.start_task(self._go_on(rest, task, response, core))

    async def _go_on(self, rest: Any, task: Task, response: R, core: int | None) -> None:
        """What follows the call of an application that is async: the same rules, in a coroutine."""
        try:
            await self.finish(task.request, response, rest)
        except BaseException as error:
            self._raised(task, response, error)
        finally:
            self._end(task, response, core)

    def _end(self, task: Task, response: Response, core: int | None) -> None:
        if forked.is_child:
            forked.end(self._log)
        try:
            took_s = time.monotonic() - task.started
            if task.is_watched:
                self._watch.end(task)
            session = task.request.session
            self.totals.add(task, response.sent_bytes if session is None else session.counters.bytes_out, took_s)
            if self._has_routes:
                _add_outcome(task, response)
            if self._after_request is not None:
                try:
                    self._after_request()
                except BaseException as error:  # as for the application itself
                    if not self._is_stop(error):
                        self._log.exception(f"the after_req_hook raised {text_of(error)}", error)
            is_logged = self._access.requests if session is None else self._access.sessions
            if (is_logged and not task.is_unlogged) or task.is_logged:
                self._write_access(task, response, took_s)
            # A greenlet that rests until its next request keeps its context, and with it the task; not so all this.
            task.environ = _NO_ENVIRON
        finally:
            if core is not None and self._cores is not None:
                self._cores.append(core)
            # From here on another task may start.
            task.request.complete()
            # Behind it: who joins in a thread of the task's looks afterwards whether the request still goes on.
            if task.memberships is not None:
                self._leave(task)

    def _leave(self, task: Task) -> None:
        joined, task.memberships = task.memberships or {}, None
        for membership in list(joined.values()):
            membership.close()

    def _is_stop(self, error: BaseException) -> bool:
        """The worker ends this task, by whatever its runner raises for that: nobody has failed. At any other time such
        an exception is the application's: `gevent.Timeout`, `asyncio.CancelledError`, one of its own."""
        return self.is_killing and not isinstance(error, (Exception, SystemExit, KeyboardInterrupt))

    def _raised(self, task: Task, response: Response, error: BaseException) -> None:
        request = task.request
        if task.is_overdue and not isinstance(error, Exception):
            task.failed = True
            self._log.exception(f"harakiri: {request.label} took too long and was ended; the worker goes on", error)
            if not request.release(1011, ""):
                response.overdue()
        elif self._is_stop(error):
            if not request.release(1001, ""):
                response.give_up()
        elif self.task_exit is not None and isinstance(error, self.task_exit):
            self._log.error(f"{request.label}: the application ended this task from outside ({type(error).__name__})")
            if not request.release(1001, ""):
                response.failed(error, show=False)
        else:
            self._failed(task, response, error)

    def _failed(self, task: Task, response: Response, error: BaseException) -> None:
        if forked.is_child:
            forked.end(self._log, error)
        request = task.request
        session = request.session
        cause = error_of_session(error)
        if session is not None:
            if session.closed is not None and isinstance(cause, ConnectionClosed):
                # The application was told that the connection is over and let that end it: the usual end.
                request.release(1000, "")
                return
            if isinstance(cause, ConnectionClosed):
                self._report_other(task, cause, "closed with 1011")
            else:
                self._report(task, error)
            request.release(1011, "")
            return
        is_refusal = isinstance(cause, HandshakeRefused) and not response.began
        if is_refusal and response.refused():
            return  # the engine has logged peer, path and rule
        if response.client_left(error) or response.client_left(cause):
            self.disconnects.note(request.label)
        elif isinstance(cause, BodyFailed) and not response.began:
            # The client's fault and no news to the application's author: a line instead of a traceback.
            status = cause.status or 400
            self._log.error(f"{request.label}: {cause}; answered with {status}")
            response.faulty_body(status, str(cause))
        elif isinstance(cause, (BodyFailed, ResponseTimedOut)):
            response.failed(error, False, why=str(cause))  # which says so in the log
        elif isinstance(cause, ConnectionClosed):
            self._report_other(task, cause, "cut" if response.began else "answered with 500")
            response.failed(error, self._show_tracebacks)
        elif isinstance(error, BadResult):
            task.failed = True
            self._log.error(f"{request.label}: {error}")
            response.failed(error, self._show_tracebacks)
        else:
            self._report(task, error)
            response.failed(error, self._show_tracebacks)

    def _report(self, task: Task, error: BaseException) -> None:
        task.failed = True
        self._log.exception(f"{task.request.label}: the application raised {text_of(error)}", error)

    def _report_other(self, task: Task, error: ConnectionClosed, outcome: str) -> None:
        """A client has left, which is nobody's fault; but the application let that end the request of another."""
        task.failed = True
        self._log.error(
            f"{task.request.label}: {outcome}, because the application let the end of another client's WebSocket pass "
            f"({error}); catch ConnectionClosed where it sends to others"
        )

    def _write_access(self, task: Task, response: Response, duration_s: float) -> None:
        environ, variables = task.environ, task.log_variables or {}
        path = environ.get("REQUEST_URI", "")
        session = task.request.session
        if session is None:
            peer = environ.get("REMOTE_ADDR", "")
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
                task.is_logged,
            )
            return
        counters = session.counters
        # With its port, as in all other lines about a client.
        peer = task.request.label.partition(" ")[0]
        received = (counters.messages_in, counters.payload_in, counters.bytes_in)
        sent = (counters.messages_out, counters.payload_out, counters.bytes_out)
        self._access.session(peer, path, duration_s, received, sent, session.closed, variables, task.is_logged)


def _take_notes(task: Task, environ: dict[str, Any]) -> None:
    """What routes want of the line in the log; the engine leaves it among the variables."""
    task.is_unlogged = environ.pop("fairlead.donotlog", None) is not None
    for key in [key for key in environ if key.startswith("fairlead.logvar.")]:
        name = key[len("fairlead.logvar.") :]
        task.log_variables = task.log_variables or {}
        task.log_variables[name.encode("latin-1")] = environ.pop(key).encode("latin-1")


def _add_outcome(task: Task, response: Response) -> None:
    """Rules for the end see the request; what they and those for answers want of the line in the log."""
    outcome = task.request.conclude()
    if outcome is None:
        return
    if outcome.status is not None:
        response.status, response.sent_bytes = outcome.status, outcome.sent_bytes or 0
    task.is_unlogged = task.is_unlogged or outcome.is_unlogged
    if outcome.variables:
        task.log_variables = {**(task.log_variables or {}), **dict(outcome.variables)}


def error_of_session(error: BaseException) -> BaseException:
    """The engine's own error behind `error`: compatibility modules raise other types *from* it, and task groups raise a
    group of what their tasks have met."""
    if isinstance(error, BaseExceptionGroup):
        causes = [error_of_session(one) for one in error.exceptions]
        return causes[0] if all(isinstance(one, ConnectionClosed) for one in causes) else error
    return error.__cause__ if isinstance(error, OSError) and error.__cause__ is not None else error
