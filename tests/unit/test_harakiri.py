"""Both ends of harakiri on a clock that the test moves: who is asked when, who is killed, and who is not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest
from fairlead.logs import Log
from fairlead.master.harakiri import ANSWER_WITHIN_S, Harakiri
from fairlead.worker.harakiri import END_WITHIN_S, LOOK_AGAIN_S, Deadlines


@dataclass(eq=False)
class Request:
    label: str = "127.0.0.1:1 GET /slow"
    session: object | None = None
    client_time_s: float = 0.0


@dataclass(eq=False)
class Task:
    started: float
    request: Request
    is_watched: bool = False
    is_overdue: bool = False


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def make(clock: Clock, told: list[dict[str, Any]]):
    return lambda limit_s: Deadlines(limit_s, lambda **event: told.append(event), clock)


def task_at(clock: Clock, **about: Any) -> Task:
    return Task(clock.now, Request(**about))


# -- the worker's end


def test_a_limit_for_all_watches_all(make):
    assert make(5.0).watches_all
    assert not make(0.0).watches_all


def test_many_requests_cost_one_message(make, clock, told):
    deadlines = make(5.0)
    for _ in range(1000):
        task = task_at(clock)
        deadlines.begin(task)
        assert task.is_watched
        deadlines.end(task)
        clock.now += 0.001
    assert told == [{"event": "harakiri", "in_s": 5.0, "overdue": None}]


def test_asked_too_early_it_names_the_next_moment(make, clock, told):
    deadlines = make(5.0)
    first, second = task_at(clock), None
    deadlines.begin(first)
    clock.now += 3
    second = task_at(clock)
    deadlines.begin(second)
    deadlines.end(first)
    clock.now += 2
    deadlines.answer()
    assert told[1:] == [{"event": "harakiri", "in_s": 3.0, "overdue": None}]


def test_with_nobody_left_there_is_no_next_moment_until_the_next_request(make, clock, told):
    deadlines = make(5.0)
    task = task_at(clock)
    deadlines.begin(task)
    deadlines.end(task)
    clock.now += 5
    deadlines.answer()
    deadlines.begin(task_at(clock))
    assert [event["in_s"] for event in told] == [5.0, None, 5.0]


def test_an_overdue_request_is_named(make, clock, told):
    deadlines = make(5.0)
    deadlines.begin(task_at(clock, label="the slow one"))
    clock.now += 5
    deadlines.answer()
    assert told[-1] == {"event": "harakiri", "in_s": 0.0, "overdue": "the slow one"}


def test_an_overdue_request_that_can_be_ended_is_ended_once_and_named_only_if_it_stays(make, clock, told):
    deadlines, ended = make(5.0), []
    deadlines.can_end(lambda request: lambda: ended.append(request.label))
    one = task_at(clock, label="one")
    deadlines.begin(one)
    clock.now += 1
    other = task_at(clock, label="other")
    deadlines.begin(other)
    clock.now += 4
    deadlines.answer()
    assert (ended, one.is_overdue, other.is_overdue) == (["one"], True, False)
    assert told[-1] == {"event": "harakiri", "in_s": END_WITHIN_S, "overdue": None}
    deadlines.end(one)
    clock.now += END_WITHIN_S
    deadlines.answer()
    assert ended == ["one", "other"] and told[-1]["overdue"] is None
    clock.now += END_WITHIN_S
    deadlines.answer()
    assert ended == ["one", "other"] and told[-1] == {"event": "harakiri", "in_s": 0.0, "overdue": "other"}


def test_a_limit_of_the_application_s_own_ends_its_request_too(make, clock, told):
    deadlines, ended = make(0.0), []
    deadlines.can_end(lambda request: lambda: ended.append(request.label))
    task = task_at(clock, label="own", session=object())
    deadlines.set(task, 3)
    clock.now += 3
    deadlines.answer()
    assert ended == ["own"] and told[-1]["overdue"] is None


def test_where_no_task_can_be_ended_the_worker_is_named_at_once(make, clock, told):
    deadlines = make(5.0)
    deadlines.can_end(None)
    deadlines.begin(task_at(clock, label="a thread"))
    clock.now += 5
    deadlines.answer()
    assert told[-1]["overdue"] == "a thread"


def test_an_open_websocket_is_not_a_slow_request(make, clock, told):
    deadlines = make(5.0)
    task = task_at(clock)
    deadlines.begin(task)
    task.request.session = object()
    clock.now += 5
    deadlines.answer()
    assert told[-1] == {"event": "harakiri", "in_s": None, "overdue": None}


def test_the_apps_own_limit_counts_for_a_websocket_too_and_can_be_taken_back(make, clock, told):
    deadlines = make(0.0)
    task = task_at(clock, session=object())
    deadlines.set(task, 10)
    assert task.is_watched and told == [{"event": "harakiri", "in_s": 10.0, "overdue": None}]
    deadlines.set(task, 0)
    clock.now += 10
    deadlines.answer()
    assert told[-1] == {"event": "harakiri", "in_s": None, "overdue": None}
    deadlines.set(task, 3)
    clock.now += 3
    deadlines.answer()
    assert told[-1]["overdue"] == task.request.label


def test_a_nearer_limit_is_told_at_once(make, clock, told):
    deadlines = make(60.0)
    task = task_at(clock)
    deadlines.begin(task)
    deadlines.set(task, 2)
    assert [event["in_s"] for event in told] == [60.0, 2.0]


def test_time_that_the_client_takes_does_not_count(make, clock, told):
    deadlines = make(5.0)
    task = task_at(clock)
    deadlines.begin(task)
    clock.now += 5
    task.request.client_time_s = 3.0
    deadlines.answer()
    assert told[-1] == {"event": "harakiri", "in_s": 3.0, "overdue": None}
    clock.now += 3
    deadlines.answer()
    assert told[-1]["overdue"] == task.request.label


def test_the_apps_own_limit_does_not_count_it_either_and_begins_when_it_is_set(make, clock, told):
    deadlines = make(0.0)
    task = task_at(clock)
    task.request.client_time_s = 7.0
    deadlines.set(task, 10)
    clock.now += 10
    task.request.client_time_s = 9.0
    deadlines.answer()
    assert told == [
        {"event": "harakiri", "in_s": 10.0, "overdue": None},
        {"event": "harakiri", "in_s": 2.0, "overdue": None},
    ]
    clock.now += 2
    deadlines.answer()
    assert told[-1]["overdue"] == task.request.label


def test_a_task_with_little_time_left_that_waits_for_its_client_costs_few_looks(make, clock, told):
    deadlines = make(5.0)
    task = task_at(clock)
    deadlines.begin(task)
    clock.now += 5
    task.request.client_time_s = 0.001
    deadlines.answer()
    assert told[-1] == {"event": "harakiri", "in_s": LOOK_AGAIN_S, "overdue": None}


# -- the master's end


class Worker:
    label = "worker 1 (pid 7)"

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.killed = 0

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def kill(self) -> None:
        self.killed += 1


@pytest.fixture
def log_fd():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def harakiri(clock: Clock, log_fd) -> Harakiri:
    return Harakiri(Log(log_fd[1]), clock)


def logged(log_fd) -> str:
    return os.read(log_fd[0], 4096).decode()


def test_a_worker_is_asked_when_it_is_due_and_not_before(harakiri, clock):
    worker = Worker()
    harakiri.on_message(worker, {"in_s": 5.0, "overdue": None})
    assert harakiri.due_at() == [105.0]
    clock.now = 104.9
    harakiri.on_time(clock.now)
    assert worker.sent == []
    clock.now = 105.0
    harakiri.on_time(clock.now)
    assert worker.sent == [{"command": "harakiri"}]
    assert harakiri.due_at() == [105.0 + ANSWER_WITHIN_S]


def test_a_worker_that_answers_lives_until_the_next_moment(harakiri, clock):
    worker = Worker()
    harakiri.on_message(worker, {"in_s": 5.0, "overdue": None})
    clock.now = 105.0
    harakiri.on_time(clock.now)
    harakiri.on_message(worker, {"in_s": 2.0, "overdue": None})
    clock.now = 106.5
    harakiri.on_time(clock.now)
    assert (worker.killed, harakiri.due_at()) == (0, [107.0])


def test_a_worker_with_an_overdue_request_is_killed(harakiri, clock, log_fd):
    worker = Worker()
    harakiri.on_message(worker, {"in_s": 0.0, "overdue": "GET /slow"})
    assert (worker.killed, harakiri.due_at()) == (1, [])
    assert "error: harakiri: GET /slow takes too long; worker 1 (pid 7) is killed" in logged(log_fd)


def test_a_worker_that_does_not_answer_is_killed(harakiri, clock, log_fd):
    worker = Worker()
    harakiri.on_message(worker, {"in_s": 5.0, "overdue": None})
    clock.now = 105.0
    harakiri.on_time(clock.now)
    clock.now = 105.0 + ANSWER_WITHIN_S
    harakiri.on_time(clock.now)
    assert (worker.killed, harakiri.due_at()) == (1, [])
    assert "worker 1 (pid 7) hangs" in logged(log_fd)


def test_without_a_next_moment_there_is_no_deadline(harakiri):
    worker = Worker()
    harakiri.on_message(worker, {"in_s": None, "overdue": None})
    assert (worker.killed, harakiri.due_at()) == (0, [])


def test_a_worker_that_has_ended_is_forgotten(harakiri, clock):
    worker = Worker()
    harakiri.on_message(worker, {"in_s": 5.0, "overdue": None})
    harakiri.forget(worker)
    assert harakiri.due_at() == []
