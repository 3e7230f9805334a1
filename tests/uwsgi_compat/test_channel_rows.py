"""The channel calls of the `uwsgi` module, row by row of compat §1.6, and §9, row 12.

uWSGI had them for a month in 2013. Here a client's messages come while the application does anything else as well, and
`channel_leave` leaves (compat §1.6).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from end_to_end.http_wire import get
from support.raw_client import BINARY, TEXT, Frame, RawClient, handshake_request
from support.runners import Runner, every_runner, one_runner
from support.server import TIMEOUT_S, Server

pytestmark = every_runner

NO_CHANNEL = "unable to find channel"
SEND = "unable to send channel message"
RECV = "unable to receive channel message"
NO_REQUEST = "you can call uwsgi api function only from the main callable"
NONE = {"type": "NoneType", "value": "None"}
NAMES = ("channel_join", "websocket_channel_join", "channel_leave", "channel_send", "channel_recv")

#: One for each test, so that servers are shared.
ROOMS = [f"room{number}" for number in range(40)]
DECLARED = tuple(word for name in ("room", *ROOMS, *(f"{room}2" for room in ROOMS)) for word in ("--channel", name))


class Client:
    """A client of `/talks`."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.frames: list[Frame] = []

    def tell(self, call: str, *arguments: Any) -> None:
        self.client.send_text(json.dumps([call, *arguments]))

    def answer(self) -> dict[str, Any]:
        while True:
            found = self.client.read_data()
            if found.opcode == TEXT and found.payload[:1] == b"=":
                return json.loads(found.payload[1:])
            self.frames.append(found)

    def ask(self, call: str, *arguments: Any) -> dict[str, Any]:
        self.tell(call, *arguments)
        return self.answer()

    def does(self, call: str, *arguments: Any) -> None:
        """A call that returns None."""
        found = self.ask(call, *arguments)
        assert {name: found.get(name) for name in NONE} == NONE, found

    def takes(self, channel: str, *timeout: int) -> str:
        """What `channel_recv` returns, as Python writes it."""
        found = self.ask("channel_recv", channel, *timeout)
        assert "raised" not in found, found
        return str(found["value"])

    def read(self) -> Frame:
        return self.frames.pop(0) if self.frames else self.client.read_data()


def is_oserror(found: dict[str, Any], text: str) -> bool:
    found.pop("took", None)
    assert found == {"raised": "OSError", "text": text, "is_oserror": True, "errno": None}
    return True


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("uwsgi_channels.py", *DECLARED)


@pytest.fixture(scope="session")
def rooms(runner: Runner) -> Any:
    return iter(ROOMS)


@pytest.fixture
def room(rooms: Any) -> str:
    """A declared channel that no other test of this runner uses."""
    return next(rooms)


@pytest.fixture
def connect(upgrade: Callable[..., RawClient]) -> Callable[[Server], Client]:
    return lambda server: Client(upgrade(server, "/talks"))


Connect = Callable[[Server], Client]


def test_row_9_12_two_workers_the_sender_a_slow_member_leave_and_an_undeclared_name(
    serve: Callable[..., Server], connect: Connect
) -> None:
    """compat §9, row 12."""
    server = serve("uwsgi_channels.py", *DECLARED, "--processes", "2", "--channel-queue", "5")
    found: dict[str, Client] = {}
    ends = time.monotonic() + TIMEOUT_S
    while len(found) < 2:
        assert time.monotonic() < ends, "all connections came to one worker"
        client = connect(server)
        found.setdefault(client.ask("pid")["value"], client)
    sender, other = found.values()
    for client in (sender, other):
        client.does("channel_join", "room")
    # The client's own membership shows when everything has been delivered in a worker.
    other.does("websocket_channel_join", "room02")
    sender.does("websocket_channel_join", "room02")
    for number in range(3):
        sender.does("channel_send", "room", f"m{number}")
    for client in (sender, other):
        assert [client.takes("room", 20) for _ in range(3)] == ["b'm0'", "b'm1'", "b'm2'"]
    for number in range(9):
        sender.does("channel_send", "room", f"n{number}")
    sender.does("channel_send", "room02", "all is there")
    for client in (sender, other):
        assert client.read() == Frame(TEXT, b"all is there")
        # Five have room, what came then is dropped for a member that does not read, and nobody is told.
        assert [client.takes("room", 1) for _ in range(6)] == [*(f"b'n{number}'" for number in range(5)), "None"]
    other.does("channel_leave", "room")
    sender.does("channel_send", "room", "after")
    assert sender.takes("room", 20) == "b'after'"
    assert is_oserror(other.ask("channel_recv", "room"), RECV)
    for call in NAMES:
        undeclared = other.ask(call, "undeclared", *(("x",) if call == "channel_send" else ()))
        assert (undeclared["raised"], undeclared["text"]) == ("ValueError", NO_CHANNEL)


