"""The runners (concurrency models), and which of them a test runs under.

A test runs under `greenlets` alone, unless it says that the answer depends on the runner: `@every_runner` (how a task
waits, ends, is woken or holds up others) or `@every_read_path` (how bytes come to the application: read by the loop,
or by the task's own thread). The mark that stands closest counts, so a test may differ from its file. `pytest
--all-runners` takes every test for `@every_runner`. A new runner is one more line here; tests take the fixture
`runner` (or a server made from it) and know no names.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest


class Runner(NamedTuple):
    """A concurrency model: how it is called in test ids, the options that choose it with 200 slots, and what it makes
    of a shorter --socket-timeout (compat §2.2)."""

    name: str
    options: tuple[str, ...]
    least_socket_timeout_s: float = 0.0

    def with_slots(self, count: int) -> tuple[str, ...]:
        """The option that gives a worker so many slots instead; the last one given wins."""
        return (self.options[0], str(count))


RUNNERS = (
    Runner("greenlets", ("--async", "200", "--greenlet")),
    Runner("generators", ("--async", "200")),
    Runner("threads", ("--threads", "200")),
    Runner("asyncio", ("--asyncio", "200", "--greenlet"), least_socket_timeout_s=30.0),
    Runner("gevent", ("--gevent", "200"), least_socket_timeout_s=30.0),
)


def named(*names: str) -> tuple[Runner, ...]:
    """The runners of these names, in the order of `RUNNERS`."""
    return tuple(runner for runner in RUNNERS if runner.name in names)


(DEFAULT,) = named("greenlets")

#: What each mark of a test means.
MARKS = {"one_runner": (DEFAULT,), "every_read_path": named("greenlets", "threads"), "every_runner": RUNNERS}

one_runner = pytest.mark.one_runner
every_read_path = pytest.mark.every_read_path
every_runner = pytest.mark.every_runner


def runners_of(item: pytest.Function | pytest.Item, is_all: bool) -> tuple[Runner, ...]:
    """The runners that a test which takes `runner` runs under; all of them with `--all-runners`."""
    if is_all:
        return RUNNERS
    return next((MARKS[mark.name] for mark in item.iter_markers() if mark.name in MARKS), (DEFAULT,))
