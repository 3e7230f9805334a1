"""Workers that do not hear their master, on a clock that the test moves."""

from __future__ import annotations

import os
from typing import Any

import pytest
from fairlead.logs import Log
from fairlead.master.heartbeat import ANSWER_WITHIN_S, ASK_EVERY_S, Heartbeat


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Worker:
    label = "worker 1 (pid 7)"

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.told.append(message)


class Scene:
    """A worker that has just become ready, and the master's end."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.clock = Clock()
        self.heartbeat = Heartbeat(Log(self._writer), self.clock)
        self.worker = Worker()
        self.heartbeat.is_ready(self.worker, knows_question=False)

    def log(self) -> str:
        try:
            return os.read(self._reader, 65536).decode()
        except BlockingIOError:
            return ""

    def after(self, seconds: float) -> str:
        """What the log says once so much time has passed."""
        self.clock.now += seconds
        self.heartbeat.on_time(self.clock.now)
        return self.log()

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.close()


def test_a_worker_is_asked_when_it_is_ready_and_then_now_and_then(scene):
    assert scene.worker.told == [{"command": "ping"}]
    scene.heartbeat.answered(scene.worker)
    assert scene.after(ASK_EVERY_S - 0.1) == ""
    assert len(scene.worker.told) == 1
    assert scene.after(0.1) == ""
    assert len(scene.worker.told) == 2


def test_one_that_does_not_answer_is_told_once_and_so_is_its_return(scene):
    scene.heartbeat.answered(scene.worker)
    assert scene.after(ASK_EVERY_S) == ""
    assert scene.after(ANSWER_WITHIN_S - 0.1) == ""
    assert "worker 1 (pid 7) has not answered the master for 4 s: it serves on" in scene.after(0.1)
    assert scene.after(100) == ""
    assert len(scene.worker.told) == 2  # no heap of questions before somebody who does not read
    scene.heartbeat.answered(scene.worker)
    assert "worker 1 (pid 7) answers again, after 104 s" in scene.log()


def test_one_that_is_told_to_leave_is_asked_at_once(scene):
    scene.heartbeat.answered(scene.worker)
    scene.heartbeat.leaves(scene.worker)
    assert len(scene.worker.told) == 2
    assert "it was told to leave, and serves on" in scene.after(ANSWER_WITHIN_S)
    scene.heartbeat.leaves(scene.worker)  # with less time, say
    assert scene.after(100) == ""


def test_one_that_leaves_and_answers_is_not_asked_again(scene):
    scene.heartbeat.answered(scene.worker)
    scene.heartbeat.leaves(scene.worker)
    scene.heartbeat.answered(scene.worker)
    assert scene.after(100) == ""
    assert len(scene.worker.told) == 2
    assert scene.heartbeat.due_at() == [float("inf")]


def test_another_program_need_not_know_the_question(scene):
    assert scene.after(100) == ""
    scene.heartbeat.leaves(scene.worker)
    assert scene.after(100) == ""


def test_one_that_has_ended_is_missed_by_nobody(scene):
    scene.heartbeat.answered(scene.worker)
    scene.heartbeat.forget(scene.worker)
    assert scene.after(100) == ""
    assert scene.heartbeat.due_at() == []
    scene.heartbeat.answered(scene.worker)  # what it said last came late


def test_one_that_says_that_it_answers_is_missed_from_the_first_question_on(scene):
    scene.heartbeat.is_ready(scene.worker, knows_question=True)
    assert "has not answered the master for 4 s" in scene.after(ANSWER_WITHIN_S)