@one_runner
def test_row_1_6_each_error_has_its_type_and_text(serve: Callable[..., Server], token: str) -> None:
    server = serve("uwsgi_channels.py", "--channel", "room")
    get(server, f"/mistakes?{token}")
    found = server.note(token)
    for name in NAMES:
        one = found[name]
        for why in ("undeclared", "empty"):
            assert (one[why]["raised"], one[why]["text"]) == ("ValueError", NO_CHANNEL), name
        assert one["bytes"]["raised"] == "TypeError"
        assert one["bytes"]["text"] == f"{name}() argument 1 must be str, not bytes"
        assert (one["nul"]["raised"], one["nul"]["text"]) == ("ValueError", "embedded null character")
        assert one["nothing"]["raised"] == one["too_many"]["raised"] == "TypeError"
    assert [one["raised"] for one in found["message"]] == ["TypeError", "TypeError", "UnicodeEncodeError"]
    assert [one["raised"] for one in found["timeout"]] == ["TypeError", "TypeError", "OverflowError"]
    assert is_oserror(found["too_long"], SEND)
    assert is_oserror(found["not_joined"], RECV)
    assert found["before_handshake"]["raised"] == "OSError"
    assert "websocket_handshake()" in found["before_handshake"]["text"]
    assert found["leaves_nothing"] == found["sends_without_join"] == NONE
    assert found["history"] == 1, "only what was sent without an error is there"


def test_row_1_6_outside_a_request_the_members_calls_have_no_member(server: Server, token: str) -> None:
    get(server, f"/at_import?{token}")
    found = server.note(token)
    for name in ("joins", "leaves", "receives", "joins_for_client"):
        assert (found[name]["raised"], found[name]["text"]) == ("SystemError", NO_REQUEST), name
    assert found["undeclared"]["text"] == NO_CHANNEL


@one_runner
def test_row_1_6_without_declared_channels_the_names_are_there(serve: Callable[..., Server], token: str) -> None:
    server = serve("uwsgi_channels.py")
    get(server, f"/names?{token}")
    assert server.note(token)["found"] == [True] * 5


def test_row_1_6_a_plain_member_is_read_by_channel_recv_alone(server: Server, connect: Connect, room: str) -> None:
    client = connect(server)
    client.does("channel_join", room)
    for message in ("grüße", {"hex": "00ff"}, ""):
        client.does("channel_send", room, message)
    wanted = [repr("grüße".encode()), r"b'\x00\xff'", "b''"]
    assert [client.takes(room, 20) for _ in wanted] == wanted
    assert client.frames == [], "the client of a plain member sees nothing"


@one_runner
def test_row_1_6_bytes_that_are_text_are_sent_as_text_and_others_as_binary(
    server: Server, connect: Connect, room: str
) -> None:
    """What §1.6 does not say of bytes that are no UTF-8: a text frame of them would end the client's connection."""
    client = connect(server)
    client.does("websocket_channel_join", room)
    for message in ({"hex": "6162"}, "é", {"hex": "c3a9"}, {"hex": "ff00"}):
        client.does("channel_send", room, message)
    wanted = [Frame(TEXT, b"ab"), Frame(TEXT, "é".encode()), Frame(TEXT, "é".encode()), Frame(BINARY, b"\xff\x00")]
    assert [client.read() for _ in wanted] == wanted


def test_row_1_6_messages_are_forwarded_whatever_the_application_does_and_recv_returns_none_of_them(
    server: Server, connect: Connect, room: str
) -> None:
    member, sender = connect(server), connect(server)
    member.does("websocket_channel_join", room)
    sender.does("channel_send", room, "while it sits in recv")
    assert member.read() == Frame(TEXT, b"while it sits in recv")
    member.does("channel_join", f"{room}2")
    member.tell("channel_recv", f"{room}2", 20)
    sender.does("channel_send", room, "while it waits elsewhere")
    assert member.read() == Frame(TEXT, b"while it waits elsewhere")
    sender.does("channel_send", f"{room}2", "done")
    assert member.answer()["value"] == "b'done'", "recv would have returned a channel's message as a command"


def test_row_1_6_a_member_for_its_client_may_receive_too_from_its_first_call_on(
    server: Server, connect: Connect, room: str
) -> None:
    client = connect(server)
    client.does("websocket_channel_join", room)
    client.does("channel_send", room, "one")
    assert client.takes(room, 1) == "None"
    client.does("channel_send", room, "two")
    assert client.takes(room, 20) == "b'two'"
    assert [client.read().payload for _ in range(2)] == [b"one", b"two"]
    client.does("channel_leave", room)
    assert is_oserror(client.ask("channel_recv", room), RECV)
    client.does("channel_send", room, "three")
    assert client.ask("members", room)["value"] == "0"
    assert client.frames == []


