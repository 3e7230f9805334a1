"""Plain functions under the asyncio runner: to them no loop runs, so what blocks them may, and the loop's own code
never notices. On asyncio's own loop and on uvloop's."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from end_to_end.http_wire import get
from support.raw_client import TEXT, Frame, RawClient
from support.server import Server

Upgrade = Callable[..., RawClient]


@pytest.fixture(scope="module")
def server(options: tuple[str, ...]) -> Iterator[Server]:
    with Server.start("plain_on_a_loop.py", *options) as server:
        yield server


def test_no_loop_runs_for_a_plain_function_and_its_callbacks_find_theirs(
    server: Server, upgrade: Upgrade, token: str
) -> None:
    client = upgrade(server, f"/sees?{token}")
    client.send_text("first")
    assert server.note(token) == {"found": [False] * 3, "seen": [True]}


def test_a_plain_function_runs_a_loop_of_its_own_and_takes_nobody_else_s_away(
    server: Server, options: tuple[str, ...], token: str
) -> None:
    for _ in range(2):
        assert get(server, f"/runs?{token}").body == b"answered" * 2
        assert get(server, "/has_a_loop").body == options[-1].encode()
    assert server.note(token) == {"running": False, "closed": False}


def test_loops_of_plain_functions_wait_side_by_side_and_beside_coroutines(
    server: Server, upgrade: Upgrade, token: str
) -> None:
    inside = [upgrade(server, f"/waits_inside?{token}-{number}") for number in range(5)]
    coroutines = [upgrade(server, "/coroutine") for _ in range(5)]
    for turn in range(3):
        for clients in (inside, coroutines):
            for client in clients:
                client.send_text(f"turn {turn}")
            for client in reversed(clients):
                assert client.read_data() == Frame(TEXT, b"turn %d" % turn)
    for number in range(5):
        assert server.note(f"{token}-{number}") == {"running": False}


def test_a_plain_function_that_the_worker_ends_sees_no_loop_either(
    options: tuple[str, ...], upgrade: Upgrade, token: str
) -> None:
    with Server.start("plain_on_a_loop.py", *options, "--reload-mercy", "1") as server:
        client = upgrade(server, f"/is_ended?{token}")
        assert client.read_data() == Frame(TEXT, b"waits")
        server.signal(signal.SIGTERM)
        assert server.note(token) == {"running": False}
        client.close()
