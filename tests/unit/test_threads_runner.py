"""The threads runner by itself, with an engine that hands out what the test gives it."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest
from fairlead.runners.contract import go_on_until
from fairlead.runners.threads import Threads


class Engine:
    """Hands out requests; None, for each thread, when it is dismissed."""

    def __init__(self, slots: int) -> None:
        self.requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._slots = slots

    subscribe = None

    def wait_request(self) -> Any:
        return self.requests.get()

    def dismiss(self) -> None:
        for _ in range(self._slots):
            self.requests.put(None)


class Refused(BaseException):
    pass


def test_threads_serve_all_requests_and_end_when_they_are_dismissed():
    engine, served = Engine(3), queue.SimpleQueue[Any]()
    runner = Threads(engine, lambda request: served.put((request, threading.current_thread().name)), 3)
    for number in range(10):
        engine.requests.put(number)
    runner.stop()
    runner.run()
    found = [served.get_nowait() for _ in range(10)]
    assert sorted(number for number, _ in found) == list(range(10))
    assert {name for _, name in found} <= {"fairlead-1", "fairlead-2", "fairlead-3"}


def test_a_task_that_lets_something_out_costs_no_thread(capsys: pytest.CaptureFixture[str]):
    engine, served = Engine(1), []

    def run_task(request: int) -> None:
        served.append(request)
        if request < 5:
            raise Refused(f"task {request}")

    runner = Threads(engine, run_task, 1)
    for number in range(7):
        engine.requests.put(number)
    runner.stop()
    runner.run()
    assert served == list(range(7))
    assert "Refused: task 4" in capsys.readouterr().err


def test_what_is_raised_into_a_runners_own_thread_is_reported_and_ends_nothing():
    raised, reported = [SystemExit("one"), Refused("two"), KeyboardInterrupt("three")], []

    def step() -> None:
        raise raised[len(reported)]

    go_on_until(lambda: len(reported) == 3, step, reported.append)
    assert reported == raised


def test_a_report_that_fails_is_not_repeated_for_ever():
    steps = []

    def step() -> None:
        steps.append(len(steps))
        raise SystemExit

    def report(error: BaseException) -> None:
        raise OSError("nowhere to write")

    go_on_until(lambda: len(steps) == 3, step, report)
    assert steps == [0, 1, 2]
