"""`lock`, `unlock`, `is_locked` of the `uwsgi` module, over workers, tasks and threads: compat §1.5."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import get
from support.obedient import Obedient, one_in_each_worker
from support.raw_client import TEXT, Frame, RawClient
from support.runners import every_runner, one_runner
from support.server import Server

pytestmark = every_runner

NONE = {"type": "NoneType", "value": "None"}
TRUE = {"type": "bool", "value": "True"}
FALSE = {"type": "bool", "value": "False"}


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("uwsgi_process.py", "--locks", "2", "--socket-timeout", "30")


@pytest.fixture
def ask(server: Server, token: str) -> Callable[..., dict[str, Any]]:
    """What the page of that name notes for a plain request."""

    def ask(name: str) -> dict[str, Any]:
        get(server, f"/{name}?{token}")
        return server.note(token)

    return ask


@pytest.fixture
def obedient(upgrade: Callable[..., RawClient]) -> Callable[[Server], Obedient]:
    return lambda server: Obedient(upgrade(server, "/orders"))


@one_runner
def test_row_1_5_a_lock_number_out_of_range_is_a_value_error(ask: Callable[..., Any]) -> None:
    found = ask("lock_numbers")
    for name in ("lock", "unlock", "is_locked"):
        for bad in ("negative", "beyond"):
            assert (found[name][bad]["raised"], found[name][bad]["text"]) == ("ValueError", "Invalid lock number")
        assert found[name]["far"]["raised"] == "OverflowError"
        assert {found[name][bad]["raised"] for bad in ("float", "str", "two")} == {"TypeError"}
    assert found["steps"] == [FALSE, NONE, TRUE, FALSE, NONE, FALSE, NONE]


@one_runner
def test_row_1_5_without_an_option_there_is_lock_0_only(start: Callable[..., Server], token: str) -> None:
    server = start("uwsgi_process.py")
    get(server, f"/lock_numbers?{token}")
    found = server.note(token)
    assert found["steps"][0]["text"] == "Invalid lock number"


def test_row_1_5_a_lock_keeps_other_workers_out_until_it_is_unlocked(
    start: Callable[..., Server], obedient: Callable[[Server], Obedient]
) -> None:
    server = start("uwsgi_process.py", "--processes", "2", "--locks", "1")
    first, second = one_in_each_worker(server, obedient)
    assert first.order("held") == "locked"
    assert second.order("is_locked 0") is True
    assert second.order("is_locked 1") is False
    assert second.order("held 1") == "locked", "another number is another lock"
    assert second.order("unlock 0") is None
    assert second.order("is_locked 0") is True, "a worker can only unlock what it has locked"
    second.tell("held 0")
    assert first.order("is_locked 0") is True
    assert first.order("unlock 0") is None
    assert second.answer() == "locked"
    assert first.order("is_locked 0") is True


def test_row_1_5_a_lock_keeps_tasks_of_one_worker_apart_and_the_others_run_on(
    server: Server, obedient: Callable[[Server], Obedient]
) -> None:
    holder, other, third = obedient(server), obedient(server), obedient(server)
    assert len({client.order("pid") for client in (holder, other, third)}) == 1
    assert holder.order("held 1") == "locked"
    other.tell("held 1")
    # While one waits, the worker serves: the third gets answers, and the holder comes to its unlock.
    for _ in range(10):
        assert third.order("is_locked 1") is True
    assert holder.order("unlock 1") is None
    assert other.answer() == "locked"
    assert other.order("unlock 1") is None
    assert third.order("is_locked 1") is False


def test_row_1_5_a_thread_of_the_app_waits_for_a_lock_while_the_task_holds_it(ask: Callable[..., Any]) -> None:
    assert ask("locks_in_a_thread") == {"taken": ["task", "thread"], "after": False}


def test_row_1_5_locks_are_free_again_when_their_holder_is_killed(
    start: Callable[..., Server], obedient: Callable[[Server], Obedient]
) -> None:
    server = start("uwsgi_process.py", "--processes", "2")
    first, second = one_in_each_worker(server, obedient)
    assert first.order("held") == "locked"
    second.tell("held")
    os.kill(first.order("pid"), signal.SIGKILL)
    assert second.answer() == "locked"


def test_row_1_5_with_a_lock_no_update_is_lost(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], tmp_path: Path
) -> None:
    server = start("uwsgi_process.py", "--processes", "2")
    file = tmp_path / "number"
    file.write_text("0")
    clients = [upgrade(server, f"/adds_up?token&{file}") for _ in range(8)]
    for _ in range(5):
        for client in clients:
            client.send_text("add")
    for client in clients:
        for _ in range(5):
            assert client.read_data() == Frame(TEXT, b"done")
    assert file.read_text() == "40"


def test_row_1_5_a_fork_of_the_app_leaves_the_lock_to_its_parent(ask: Callable[..., Any]) -> None:
    assert ask("forks") == {"child": 3, "still": True, "after": False}
