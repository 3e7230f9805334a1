"""Channels in coroutines: the awaitable API of memberships and subscriptions, on asyncio's own loop and uvloop's."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest
from end_to_end.http_wire import get
from support.raw_client import BINARY, TEXT, Frame, RawClient
from support.server import Server

Upgrade = Callable[..., RawClient]


@pytest.fixture(scope="module")
def server(options: tuple[str, ...]) -> Iterator[Server]:
    with Server.start("channel_coroutines.py", *options) as server:
        yield server


def test_a_client_joins_and_leaves_without_an_await(server: Server, upgrade: Upgrade, token: str) -> None:
    clients = [upgrade(server, f"/joins?{token}&{token}") for _ in range(3)]
    for number, client in enumerate(clients):
        notice, _, missed, channel = client.read_data().payload.split()
        assert (notice, missed, channel) == (b"\x1ejoined", b"0", token.encode())
        assert client.read_data() == Frame(TEXT, b"\x1e0 %s\n25" % token.encode())
        assert client.read_data() == Frame(TEXT, b"0 0 %d" % (number + 1))
    clients[0].send_text("grüße")
    clients[1].send(BINARY, b"\x00\xff")
    frames = [[client.read_data() for _ in range(2)] for client in clients]
    assert frames[0] == frames[1] == frames[2]
    heads, bodies = zip(*(one.payload.split(b"\n", 1) for one in frames[0]))
    assert sorted(bodies) == [b"\x00\xff", "grüße".encode()]
    assert {one.opcode for one in frames[0]} == {TEXT, BINARY}
    first, second = (int(head[1:].split()[0]) for head in heads)
    assert second == first + 1
    clients[2].send_text("leave")
    assert clients[2].read_data() == Frame(TEXT, b"True False 0")
    clients[0].send_text("for two")
    for client in clients[:2]:
        assert client.read_data().payload.endswith(b"for two")
    clients[2].close_in_order()


def test_an_iteration_ends_with_its_subscription(server: Server, upgrade: Upgrade, token: str) -> None:
    client, publisher = upgrade(server, f"/iterates?{token}&{token}"), upgrade(server, f"/joins?{token}&{token}")
    assert client.read_data() == Frame(TEXT, b"subscribed")
    for word in ("one", "two", "stop"):
        publisher.send_text(word)
        assert client.read_data() == Frame(TEXT, repr(word).encode())
    assert client.read_data() == Frame(TEXT, b"over")


def test_a_wait_gives_up_and_the_next_one_gets_what_comes(server: Server, token: str) -> None:
    get(server, f"/times_out?{token}&{token}")
    found = server.note(token)
    assert found["timeout"] == found["nowait"] == "None" and 0.09 < found["took"] < 10
    assert found["wait_for"]["raised"] == "TimeoutError"
    assert found["second"]["raised"] == "RuntimeError" and "another task is waiting" in found["second"]["text"]
    assert "await" in found["blocking"]
    assert "'after all'" in found["first"]


def test_a_receive_loop_that_is_cancelled_loses_nothing(server: Server, token: str) -> None:
    get(server, f"/is_cancelled?{token}&{token}")
    assert server.note(token) == {"lost": [], "same": True, "missed": 0}


def test_close_wakes_a_task_that_waits(server: Server, token: str) -> None:
    with RawClient(server.connect()) as waiting:
        head = f"GET /waits?{token}&{token} HTTP/1.1\r\nHost: {server.host_header}\r\nConnection: close\r\n\r\n"
        waiting.send_bytes(head.encode())
        server.note(token)
        get(server, f"/closes?t&{token}")
        assert waiting.read_response().status == 200
        found, end = ast.literal_eval(waiting.read_rest().decode().replace("} [", "}, ["))
    assert found == {"raised": "RuntimeError", "text": "the subscription is closed"}
    assert end == [], "an iteration over a closed subscription is over at once"


def test_a_hundred_tasks_take_the_same_messages(server: Server, token: str) -> None:
    get(server, f"/many?{token}&{token}")
    assert server.note(token) == {"same": True}


def test_a_client_that_goes_is_no_member_any_more(server: Server, upgrade: Upgrade, token: str) -> None:
    for _ in range(3):
        client = upgrade(server, f"/joins?{token}&{token}")
        for _ in range(2):
            client.read_data()
        # The count that it is told is its own: those before it have left.
        assert client.read_data() == Frame(TEXT, b"0 0 1")
        client.close_in_order()
        client.close()
