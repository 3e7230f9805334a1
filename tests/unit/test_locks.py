"""Locks over processes and threads of one process, on the file itself: exclusion, release, death of the holder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from fairlead.locks import Locks, make_lock_file

#: Takes what it is told to, says so, and then waits for the end of its input.
HOLDER = """
import sys
from fairlead.locks import Locks
locks = Locks(int(sys.argv[1]), 4, None)
locks.acquire(int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def fd():
    fd = make_lock_file()
    yield fd
    os.close(fd)


@pytest.fixture
def hold(fd):
    """`hold(number)`: another process holds the lock until its standard input ends."""
    started = []

    def start(number: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(fd), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[fd],
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said_held(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == b"held\n"


class Tries:
    """How a task that may not block waits: counted, and with something to do in between."""

    def __init__(self, meanwhile=lambda: None) -> None:
        self.waits: list[float] = []
        self._meanwhile = meanwhile

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) == 8:
            self._meanwhile()


def test_another_process_is_kept_out_until_the_release(fd, hold):
    locks = Locks(fd, 4, None)
    locks.acquire(2)
    process = hold(2)
    assert locks.is_held(2)
    locks.release(2)
    assert said_held(process)
    assert locks.is_held(2)
    assert not locks.is_held(1)
    process.communicate()
    assert not locks.is_held(2)


def test_a_lock_whose_holder_is_killed_is_free(fd, hold):
    process = hold(0)
    assert said_held(process)
    locks = Locks(fd, 1, None)
    assert locks.is_held(0)
    process.kill()
    locks.acquire(0)
    locks.release(0)


def test_a_task_that_may_not_block_asks_again_with_growing_pauses(fd, hold):
    process = hold(0)
    assert said_held(process)
    tries = Tries(lambda: process.communicate())
    Locks(fd, 1, tries).acquire(0)
    assert tries.waits == [0.001, 0.002, 0.004, 0.008, 0.016, 0.016, 0.016, 0.016]


def test_two_tasks_of_one_thread_wait_for_each_other(fd):
    locks = Locks(fd, 1, lambda seconds: None)
    locks.acquire(0)
    tries = Tries(lambda: locks.release(0))
    locks._sleep = tries
    locks.acquire(0)
    assert len(tries.waits) == 8
    assert locks.is_held(0)


def test_threads_of_one_process_are_kept_apart(fd):
    locks = Locks(fd, 2, None)
    number = 0

    def add() -> None:
        nonlocal number
        for _ in range(200):
            locks.acquire(1)
            before = number
            os.sched_yield()
            number = before + 1
            locks.release(1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert number == 800


def test_a_release_without_a_lock_does_nothing(fd, hold):
    locks = Locks(fd, 1, None)
    locks.release(0)
    assert said_held(hold(0))
    locks.release(0)
    assert locks.is_held(0)


def test_numbers_far_apart_do_not_meet(fd):
    locks = Locks(fd, 65536, None)
    locks.acquire(65535)
    locks.acquire(0)
    assert locks.is_held(65535) and locks.is_held(0) and not locks.is_held(1)


def test_a_file_that_cannot_be_opened_leaves_the_lock_free(fd):
    locks = Locks(10**6, 1, None)
    for _ in range(2):
        with pytest.raises(OSError):
            locks.acquire(0)
    assert not locks._inside[0].locked()
