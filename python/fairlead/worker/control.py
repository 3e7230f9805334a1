"""The worker's end of the control socket: events to the master, its commands, and questions that it answers.

One thread reads at a time: the control thread once it runs, and before that whoever asks something. What is said is
control_protocol.py. An answer finds its question by a ticket. The invariant: a message leaves whole or not at all, and
who tells something never waits for the master; what the socket does not take leaves from `wait`.
"""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections import deque
from typing import Any

from fairlead.control_protocol import MOST_UNSENT, line
from fairlead.os_threads import Latch, allocate_lock, wait_ready

__all__ = ["Control"]


class Control:
    """The socket `fd`, which was inherited for this program, not for what the application starts."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)
        self._sending = allocate_lock()
        self._received = b""
        self._unsent = bytearray()
        #: Messages that came while somebody waited for an answer.
        self._early: deque[dict[str, Any]] = deque()
        self._tickets = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._has_reader = False

    def hand_over(self) -> None:
        """From now on one thread stays in `wait`: questions leave the reading to it. Call it before that starts."""
        self._has_reader = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def in_forked_child(self) -> None:
        """Nobody waits for a lock that one of the parent's threads held."""
        self._sending = allocate_lock()

    def wait(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next message that is no answer. Raises EOFError when the master is gone; None after `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._early:
            if not self._read(None if deadline is None else max(0.0, deadline - time.monotonic())):
                return None
        return self._early.popleft()

    def tell(self, **message: Any) -> bool:
        """Send one message; False when the master is gone, or has read nothing for long."""
        data = line(message)
        with self._sending:
            if len(self._unsent) > MOST_UNSENT:
                return False
            self._unsent += data
        return self._flush_nowait()

    def flush(self, timeout_s: float) -> None:
        """Wait until all has left that was told, at most so long."""
        deadline = time.monotonic() + timeout_s
        while self._flush_nowait() and self._unsent:
            left_s = max(0.0, deadline - time.monotonic())
            if not wait_ready(self._socket.fileno(), left_s, reads=False, writes=True)[1]:
                return

    def _flush_nowait(self) -> bool:
        """Send what the socket takes; False when the master is gone."""
        with self._sending:
            try:
                while self._unsent:
                    del self._unsent[: self._socket.send(self._unsent, socket.MSG_DONTWAIT)]
            except BlockingIOError:
                pass
            except OSError:
                self._unsent.clear()
                return False
        return True

    def ask(self, timeout_s: float, **message: Any) -> dict[str, Any] | None:
        """Send one message and wait for the answer to it; None if none comes within `timeout_s`."""
        ticket = next(self._tickets)
        question = self._questions[ticket] = _Question()
        try:
            if not self.tell(**message, ticket=ticket):
                return None
            if self._has_reader:
                question.answered.wait(timeout_s)
            else:
                self._read_until(question, time.monotonic() + timeout_s)
            return question.answer
        finally:
            del self._questions[ticket]

    def _read_until(self, question: _Question, deadline: float) -> None:
        while question.answer is None:
            try:
                if not self._read(max(0.0, deadline - time.monotonic())):
                    return
            except (EOFError, OSError):
                return  # the next `wait` meets it again

    def _read(self, timeout_s: float | None) -> bool:
        """Take in what comes next; False if nothing does within `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._received:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            is_readable, has_room = wait_ready(self._socket.fileno(), left_s, writes=bool(self._unsent))
            if has_room:
                self._flush_nowait()
            if not is_readable:
                if has_room:
                    continue
                return False
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._received += data
        first, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(first)
        if message.get("command") != "answer":
            self._early.append(message)
            return True
        question = self._questions.get(message.get("ticket", 0))
        if question is not None:  # else nobody waits for it any more
            question.answer = message
            question.answered.set()
        return True


class _Question:
    """Somebody waits for an answer."""

    def __init__(self) -> None:
        self.answered = Latch()
        self.answer: dict[str, Any] | None = None
