"""A full worker says so once, whatever its queue does, and says when it is over."""

from __future__ import annotations

import pytest
from fairlead.settings.options import Given, Settings
from fairlead.worker.slot_watch import TELL_EVERY_S, SlotWatch, remedy


class Watched:
    """A watch over a queue whose length the test says, with a look for each second."""

    def __init__(self, slots: int = 1000) -> None:
        self.lines: list[tuple[str, str]] = []
        self.now = 500.0
        self.waiting = 0
        self.watch = SlotWatch(slots, self._waiting, self, "do something", lambda: self.now)

    def _waiting(self) -> int:
        if self.waiting < 0:
            raise OSError(24, "Too many open files")
        return self.waiting

    def info(self, text: str) -> None:
        self.lines.append(("info", text))

    def warning(self, text: str) -> None:
        self.lines.append(("warning", text))

    def look(self, *waiting: int) -> list[tuple[str, str]]:
        """Looks that find so many; what was said."""
        self.lines.clear()
        for self.waiting in waiting:
            self.watch.look()
            self.now += 1
        return list(self.lines)


def test_a_full_worker_is_told_once_and_its_end_once() -> None:
    watched = Watched()
    assert watched.look(0, 0, 3) == []
    assert watched.look(3) == [("warning", "all 1000 slots are taken, 3 clients wait; do something")]
    assert watched.look(*[7] * 30) == []
    assert watched.look(0) == [], "it may be a moment"
    end = "no client waits for a slot any more, after 33 s and at most 7 at a time"
    assert watched.look(0) == [("info", end)]
    assert watched.look(*[0] * 100) == []


def test_a_queue_of_a_moment_is_no_news() -> None:
    assert Watched().look(*[5, 0] * 200) == []


def test_a_worker_that_is_full_again_and_again_says_so_once_a_minute() -> None:
    told = Watched().look(*[2, 2, 2, 0, 0] * 120)
    starts = [text for level, text in told if level == "warning"]
    assert len(starts) == 600 // TELL_EVERY_S
    assert len(told) == 2 * len(starts), "each has its end"


def test_one_that_goes_on_is_told_when_the_minute_is_over() -> None:
    watched = Watched()
    watched.look(1, 1, 0, 0)
    assert [level for level, _ in watched.look(*[1] * 70)] == ["warning"]


@pytest.mark.parametrize(
    ("slots", "waiting", "text"),
    [(1, 1, "the only slot is taken, 1 client waits"), (2, 2, "all 2 slots are taken, 2 clients wait")],
)
def test_it_is_a_sentence_for_one_and_for_many(slots: int, waiting: int, text: str) -> None:
    assert Watched(slots).look(waiting, waiting) == [("warning", f"{text}; do something")]


def test_a_kernel_that_cannot_be_asked_is_asked_again() -> None:
    watched = Watched()
    assert watched.look(3, -1) == []
    assert len(watched.look(3)) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "--threads 64 can be more, and so can --processes 1; --request-queue-timeout"),
        ([("async", "9"), ("greenlet", None)], "--async 9 can be more"),
        ([("gevent", "7"), ("processes", "3")], "--gevent 7 can be more, and so can --processes 3;"),
    ],
)
def test_what_to_do_is_named_by_its_options(options: list[tuple[str, str | None]], text: str) -> None:
    given = [("http", ":1"), ("wsgi-file", "a.py"), *options]
    assert remedy(Settings.of(Given(*one, "test") for one in given)).startswith(text)


def test_an_operator_who_bounds_the_queue_is_not_told_to() -> None:
    given = [("http", ":1"), ("wsgi-file", "a.py"), ("request-queue-size", "5")]
    assert "request-queue" not in remedy(Settings.of(Given(*one, "test") for one in given))
