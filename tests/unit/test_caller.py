"""A task's life is the contract's, whatever the interface: here it runs one that nobody else has.

The requests are no engine's: what a caller asks of one is noted, so that a test can say what became of it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fairlead.apps.contract import Application, Caller, Setup
from fairlead.apps.disconnects import TELL_EVERY_S, Disconnects
from fairlead.apps.response import Response
from fairlead.apps.task import Task
from fairlead.errors import BodyFailed, BodyTimedOut, ConnectionClosed, HandshakeRefused, ResponseTimedOut


class Request:
    """A request as far as a caller looks at it."""

    label = "127.0.0.1:1 /"

    def __init__(self, path: str = "/", session: Any = None, refusal: int | None = None) -> None:
        self.path, self.session, self.refusal = path, session, refusal
        self.said: list[Any] = []
        self.has_left = False
        self.task: Task | None = None
        self.is_complete = False

    def respond(self, head: Any, body: bytes) -> None:
        self.said.append((head.status, body))

    def release(self, code: int, reason: str) -> bool:
        if self.session is None:
            return False
        self.said.append(f"release {code}")
        return True

    def answer_refusal(self) -> int | None:
        return self.refusal

    def is_gone(self) -> bool:
        return self.has_left

    def abort(self, why: str) -> None:
        self.said.append(f"abort: {why}")

    def complete(self) -> None:
        assert not self.is_complete
        self.is_complete = True


class Session:
    closed: SimpleNamespace | None = None
    counters = SimpleNamespace(messages_in=1, messages_out=2, bytes_in=30, bytes_out=40, payload_in=24, payload_out=36)


class Notes:
    """Log, access log and watch in one."""

    requests = True
    sessions = True
    watches_all = True

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.watched: list[Task] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    def error(self, text: str) -> None:
        self.lines.append(text)

    def exception(self, text: str, error: BaseException) -> None:
        self.lines.append(text)

    def request(self, peer: str, method: str, path: str, protocol: str, status: int, sent: int, *rest: Any) -> None:
        self.lines.append(f"request {path} {status} {sent}")

    def session(self, peer: str, path: str, took_s: float, received: Any, sent: Any, end: Any, *rest: Any) -> None:
        self.lines.append(f"session {path} {received} {sent} {end.code if end else 1006}")

    def begin(self, task: Task) -> None:
        task.is_watched = True
        self.watched.append(task)

    def end(self, task: Task) -> None:
        self.watched.remove(task)


class Shouting(Caller[Response]):
    """An interface whose application is given the path and returns the text of the page."""

    def environ_of(self, request: Any, core: int | None) -> dict[str, Any]:
        return {"PATH_INFO": request.path, "REQUEST_URI": request.path, "fairlead.core": core}

    def call(self, task: Task, response: Response, application: Application) -> Any:
        given = application(task.environ["PATH_INFO"])
        if not isinstance(given, str):
            return given
        response.plain(200, "OK", given.upper())
        return None

    async def finish(self, request: Any, response: Response, rest: Any) -> None:
        response.plain(200, "OK", (await rest).upper())


def caller_of(application: Application, notes: Notes, mount: str = "", cores: int = 2, **more: Any) -> Shouting:
    def find(path: str) -> tuple[str, Application] | None:
        return (mount, application) if path.startswith(mount) else None

    setup = Setup(cores=cores, io_timeout_s=4.0, log=notes, access=notes, watch=notes, **more)
    return Shouting(Response, find, setup)


def raises(error: BaseException) -> Application:
    def application(path: str) -> str:
        raise error

    return application


def test_a_response_ends_the_task_with_its_line_in_the_log():
    notes, request = Notes(), Request("/page")
    caller = caller_of(lambda path: f"this is {path}", notes)
    caller.run(request)
    assert request.said == [(200, b"THIS IS /PAGE")]
    assert request.is_complete
    assert notes.lines == ["request /page 200 13"]
    assert notes.watched == []
    assert (caller.totals.requests, caller.totals.exceptions, caller.totals.sent_bytes) == (1, 0, 13)


def test_a_path_without_an_application_is_answered_by_the_contract():
    request = Request("/elsewhere")
    caller_of(str, Notes(), mount="/shop").run(request)
    assert request.said == [(404, b"no application is mounted here\n")]
    assert request.is_complete


def test_a_mount_moves_to_the_script_name_if_the_operator_wants_it():
    request, seen = Request("/shop/cart"), []
    caller = caller_of(lambda path: seen.append(path) or "", Notes(), mount="/shop", move_script_name=True)
    caller.run(request)
    assert seen == ["/cart"]
    assert caller.totals.by_mount == {"/shop": [1, 0]}


class OwnBase(BaseException):
    """As `gevent.Timeout` and `asyncio.CancelledError` are."""


class TaskExit(BaseException):
    """As `greenlet.GreenletExit` is."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), SystemExit(1), KeyboardInterrupt(), OwnBase(), TaskExit(), Unprintable()]
)
def test_a_failure_is_answered_with_500_and_counted(error):
    notes, request = Notes(), Request()
    caller = caller_of(raises(error), notes)
    caller.run(request)
    assert request.said == [(500, b"Internal Server Error\n")]
    assert f"raised {type(error).__name__}" in notes.lines[0]
    assert notes.lines[1] == "request / 500 22"
    assert request.is_complete
    assert caller.totals.exceptions == 1


