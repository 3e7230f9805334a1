"""Applications that wait for a WebSocket and for Redis at once, in every way that uWSGI has for it.

The same chat four times (`apps/redis_*.py`): gevent's `select`, two greenlets of gevent, `wait_fd_read` with `suspend`,
and with `yield`. The Redis is a real one; it carries what people say from one request to the others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from clients import dial
from support.raw_client import PING, PONG, RawClient
from support.redis_server import RedisServer
from support.server import TIMEOUT_S, Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection


class Way(NamedTuple):
    """One way of waiting: the application, and the options that it is made for."""

    name: str
    app: str
    options: tuple[str, ...]


WAYS = (
    Way("gevent-select", "redis_select.py", ("--gevent", "100")),
    Way("gevent-select-patched", "redis_select.py", ("--gevent", "100", "--gevent-monkey-patch")),
    Way("gevent-greenlets", "redis_greenlets.py", ("--gevent", "100", "--gevent-monkey-patch")),
    Way("suspend", "redis_suspend.py", ("--async", "100", "--greenlet")),
    Way("yield", "redis_yield.py", ("--async", "100")),
)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.name)
def chat(request: pytest.FixtureRequest, redis: RedisServer, run: Callable[..., Server]) -> Server:
    way: Way = request.param
    # Short waits, so that a quiet moment of the test is long for the application.
    environ = {"REDIS_SOCKET": redis.socket, "WAIT_S": "1"}
    return run(".", "--wsgi-file", way.app, *way.options, "--websockets-ping-freq", "1", environ=environ)


@pytest.fixture
def room(token: str) -> str:
    return f"/room-{token}"


@contextlib.contextmanager
def enter(chat: Server, room: str, name: str) -> Iterator[ClientConnection]:
    """Somebody who is in the room, and hears what is said there."""
    with dial(chat, f"{room}?{name}") as client:
        assert client.recv(TIMEOUT_S) == f"you are in {room.strip('/')}"
        yield client


def test_people_in_a_room_hear_each_other_and_nobody_else(chat: Server, room: str) -> None:
    with enter(chat, room, "Ada") as ada, enter(chat, room, "Grace") as grace, enter(chat, f"{room}-2", "Eve") as eve:
        ada.send("hello")
        assert [client.recv(TIMEOUT_S) for client in (ada, grace)] == ["Ada: hello"] * 2
        grace.send("wörld")
        assert [client.recv(TIMEOUT_S) for client in (ada, grace)] == ["Grace: wörld"] * 2
        eve.send("only me")
        assert eve.recv(TIMEOUT_S) == "Eve: only me"


def test_a_burst_arrives_whole_and_in_order(chat: Server, room: str) -> None:
    with enter(chat, room, "Ada") as ada, enter(chat, room, "Grace") as grace:
        for number in range(100):
            ada.send(str(number))
        for client in (grace, ada):
            assert [client.recv(TIMEOUT_S) for _ in range(100)] == [f"Ada: {number}" for number in range(100)]


def test_a_message_from_outside_reaches_the_room(chat: Server, redis: RedisServer, room: str) -> None:
    with enter(chat, room, "Ada") as ada:
        assert redis.client.publish(room.strip("/"), "from another process") == 1
        assert ada.recv(TIMEOUT_S) == "from another process"


def test_a_quiet_room_costs_nothing_and_still_works(chat: Server, redis: RedisServer, room: str) -> None:
    (worker,) = chat.worker_pids()
    with RawClient.upgrade(chat, f"{room}?Ada") as ada, RawClient.upgrade(chat, f"{room}?Grace") as grace:
        for client in (ada, grace):
            assert client.read_frame().payload.startswith(b"you are in")
        before = cpu_seconds(worker)
        for _ in range(2):  # two seconds and more, in which each wait of the application runs out at least once
            for client in (ada, grace):
                client.send(PONG, read_ping(client))
        assert cpu_seconds(worker) - before < 0.5, "the worker is busy though nothing happens"
        assert redis.client.publish(room.strip("/"), "still there?") == 2
        assert [client.read_data().payload for client in (ada, grace)] == [b"still there?"] * 2
        ada.send_text("yes")
        assert [client.read_data().payload for client in (ada, grace)] == [b"Ada: yes"] * 2


def read_ping(client: RawClient) -> bytes:
    """The payload of the next frame, which is a ping; unasked pongs may come before it."""
    while (found := client.read_frame()).opcode == PONG:
        pass
    assert found.opcode == PING, found
    return found.payload


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("how", ["close", "abort"])
def test_somebody_leaves_and_the_others_stay(chat: Server, redis: RedisServer, room: str, how: str) -> None:
    with enter(chat, room, "Grace") as grace, enter(chat, room, "Linus") as linus:
        with RawClient.upgrade(chat, f"{room}?Ada") as ada:
            ada.read_data()
            if how == "close":
                ada.close_in_order()
            else:
                ada.abort()
        for client in (grace, linus):
            assert client.recv(TIMEOUT_S) == "Ada left"
        assert redis.client.pubsub_numsub(room.strip("/")) == [(room.strip("/"), 2)]
        grace.send("and then there were two")
        assert linus.recv(TIMEOUT_S) == "Grace: and then there were two"


def test_a_lost_redis_connection_fails_its_request_and_no_other(chat: Server, redis: RedisServer, room: str) -> None:
    name = f"Ada-{room.strip('/')}"
    since = chat.mark()
    with enter(chat, room, "Grace") as grace, enter(chat, room, name) as ada:
        redis.cut(name)
        with pytest.raises(ConnectionClosed) as end:
            ada.recv(TIMEOUT_S)
        assert end.value.rcvd is not None and end.value.rcvd.code == 1011
        assert grace.recv(TIMEOUT_S) == f"{name} left"
        chat.wait_for_line(r"redis\.exceptions\.ConnectionError", since)
        grace.send("still here")
        assert grace.recv(TIMEOUT_S) == "Grace: still here"
        with enter(chat, room, "Linus") as linus:
            linus.send("and I am new")
            assert grace.recv(TIMEOUT_S) == "Linus: and I am new"