@one_runner
@pytest.mark.parametrize(
    "calls", [("channel_join", "websocket_channel_join"), ("websocket_channel_join", "channel_join")]
)
def test_row_1_6_joining_again_changes_nothing(
    server: Server, connect: Connect, room: str, calls: tuple[str, str]
) -> None:
    client = connect(server)
    for call in (calls[0], *calls):
        client.does(call, room)
    assert client.ask("members", room)["value"] == "1"
    client.does("channel_send", room, "once")
    if calls[0] == "channel_join":
        assert client.takes(room, 20) == "b'once'"
        assert client.frames == []
    else:
        assert client.read() == Frame(TEXT, b"once")
    client.does("channel_leave", room)
    assert client.ask("members", room)["value"] == "0"
    client.does(calls[1], room)
    assert client.ask("members", room)["value"] == "1", "after leaving it may join in another way"


def test_row_1_6_leaving_discards_what_is_pending(server: Server, connect: Connect, room: str) -> None:
    client = connect(server)
    client.does("channel_join", room)
    client.does("channel_send", room, "pending")
    client.does("channel_leave", room)
    client.does("channel_leave", room)
    client.does("channel_send", room, "for nobody")
    client.does("channel_join", room)
    client.does("channel_send", room, "for it")
    assert client.takes(room, 20) == "b'for it'"


def test_row_1_6_a_client_that_does_not_read_misses_messages_and_stays(
    serve: Callable[..., Server], connect: Connect
) -> None:
    """Whatever --channels-slow-consumer says, which is to close it."""
    server = serve("uwsgi_channels.py", "--channel", "room", "--channels-backlog", "128")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(TIMEOUT_S)
        connection.connect(server.address)
        slow, quick = Client(RawClient(connection)), connect(server)
        slow.client.send_bytes(handshake_request(server.host_header, "/talks"))
        assert slow.client.read_response().status == 101
        slow.does("websocket_channel_join", "room")
        quick.does("websocket_channel_join", "room")
        count = 200
        for number in range(count):
            quick.does("channel_send", "room", f"{number} ".ljust(60_000, "."))
            assert int(quick.read().payload.split()[0]) == number
        # Two of those fill what may wait for it, and this one fits besides.
        quick.does("channel_send", "room", f"{count} the last")
        got = []
        while (number := int(slow.read().payload.split()[0])) != count:
            got.append(number)
        assert got == sorted(set(got)) and got[0] == 0
        assert len(got) < count, "what came while it was full is missing"
        slow.does("channel_send", "room", f"{count + 1} it keeps up again")
        assert slow.read() == Frame(TEXT, b"201 it keeps up again")


def test_row_1_6_timeouts(serve: Callable[..., Server], connect: Connect, runner: Runner) -> None:
    server = serve("uwsgi_channels.py", "--channel", "room", "--channel", "other", "--socket-timeout", "1")
    client, sender = connect(server), connect(server)
    sender.does("channel_join", "other")
    client.does("channel_join", "room")
    began = client.ask("channel_recv", "room", 1)
    assert began["value"] == "None" and 0.99 < began["took"] < 10
    forever = [(), (-1,), (-7,)]
    if runner.name == "gevent":
        forever.append((0,))
    elif runner.least_socket_timeout_s == 0:
        found = client.ask("channel_recv", "room", 0)
        assert found["value"] == "None" and 0.99 < found["took"] < 10, "0 is --socket-timeout"
    waiting = [connect(server) for _ in forever]
    for one, timeout in zip(waiting, forever):
        one.does("channel_join", "room")
        one.tell("channel_recv", "room", *timeout)
    # Longer than --socket-timeout.
    assert sender.takes("other", 2) == "None"
    sender.does("channel_send", "room", "at last")
    for one in waiting:
        found = one.answer()
        assert found["value"] == "b'at last'" and found["took"] > 1.5


@one_runner
def test_row_1_6_the_longest_message_is_65536_bytes(server: Server, connect: Connect, room: str) -> None:
    client = connect(server)
    client.does("websocket_channel_join", room)
    for message in ({"hex": "61" * 65_537}, "é" * 32_769):
        assert is_oserror(client.ask("channel_send", room, message), SEND)
    client.does("channel_send", room, "é" * 32_768)
    assert client.read() == Frame(TEXT, "é".encode() * 32_768)


@one_runner
def test_row_1_6_a_limit_below_that_is_the_same_error(serve: Callable[..., Server], connect: Connect) -> None:
    client = connect(serve("uwsgi_channels.py", "--channel", "room", "--channels-max-message", "1"))
    assert is_oserror(client.ask("channel_send", "room", "x" * 1025), SEND)
    client.does("channel_send", "room", "x" * 1024)