def test_a_failure_of_a_session_closes_it_with_1011():
    notes, request = Notes(), Request(session=Session())
    caller_of(raises(RuntimeError("no")), notes).run(request)
    assert request.said == ["release 1011"]
    assert notes.lines[1] == "session / (1, 24, 30) (2, 36, 40) 1006"


def test_an_application_that_ends_with_its_session_has_not_failed():
    request = Request(session=Session())
    request.session.closed = SimpleNamespace(code=1001, reason="", by="peer")
    caller = caller_of(raises(ConnectionClosed(1001, "", "peer")), Notes())
    caller.run(request)
    assert request.said == ["release 1000"]
    assert caller.totals.exceptions == 0


def test_a_refused_handshake_is_answered_by_the_engine():
    notes, request = Notes(), Request(refusal=403)
    caller_of(raises(HandshakeRefused(403, "origin")), notes).run(request)
    assert request.said == []
    assert notes.lines == ["request / 403 0"]


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


LOST = ConnectionClosed(1006, "the client left", "lost")


@pytest.mark.parametrize(
    "error",
    [
        HandshakeRefused(499, "gone"),
        OSError("write error"),
        LOST,
        caused(OSError("unable to complete websocket handshake"), LOST),
        BaseExceptionGroup("of a task group", [LOST, ExceptionGroup("inner", [LOST])]),
    ],
    ids=repr,
)
def test_clients_that_left_are_one_line_and_a_count_and_no_failure(error):
    notes = Notes()
    notes.requests = False
    caller = caller_of(raises(error), notes)
    for _ in range(1000):
        request = Request()
        request.has_left = True
        caller.run(request)
        assert request.is_complete
    assert notes.lines == ["127.0.0.1:1 /: the client left before it was answered"]
    assert caller.totals.exceptions == 0
    caller.disconnects.tell(at_once=True)
    assert notes.lines[1:] == ["999 more clients left before they were answered"]


def test_those_that_follow_later_are_told_after_a_while():
    lines, now = [], [0.0]
    left = Disconnects(lines.append, lambda: now[0])
    left.note("first")
    left.tell()
    assert lines == ["first: the client left before it was answered"]
    left.note("second")
    now[0] = TELL_EVERY_S
    left.tell()
    left.tell()
    assert lines[1:] == ["1 more client left before it was answered"]
    for _ in range(3):
        left.note("third")
    now[0] = 2 * TELL_EVERY_S
    left.note("fourth")
    assert lines[2:] == ["4 more clients left before they were answered"]
    now[0] = 3 * TELL_EVERY_S
    left.note("fifth")
    assert lines[3:] == ["fifth: the client left before it was answered"]


@pytest.mark.parametrize(
    "error", [LOST, caused(OSError("unable to send"), LOST), ExceptionGroup("tasks", [LOST])], ids=repr
)
@pytest.mark.parametrize(
    ("session", "said", "outcome"),
    [
        (None, (500, b"Internal Server Error\n"), "answered with 500"),
        (Session(), "release 1011", "closed with 1011"),
    ],
    ids=["response", "session"],
)
def test_the_end_of_another_client_is_a_line_and_no_traceback(error, session, said, outcome):
    notes, request = Notes(), Request(session=session)
    caller = caller_of(raises(error), notes)
    caller.run(request)
    assert request.said == [said]
    assert notes.lines[0] == (
        f"127.0.0.1:1 /: {outcome}, because the application let the end of another client's WebSocket pass (the "
        "connection was lost (code 1006, reason 'the client left')); catch ConnectionClosed where it sends to others"
    )
    assert caller.totals.exceptions == 1


