"""Socket.IO's driver for uWSGI (`gevent_uwsgi` of python-engineio), from python-socketio and from Flask-SocketIO.
compat §9, row 3.

The driver has two ways: with `uwsgi.request_context` each greenlet receives and sends for itself, without it the
request's greenlet does both and is woken by another one. Both are run, by the real client in all its transports; what
the browser's client does is in tests/browser.

The driver guesses from a message's first byte whether it was text, so bytes that a client sends by WebSocket have to
begin with one below 48 (the digit 0); others, and none at all, end the connection, on uWSGI too.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from clients import Guest, Refused
from end_to_end.http_wire import get
from support.libraries import SOCKETIO, SOCKETIO_DRIVERS, start_library
from support.raw_client import RawClient
from support.redis_server import RedisServer
from support.server import TIMEOUT_S, Server

#: An application that lets the library choose.
GUESS = ("--wsgi-file", "flask_socketio_guess.py", "--callable", "app")

ANY_WAY = pytest.mark.parametrize("transports", [("websocket",), ("polling", "websocket"), ("polling",)], ids="+".join)


@pytest.fixture(scope="module", params=list(itertools.product(SOCKETIO, SOCKETIO_DRIVERS)), ids="-".join)
def place(request: pytest.FixtureRequest, run: Callable[..., Server]) -> Callable[..., Server]:
    """`place(**environ)`: a server for each application and each way of the driver."""
    app, driver = request.param

    def start(**environ: str) -> Server:
        return run(".", *SOCKETIO[app], environ={"DRIVER": driver, **environ})

    return start


@pytest.fixture
def server(place: Callable[..., Server]) -> Server:
    # A client that polls and leaves may forget to say so, and then sits in its last request until the next ping.
    return place(PING_INTERVAL="1")


@pytest.fixture
def room(token: str) -> str:
    return f"room {token}"


@ANY_WAY
def test_events_go_both_ways_as_text_and_as_bytes(server: Server, transports: tuple[str, ...]) -> None:
    with Guest(server, *transports) as guest:
        assert guest.transport == transports[-1]
        for words in (
            "hello",
            "größer ≥ 日本語",
            "",
            7,
            b"\x00\xff\x04",
            ["list", {"of": "things"}],
            {"text": "and", "bytes": [b"\x01" * 300, b"\x2f"]},
            "x" * 100_000,
            b"\x00\xff" * 50_000,
        ):
            guest.emit("echo", words)
            assert guest.hear() == ("echoed", words)


@ANY_WAY
def test_both_sides_acknowledge(server: Server, transports: tuple[str, ...]) -> None:
    with Guest(server, *transports) as guest:
        assert guest.call("echo", "heard?") == "heard?"
        assert guest.call("echo", b"\x00heard?") == b"\x00heard?"
        assert guest.call("ask", "Are you there?") == "Are you there? Yes!"


@ANY_WAY
def test_a_room_hears_what_is_said_in_it_and_others_do_not(
    server: Server, room: str, transports: tuple[str, ...]
) -> None:
    with Guest(server, *transports) as ada, Guest(server, "websocket") as grace, Guest(server, "websocket") as eve:
        for guest in (ada, grace, eve):
            assert guest.call("enter", room) == f"you are in {room}"
        assert eve.call("leave", room) == f"you left {room}"
        ada.emit("say", room, "hello Grace")
        # Engine.IO keeps what a packet became for its first client, and fails for one who polls if that was bytes.
        reply = "hello Ada" if transports == ("polling",) else b"\x00hello Ada"
        grace.emit("say", room, reply)
        for guest in (ada, grace):
            assert sorted([guest.hear()[1], guest.hear()[1]], key=repr) == sorted(["hello Grace", reply], key=repr)
        eve.emit("echo", "nothing came before this")
        assert eve.hear() == ("echoed", "nothing came before this")


@ANY_WAY
def test_the_server_sends_without_being_asked_for_each_message(server: Server, transports: tuple[str, ...]) -> None:
    with Guest(server, *transports) as guest:
        guest.emit("count", 10)  # a client that polls takes at most 16 packets at a time
        assert [guest.hear() for _ in range(10)] == [("number", number) for number in range(10)]


def test_a_burst_of_the_client_arrives_whole_and_in_order(server: Server, room: str) -> None:
    with Guest(server, "websocket") as guest:
        for number in range(100):
            guest.emit("echo", number)
        # Each handler runs in a greenlet of its own; they start in the order of the messages.
        assert [guest.hear() for _ in range(100)] == [("echoed", number) for number in range(100)]


@ANY_WAY
def test_a_connection_can_be_refused(server: Server, transports: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="not with this token"):
        Guest(server, *transports, auth={"token": "wrong"})


# -- how a connection ends, as somebody else in the room hears it


# Not by polling: the client gives up its requests at once, and the server can only wait for the next one.
@pytest.mark.parametrize("transports", [("websocket",), ("polling", "websocket")], ids="+".join)
def test_a_client_that_leaves_is_missed(server: Server, room: str, transports: tuple[str, ...]) -> None:
    with Guest(server, "websocket") as grace:
        grace.call("enter", room)
        with Guest(server, *transports) as ada:
            ada.call("enter", room)
        event, _, reason = grace.hear()
        # Without contexts the driver drops what it has read if it meets the Close in the same round.
        assert event == "left" and reason in ("client disconnect", "transport close")


@ANY_WAY
def test_a_client_that_the_server_hangs_up_on_is_told(server: Server, room: str, transports: tuple[str, ...]) -> None:
    with Guest(server, "websocket") as grace, Guest(server, *transports) as ada:
        for guest in (ada, grace):
            guest.call("enter", room)
        ada.emit("hang up")
        assert ada.hear() == ("disconnect", "server disconnect")
        event, _, reason = grace.hear()
        assert (event, reason) == ("left", "server disconnect")
        grace.emit("echo", "still here")
        assert grace.hear() == ("echoed", "still here")


@pytest.mark.parametrize("how", ["abort", "close"])
def test_a_client_that_vanishes_without_a_word_is_missed(server: Server, room: str, how: str) -> None:
    with Guest(server, "websocket") as grace:
        grace.call("enter", room)
        ada = open_socket(server)
        ada.send_text(f'420["enter","{room}"]')
        assert read_packet(ada) == f'430["you are in {room}"]'
        getattr(ada, how)()
        event, _, reason = grace.hear()
        assert (event, reason) == ("left", "transport close")


def test_fifty_clients_at_once(server: Server, room: str) -> None:
    with contextlib.ExitStack() as stack:
        guests = [stack.enter_context(Guest(server, "websocket")) for _ in range(50)]
        for guest in guests:
            guest.call("enter", room)
        for number, guest in enumerate(guests):
            guest.emit("echo", number)
        for number, guest in enumerate(guests):
            assert guest.hear() == ("echoed", number)
        guests[0].emit("say", room, b"\x00to all of you")
        for guest in guests:
            assert guest.hear() == ("said", b"\x00to all of you")


# -- several processes, which Redis ties together


def test_a_room_spans_processes(room: str) -> None:
    with RedisServer() as redis, contextlib.ExitStack() as stack:
        options = (*SOCKETIO["python-socketio"], "--gevent-monkey-patch", "--processes", "2")
        server = stack.enter_context(start_library(".", *options, environ={"MESSAGE_QUEUE": f"unix://{redis.socket}"}))
        guests, processes = [], set()
        while len(processes) < 2:
            assert len(guests) < 50, "one process has taken them all"
            guests.append(stack.enter_context(Guest(server, "websocket")))
            processes.add(guests[-1].call("process"))
        for guest in guests:
            guest.call("enter", room)
        while redis.client.pubsub_numsub("socketio") != [("socketio", 2)]:
            guests[0].call("process")  # a process listens to the others soon after its first client has come
        for words in ("hello", b"\x00hello"):
            guests[0].emit("say", room, words)
            for guest in guests:
                assert guest.hear() == ("said", words)


# -- Engine.IO's own pings, spoken packet by packet


def test_pings_come_at_the_interval_and_a_silent_client_is_missed(place: Callable[..., Server], room: str) -> None:
    server = place(PING_INTERVAL="0.3", PING_TIMEOUT="0.5")
    with Guest(server, "websocket") as grace, contextlib.closing(open_socket(server)) as ada:
        grace.call("enter", room)
        ada.send_text(f'420["enter","{room}"]')
        assert read_packet(ada) == f'430["you are in {room}"]'
        for _ in range(3):
            assert read_packet(ada) == "2", "a ping"
            ada.send_text("3")
        assert read_packet(ada) == "2"
        event, _, reason = grace.hear()
        assert (event, reason) == ("left", "ping timeout"), "Grace answers hers, and stays"
        assert grace.call("echo", "still here") == "still here"


def open_socket(server: Server) -> RawClient:
    """A connection to the default namespace, by hand."""
    client = RawClient.upgrade(server, "/socket.io/?EIO=4&transport=websocket")
    opened: dict[str, Any] = json.loads(read_packet(client).removeprefix("0"))
    assert opened["upgrades"] == []
    client.send_text("40")
    assert read_packet(client).startswith('40{"sid":')
    return client


def read_packet(client: RawClient) -> str:
    client.socket.settimeout(TIMEOUT_S)
    return client.read_data().payload.decode()


# -- where nobody runs the driver's hub


@pytest.mark.parametrize("is_late", [False, True], ids=["at import", "with the first request"])
@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (("--threads", "9"), "--gevent 9, or async_mode='threading' (long polling only)"),
        (("--async", "9", "--greenlet"), "--gevent 9, or --threads N and async_mode='threading' (long polling only)"),
    ],
    ids=["threads", "greenlets"],
)
def test_a_driver_whose_hub_nobody_runs_is_told_in_one_line(
    run: Callable[..., Server], options: tuple[str, ...], remedy: str, is_late: bool
) -> None:
    server = run(".", *GUESS, *options, environ={"IS_LATE": "1" if is_late else ""})
    assert get(server, "/").body == b"gevent_uwsgi", "the library takes what it can import"
    line = server.wait_for_line(
        r"warning: Socket\.IO has chosen its driver 'gevent_uwsgi', which needs gevent's hub"
    ).string
    assert line.endswith(f"its events will not arrive; use {remedy}")
    assert len([line for line in server.lines if "has chosen its driver" in line]) == 1


@pytest.mark.parametrize("transports", [("polling", "websocket"), ("polling",)], ids="+".join)
def test_what_that_line_proposes_works_under_threads(run: Callable[..., Server], transports: tuple[str, ...]) -> None:
    server = run(".", *GUESS, "--threads", "9", environ={"ASYNC_MODE": "threading"})
    with Guest(server, *transports) as guest:
        guest.emit("echo", "hello")
        assert guest.hear() == ("echoed", "hello")
    assert not [line for line in server.lines if "has chosen its driver" in line]


def test_the_guess_is_right_under_gevent(run: Callable[..., Server]) -> None:
    server = run(".", *GUESS, "--gevent", "9")
    with Guest(server, "websocket") as guest:
        guest.emit("echo", "hello")
        assert guest.hear() == ("echoed", "hello")
    assert not [line for line in server.lines if "has chosen its driver" in line]