def test_row_1_6_threads_and_greenlets_of_a_request_are_its_member(server: Server, room: str, token: str) -> None:
    get(server, f"/children?{token}&{room}")
    found = server.note(token)["found"]
    assert found["joined"] == NONE
    assert found["received"]["value"] == "b'to itself'"
    assert found["in_greenlet"]["value"] == "b'for the greenlet'"


def test_row_1_6_a_call_that_waits_while_the_request_leaves_is_told(server: Server, room: str, token: str) -> None:
    get(server, f"/left_meanwhile?{token}&{room}")
    assert is_oserror(server.note(token)["waited"], RECV)


@pytest.mark.parametrize("how", ["returns", "raises", "exits", "late_thread"])
def test_row_1_6_the_end_of_the_request_leaves(
    server: Server, connect: Connect, room: str, token: str, how: str
) -> None:
    assert get(server, f"/ends?{token}&{how},{room}").status == (500 if how in ("raises", "exits") else 200)
    watcher = connect(server)
    has_members(watcher, room, 0)
    if how == "late_thread":
        found = server.note(token)
        for call in ("late", "left"):
            assert (found[call]["raised"], found[call]["text"]) == ("SystemError", NO_REQUEST)
        has_members(watcher, room, 0)


def test_row_1_6_the_end_of_a_generator_leaves(server: Server, connect: Connect, room: str, token: str) -> None:
    assert get(server, f"/ends_as_generator?{token}&{room}").status == 200
    assert server.note(token)["members"] == 1
    has_members(connect(server), room, 0)


@pytest.mark.parametrize("how", ["close_in_order", "abort"])
def test_row_1_6_the_end_of_a_client_leaves(server: Server, connect: Connect, room: str, how: str) -> None:
    client, watcher = connect(server), connect(server)
    client.does("channel_join", room)
    client.does("websocket_channel_join", f"{room}2")
    has_members(watcher, room, 1)
    has_members(watcher, f"{room}2", 1)
    getattr(client.client, how)()
    has_members(watcher, room, 0)
    has_members(watcher, f"{room}2", 0)


def test_row_1_6_a_join_after_the_clients_end_raises_nothing_and_the_next_recv_does(
    server: Server, upgrade: Callable[..., RawClient], connect: Connect, room: str, token: str
) -> None:
    upgrade(server, f"/after_the_end?{token}&{room}").close_in_order()
    found = server.note(token)
    assert found["joined"] == found["received"] == found["left"] == NONE
    assert is_oserror(found["recv"], "unable to receive websocket message")
    has_members(connect(server), room, 0)


def test_row_1_6_the_calls_and_fairleads_own_reach_the_same_channels(
    server: Server, upgrade: Callable[..., RawClient], room: str, token: str
) -> None:
    client = upgrade(server, f"/mixed?{token}&{room}")
    assert [client.read_data() for _ in range(2)] == [Frame(TEXT, b"by fairlead"), Frame(TEXT, b"by uwsgi")]


def has_members(watcher: Client, channel: str, count: int) -> None:
    """Soon it has so many; each question is a round trip."""
    ends = time.monotonic() + TIMEOUT_S
    while (found := watcher.ask("members", channel)["value"]) != str(count):
        assert time.monotonic() < ends, found


# -- where an application cannot just wait


def test_a_generator_application_is_told_how_to_wait(upgrade: Callable[..., RawClient], token: str) -> None:
    """Under `--async` alone; under other runners a generator may block."""
    with Server.start("uwsgi_channels.py", "--async", "10", "--channel", "room") as server:
        client = upgrade(server, f"/generator?{token}&room")
        found = server.note(token)
        client.close()
    assert found["message"] == {"type": "bytes", "value": "b'pending'"}
    assert found["waits"]["raised"] == "RuntimeError"
    for word in ("generator", "channel_recv()", "websocket_channel_join()", "--greenlet"):
        assert word in found["waits"]["text"]


def test_a_coroutine_leaves_at_its_end_and_is_told_that_it_cannot_block(
    upgrade: Callable[..., RawClient], token: str
) -> None:
    with Server.start("uwsgi_channels.py", "--asyncio", "10", *DECLARED) as server:
        client = upgrade(server, f"/ends_as_coroutine?{token}&room1")
        found = server.note(token)["found"]
        assert found["raised"] == "RuntimeError" and "await" in found["text"]
        assert json.loads(get(server, "/counts?t&room1,room12").body) == [1, 1]
        client.close_in_order()
        client.close()
        ends = time.monotonic() + TIMEOUT_S
        while json.loads(get(server, "/counts?t&room1,room12").body) != [0, 0]:
            assert time.monotonic() < ends, "it is still a member"