def test_a_group_with_another_failure_in_it_is_one_of_the_application_s():
    notes, request = Notes(), Request()
    caller_of(raises(ExceptionGroup("tasks", [LOST, ValueError("no")])), notes).run(request)
    assert "raised ExceptionGroup: tasks" in notes.lines[0]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ResponseTimedOut("the client took nothing for 4 seconds"), "the client took nothing for 4 seconds"),
        (BodyFailed(400, "a chunk has no length"), "a chunk has no length"),
        (BodyTimedOut(408, "nothing came"), "nothing came"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_client_that_stops_in_the_middle_of_a_response_is_no_failure_of_the_application(error, why, is_wrapped):
    notes, request = Notes(), Request()

    class Began(Shouting):
        def call(self, task: Task, response: Response, application: Application) -> Any:
            response.began = True
            raise caused(OSError("write error"), error) if is_wrapped else error

    caller = Began(
        Response, lambda path: ("", str), Setup(cores=1, io_timeout_s=4.0, log=notes, access=notes, watch=notes)
    )
    caller.run(request)
    assert request.said == [f"abort: {why}"], "the front says so in the log"
    assert notes.lines == ["request / 0 0"]
    assert caller.totals.exceptions == 0


def test_a_body_that_breaks_off_is_the_client_s_fault():
    notes, request = Notes(), Request()
    caller = caller_of(raises(BodyTimedOut(408, "nothing came")), notes)
    caller.run(request)
    assert request.said == [(408, b"nothing came\n")]
    assert caller.totals.exceptions == 0


@pytest.mark.parametrize("error", [OwnBase(), TaskExit()])
def test_a_task_that_the_worker_ends_has_not_failed(error):
    for session, said in ((None, [(503, b"the server is stopping\n")]), (Session(), ["release 1001"])):
        notes, request = Notes(), Request(session=session)
        caller = caller_of(raises(error), notes)
        caller.is_killing, caller.task_exit = True, TaskExit
        caller.run(request)
        assert request.said == said
        assert request.is_complete
        assert caller.totals.exceptions == 0
        assert "raised" not in notes.lines[0]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), KeyboardInterrupt()])
def test_a_failure_stays_one_while_the_worker_ends(error):
    request = Request(session=Session())
    caller = caller_of(raises(error), Notes())
    caller.is_killing = True
    caller.run(request)
    assert request.said == ["release 1011"]
    assert caller.totals.exceptions == 1


def test_a_task_that_the_application_ends_has_not_failed_and_its_client_is_not_told_of_a_stop():
    for session, said in ((None, [(500, b"Internal Server Error\n")]), (Session(), ["release 1001"])):
        notes, request = Notes(), Request(session=session)
        caller = caller_of(raises(TaskExit()), notes)
        caller.task_exit = TaskExit
        caller.run(request)
        assert request.said == said
        assert notes.lines[0] == "127.0.0.1:1 /: the application ended this task from outside (TaskExit)"
        assert caller.totals.exceptions == 0


@pytest.mark.parametrize("error", [RuntimeError("the hook"), OwnBase("the hook"), Unprintable()])
def test_the_slot_and_the_memberships_end_whatever_the_hook_behind_a_request_does(error):
    notes, request, closed = Notes(), Request(), []

    class Membership:
        def close(self) -> None:
            closed.append(request.is_complete)

    def application(path: str) -> str:
        assert request.task is not None
        request.task.memberships = {"room": Membership()}
        return ""

    def hook() -> None:
        raise error

    caller = caller_of(application, notes, after_request=hook)
    caller.run(request)
    assert closed == [True]
    assert notes.lines[0].startswith(f"the after_req_hook raised {type(error).__name__}")


def test_cores_in_use_are_never_given_twice_and_come_back():
    notes, cores = Notes(), []
    inner = Request("/inner")

    def application(path: str) -> str:
        cores.append((path, current[-1].task.core))
        if path == "/outer":
            current.append(inner)
            caller.run(inner)
        return ""

    caller = caller_of(application, notes)
    current = [Request("/outer")]
    caller.run(current[0])
    current.append(Request("/last"))
    caller.run(current[-1])
    assert cores == [("/outer", 0), ("/inner", 1), ("/last", 1)]


def test_an_application_that_goes_on_in_a_coroutine_ends_with_it():
    notes, request, started = Notes(), Request(), []

    async def application(path: str) -> str:
        return f"later {path}"

    caller = caller_of(application, notes)
    caller.start_task = started.append
    caller.run(request)
    assert not request.is_complete
    [coroutine] = started
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert request.said == [(200, b"LATER /")]
    assert request.is_complete


def test_a_coroutine_that_is_cancelled_has_failed_unless_the_worker_ends():
    class Cancelled(BaseException):
        pass

    for is_killing, said in (
        (False, [(500, b"Internal Server Error\n")]),
        (True, [(503, b"the server is stopping\n")]),
    ):
        request, started = Request(), []

        async def application(path: str) -> str:
            raise Cancelled

        caller = caller_of(application, Notes())
        caller.start_task, caller.is_killing = started.append, is_killing
        caller.run(request)
        with pytest.raises(StopIteration):
            started[0].send(None)
        assert request.said == said
