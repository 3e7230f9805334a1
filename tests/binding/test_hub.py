"""Joint (b): greenlets that park in a native function and are resumed by the native hub.

Ten thousand of them at once, with exceptions and kills among them. The hub needs a request to start its first task, so
each test has an engine on a free port and sends one. Nothing sleeps but the greenlets, and those sleep in the hub: that
is what is tested.
"""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import greenlet
import pytest
from fairlead import ConnectionClosed
from fairlead._native import Engine, EngineSettings, Head, Hub, Listener, Request, Session
from support.raw_client import RawClient, handshake_request

GREENLETS = 10_000


@contextmanager
def hub_on_a_port() -> Iterator[tuple[Engine, Hub, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = EngineSettings({"slots": 100}, [Listener(listener.detach(), "http")])
        engine = Engine(settings)
    try:
        yield engine, Hub(engine), port
    finally:
        engine.stop(0.0)


def ask(port: int) -> None:
    """A client that wants a plain response."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        while client.recv(65536):
            pass


def serve(
    work: Callable[[Hub, Request], None], requests: int = 1, ask: Callable[[int], None] = ask
) -> list[BaseException]:
    """Run `work` as the task of each of some requests, until the hub has ended by itself. Returns what tasks raised."""
    raised: list[BaseException] = []
    with hub_on_a_port() as (engine, hub, port):
        left = [requests]

        def start(request: Request) -> None:
            try:
                work(hub, request)
                if request.session is None:
                    request.respond(Head("200 OK", []), b"done")
            except BaseException as error:
                raised.append(error)
                raise
            finally:
                request.release(1000, "")
                request.complete()
                left[0] -= 1
                if not left[0]:
                    engine.drain(1001, "")
                    hub.stop()

        def clients() -> None:
            for _ in range(requests):
                ask(port)

        thread = threading.Thread(target=clients)
        thread.start()
        hub.run(start)
        thread.join()
    return raised


def test_ten_thousand_parked_greenlets_all_come_back() -> None:
    ended: list[int] = []

    def work(hub: Hub, request: Request) -> None:
        def task(number: int) -> None:
            hub.sleep(0.001 * (number % 50))
            ended.append(number)

        for number in range(GREENLETS):
            hub.spawn(lambda number=number: task(number))
        while len(ended) < GREENLETS:
            hub.sleep(0.005)

    assert serve(work) == []
    assert sorted(ended) == list(range(GREENLETS))


def test_exceptions_in_some_tasks_end_those_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    reported: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: reported.append(what.exc_type))

    def work(hub: Hub, request: Request) -> None:
        def task(number: int) -> None:
            try:
                hub.sleep(0.001 * (number % 20))
                if number % 3 == 0:
                    raise ValueError(number)
                hub.sleep(0.001)
            finally:
                ended.append(number)

        for number in range(GREENLETS):
            hub.spawn(lambda number=number: task(number))
        while len(ended) < GREENLETS:
            hub.sleep(0.005)

    assert serve(work) == []
    assert len(ended) == GREENLETS
    assert reported == [ValueError] * len(range(0, GREENLETS, 3))


def test_a_kill_ends_every_parked_task_and_runs_its_clean_up() -> None:
    cleaned: list[int] = []
    parked = [0]

    def work(hub: Hub, request: Request) -> None:
        def task(number: int) -> None:
            parked[0] += 1
            try:
                hub.sleep(3600)
            except greenlet.GreenletExit:
                cleaned.append(number)
                raise

        for number in range(GREENLETS):
            hub.spawn(lambda number=number: task(number))
        while parked[0] < GREENLETS:
            hub.sleep(0.001)
        hub.kill()
        hub.sleep(3600)

    raised = serve(work)
    assert [type(error) for error in raised] == [greenlet.GreenletExit]
    assert sorted(cleaned) == list(range(GREENLETS))


def test_a_task_that_something_else_switches_to_goes_on_waiting() -> None:
    """The app's own switch into a parked task is no wake-up: its wait begins again."""
    order: list[str] = []

    def work(hub: Hub, request: Request) -> None:
        box: list[greenlet.greenlet] = []

        def sleeper() -> None:
            box.append(greenlet.getcurrent())
            hub.sleep(0.05)
            order.append("slept")

        def meddler() -> None:
            order.append("meddled")
            box[0].switch()

        hub.spawn(sleeper)
        hub.sleep(0.001)
        hub.spawn(meddler)
        hub.sleep(0.2)

    assert serve(work) == []
    assert order == ["meddled", "slept"]


def test_a_sleep_beyond_what_the_clock_can_name_ends_with_a_kill() -> None:
    def work(hub: Hub, request: Request) -> None:
        hub.kill()
        hub.sleep(1e19)

    assert [type(error) for error in serve(work)] == [greenlet.GreenletExit]


def serve_websocket(work: Callable[[Hub, Session], None]) -> list[BaseException]:
    """The same for a WebSocket, whose client sends back what it gets, and a Close for "close"."""

    def echo(port: int) -> None:
        with RawClient(socket.create_connection(("127.0.0.1", port), timeout=60)) as client:
            client.send_bytes(handshake_request("test", "/"))
            assert client.read_response().status == 101
            while (text := client.read_data().payload) != b"close":
                client.send_text(text)
            client.send_close()

    return serve(lambda hub, request: work(hub, request.accept(None, None, 4.0)), ask=echo)


def test_a_wait_for_a_websocket_takes_nothing_and_says_how_it_ended() -> None:
    found: list[object] = []

    def work(hub: Hub, session: Session) -> None:
        found.append(session.wait(0.05))
        session.send("one")
        found.extend([session.wait(30), session.wait(0), session.receive_nowait(), session.wait(0)])
        session.send("close")
        found.extend([session.wait(), session.wait(0)])
        with pytest.raises(ConnectionClosed):
            session.receive_nowait()

    assert serve_websocket(work) == []
    assert found == [False, True, True, "one", False, True, True]


@pytest.mark.parametrize("verb", ["receive", "wait"])
def test_a_task_that_waits_for_a_message_goes_on_waiting_if_something_else_switches_to_it(verb: str) -> None:
    took: list[float] = []

    def work(hub: Hub, session: Session) -> None:
        task = greenlet.getcurrent()
        hub.spawn(lambda: task.switch())
        began = time.monotonic()
        assert not getattr(session, verb)(0.1)
        took.append(time.monotonic() - began)
        session.send("close")

    assert serve_websocket(work) == []
    assert took[0] >= 0.09


def test_one_task_or_thread_at_a_time_waits_for_a_websocket() -> None:
    found: list[object] = []

    def work(hub: Hub, session: Session) -> None:
        def other() -> None:
            with pytest.raises(RuntimeError, match="another task is waiting"):
                session.wait(30)
            session.send("one")

        hub.spawn(other)
        found.extend([session.wait(30), session.receive_nowait()])
        thread = threading.Thread(target=lambda: found.append(session.wait(30)))
        thread.start()
        session.send("close")
        while thread.is_alive():
            hub.sleep(0.005)

    assert serve_websocket(work) == []
    assert found == [True, "one", True]


def serve_one_after_the_other(work: Callable[[], None]) -> list[int]:
    """Five requests on one connection, in tasks that rest. Returns the identities of their greenlets."""
    with hub_on_a_port() as (engine, hub, port):
        identities: list[int] = []

        def live(first: Request | None) -> None:
            request = first
            while request is not None:
                identities.append(id(greenlet.getcurrent()))
                work()
                request.respond(Head("200 OK", []), b"")
                request.complete()
                if len(identities) == 5:
                    engine.drain(1001, "")
                    hub.stop()
                request = hub.rest()

        def client() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                for _ in range(5):
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                    connection.recv(65536)

        thread = threading.Thread(target=client)
        thread.start()
        hub.run(live)
        thread.join()
    return identities


def test_greenlets_are_used_again_with_an_empty_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="empty")
    seen: list[str] = []

    def work() -> None:
        seen.append(variable.get())
        variable.set("left behind")

    assert len(set(serve_one_after_the_other(work))) == 1
    assert seen == ["empty"] * 5


def test_a_greenlet_that_the_application_keeps_is_not_used_again() -> None:
    """A switch that comes too late finds a dead greenlet, not another request's."""
    kept: list[greenlet.greenlet] = []
    dead: list[bool] = []

    def work() -> None:
        dead.extend(one.dead for one in kept)
        kept.append(greenlet.getcurrent())

    assert len(set(serve_one_after_the_other(work))) == 5
    assert dead == [True] * (1 + 2 + 3 + 4)


def test_the_hub_itself_cannot_wait() -> None:
    with hub_on_a_port() as (_, hub, _port), pytest.raises(RuntimeError, match="only a request's greenlet can wait"):
        hub.sleep(0.1)


def test_tasks_that_have_ended_leave_nothing_behind() -> None:
    class Held:
        pass

    alive: list[int] = []

    def work(hub: Hub, request: Request) -> None:
        def task() -> None:
            held = Held()
            hub.sleep(0.001)
            del held

        for _ in range(1000):
            hub.spawn(task)
        hub.sleep(0.2)
        gc.collect()
        alive.append(sum(isinstance(thing, Held) for thing in gc.get_objects()))

    assert serve(work) == []
    assert alive == [0]
