"""What every runner owes an app, whatever its concurrency model: the contract suite that a new runner has to
pass.

Tasks run at the same time, know their own request, and fail alone; a stop ends those that wait, and does not
wait for those that hang. A runner joins by its line in support/runners.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from end_to_end.http_wire import get
from support.raw_client import TEXT, Frame, RawClient, handshake_request
from support.runners import Runner, every_runner
from support.server import Server

pytestmark = every_runner


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("tasks.py")


def test_all_slots_run_at_the_same_time(start: Callable[..., Server], upgrade: Callable[..., RawClient]) -> None:
    server = start("tasks.py")
    clients = [upgrade(server, "/together") for _ in range(200)]
    for client in clients:
        client.send_text("who is here?")
    counts = [int(client.read_data().payload) for client in clients]
    assert max(counts) == 200


def test_a_websocket_beyond_the_slots_waits_for_one(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], runner: Runner
) -> None:
    server = start("tasks.py", *runner.with_slots(2))
    first, _second = upgrade(server, "/together"), upgrade(server, "/together")
    with RawClient(server.connect()) as third:
        third.send_bytes(handshake_request(server.host_header, "/together"))
        first.close_in_order()
        assert third.read_response().status == 101
        third.send_text("?")
        assert third.read_data() == Frame(TEXT, b"2")


def test_each_task_knows_its_own_request_core_and_context(server: Server, upgrade: Callable[..., RawClient]) -> None:
    clients = [upgrade(server, f"/mine?u{number}") for number in range(50)]
    for _ in range(3):
        for client in clients:
            client.send_text("?")
        found = [client.read_data().payload.decode().split() for client in clients]
        assert [one[:3] for one in found] == [["unset", f"u{number}", f"u{number}"] for number in range(50)]
        assert len({one[3] for one in found}) == 50, "a core number was given twice"


def test_a_task_after_another_starts_with_a_clean_context(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], runner: Runner
) -> None:
    server = start("tasks.py", *runner.with_slots(2))
    for number in range(6):
        client = upgrade(server, f"/mine?n{number}")
        client.send_text("?")
        assert client.read_data().payload.decode().split()[:2] == ["unset", f"n{number}"]
        client.close_in_order()


@pytest.mark.parametrize("kind", ["exception", "exit", "stop"])
def test_a_task_that_fails_takes_no_other_with_it(server: Server, upgrade: Callable[..., RawClient], kind: str) -> None:
    neighbours = [upgrade(server, "/mine?n") for _ in range(5)]
    for _ in range(10):
        client = upgrade(server, f"/raises?t&{kind}")
        client.send_text("go")
        assert client.read_close()[0] in (1001, 1011)
    for neighbour in neighbours:
        neighbour.send_text("?")
        assert neighbour.read_data().opcode == TEXT


def test_a_thread_that_a_task_started_belongs_to_its_request_as_long_as_that_goes_on(
    server: Server, token: str
) -> None:
    get(server, f"/outside?{token}")
    found = server.note(token)
    assert found["inside"] == found["thread"]["type"] == "Request"
    assert found["pool"]["raised"] == "LookupError", "a pool's threads serve whoever comes"
    get(server, f"/outside_later?{token}-later")
    assert server.note(f"{token}-later")["later"]["raised"] == "LookupError"


@pytest.mark.parametrize("page", ["thread_echoes", "greenlet_echoes"])
def test_a_thread_or_greenlet_that_a_task_started_can_talk_while_the_task_waits_for_it(
    server: Server, upgrade: Callable[..., RawClient], page: str
) -> None:
    client = upgrade(server, f"/{page}")
    for word in ("one", "two", "three"):
        client.send_text(word)
        assert client.read_data() == Frame(TEXT, word.encode())
    client.send_text("four")
    assert client.read_data() == Frame(TEXT, b"FOUR")
    client.close_in_order()


def test_one_task_or_thread_at_a_time_may_receive(
    server: Server, upgrade: Callable[..., RawClient], token: str
) -> None:
    client = upgrade(server, f"/both_receive?{token}")
    assert client.read_data() == Frame(TEXT, b"RuntimeError")
    client.send_text("for the other")
    refused, first = server.note(token)["found"]
    assert "another task is waiting" in refused["text"]
    assert first["value"] == "'for the other'"


def test_a_pool_s_thread_belongs_to_no_request_whoever_used_it_first(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], runner: Runner
) -> None:
    # Patched, a pool's threads are greenlets that the first request has spawned.
    server = start("tasks.py", *(("--gevent-monkey-patch",) if runner.name == "gevent" else ()))
    clients = [upgrade(server, "/pool_talks") for _ in range(2)]
    for client, word in ((clients[0], "first"), (clients[1], "second"), (clients[0], "third")):
        client.send_text(word)
        assert client.read_data() == Frame(TEXT, f"{word}: SystemError".encode())


def test_a_stop_runs_the_finally_blocks_of_waiting_tasks(
    start: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = start("tasks.py")
    clients = [upgrade(server, f"/finally_runs?f{number}") for number in range(20)]
    server.signal(signal.SIGTERM)
    for number, client in enumerate(clients):
        assert client.read_close()[0] == 1001
        client.send_close(1001)
        assert server.note(f"f{number}") == {"closed": [1001, "local"]}
        client.close()
    assert server.wait_for_end() == 0


def test_a_stop_does_not_wait_for_a_task_that_hangs(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], tmp_path: Path, token: str
) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    server = start("tasks.py", "--reload-mercy", "1")
    client = upgrade(server, f"/hangs?{token}&{fifo}")
    server.note(token)
    server.signal(signal.SIGTERM)
    assert client.read_close()[0] == 1001
    assert server.wait_for_end() == 0
    server.wait_for_line("not all of it has ended")
