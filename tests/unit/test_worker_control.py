"""The worker's end of the control socket: questions and answers beside commands, with and without a reading thread."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest
from fairlead.worker.control import Control


@pytest.fixture
def pair() -> Iterator[tuple[Control, socket.socket]]:
    master, worker = socket.socketpair()
    master.settimeout(15)
    yield Control(worker.detach()), master
    master.close()


def say(master: socket.socket, *messages: object) -> None:
    for message in messages:
        master.sendall(json.dumps(message).encode() + b"\n")


def test_a_question_is_answered_before_anybody_reads_and_commands_are_kept(pair):
    control, master = pair
    say(master, {"command": "stop"}, {"command": "answer", "ticket": 1, "value": 5}, {"command": "harakiri"})
    assert control.ask(5.0, event="question") == {"command": "answer", "ticket": 1, "value": 5}
    assert json.loads(master.recv(1000)) == {"event": "question", "ticket": 1}
    assert control.wait(5.0) == {"command": "stop"}
    assert control.wait(5.0) == {"command": "harakiri"}
    assert control.wait(0.0) is None


def test_with_a_reading_thread_the_answer_finds_its_question(pair):
    control, master = pair
    control.hand_over()
    commands = []
    reader = threading.Thread(target=lambda: commands.append(control.wait(15.0)))
    reader.start()
    answers = {}

    def ask(name: str) -> None:
        answers[name] = control.ask(15.0, event=name)

    askers = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two")]
    for thread in askers:
        thread.start()
    lines = master.makefile("rb")
    asked = [json.loads(lines.readline()) for _ in askers]
    for question in reversed(asked):
        say(master, {"command": "answer", "ticket": question["ticket"], "to": question["event"]})
    for thread in askers:
        thread.join(15)
    say(master, {"command": "stop"})
    reader.join(15)
    assert {name: answer["to"] for name, answer in answers.items()} == {"one": "one", "two": "two"}
    assert commands == [{"command": "stop"}]


def test_an_answer_that_comes_too_late_is_nobodys(pair):
    control, master = pair
    assert control.ask(0.0, event="question") is None
    say(master, {"command": "answer", "ticket": 1}, {"command": "stop"})
    assert control.wait(5.0) == {"command": "stop"}


def test_without_a_master_there_is_no_answer_and_the_end_is_still_met(pair):
    control, master = pair
    master.shutdown(socket.SHUT_RDWR)
    assert control.ask(5.0, event="question") is None
    assert control.tell(event="x") is False
    with pytest.raises(EOFError):
        control.wait(5.0)


def test_who_tells_something_never_waits_for_the_master_and_what_is_left_leaves_later(pair):
    control, master = pair
    told = 0
    while control.tell(event="modules", files=["x" * 1000]):
        told += 1
    assert told > 1000  # more than the socket holds: the rest waits here, up to a limit
    control.hand_over()
    reader = threading.Thread(target=lambda: control.wait(15.0))
    reader.start()
    lines = master.makefile("rb")
    assert all(json.loads(lines.readline())["files"] == ["x" * 1000] for _ in range(told))
    say(master, {"command": "stop"})
    reader.join(15)


def test_what_was_told_last_leaves_before_the_end_if_the_master_reads_in_time(pair):
    control, master = pair
    control.tell(event="modules", files=["x" * 2_000_000])
    control.flush(0.0)  # nobody reads
    lines = master.makefile("rb")
    reader = threading.Thread(target=lines.readline)
    reader.start()
    control.flush(15.0)
    reader.join(15)
    assert not reader.is_alive()
