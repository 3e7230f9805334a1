"""What the asyncio runner owes on top of the contract: applications that are async def, the awaitable API of a
WebSocket, and the loop as asyncio's users expect it. Each test runs on asyncio's own loop and on uvloop's.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.http_wire import get, request
from support.raw_client import BINARY, PING, PONG, TEXT, Frame, RawClient, handshake_request
from support.server import TIMEOUT_S, Server

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def server(options: tuple[str, ...]) -> Iterator[Server]:
    with Server.start("coroutines.py", *options) as server:
        yield server


@pytest.fixture
def own(options: tuple[str, ...]) -> Iterator[Callable[..., Server]]:
    """A server for this test alone."""
    running: list[Server] = []

    def start(app: str, *more: str) -> Server:
        running.append(Server.start(app, *options, *more))
        return running[-1]

    yield start
    for server in running:
        server.stop()


Upgrade = Callable[..., RawClient]


# -- messages


def test_messages_come_and_go_in_coroutines(server: Server, upgrade: Upgrade) -> None:
    clients = [upgrade(server, "/echo") for _ in range(100)]
    for number in range(3):
        for client in clients:
            client.send_text(f"text {number}")
            client.send(BINARY, b"\x00\xff" * number)
    for client in clients:
        for number in range(3):
            assert client.read_data() == Frame(TEXT, b"text %d" % number)
            assert client.read_data() == Frame(BINARY, b"\x00\xff" * number)
        client.close_in_order()
        client.close()


def test_text_is_str_and_all_kinds_of_bytes_are_binary(server: Server, upgrade: Upgrade) -> None:
    client = upgrade(server, "/types")
    client.send_text("é")
    assert client.read_data() == Frame(TEXT, b"str 1")
    assert [client.read_data() for _ in range(3)] == [Frame(BINARY, b"\x00\xff")] * 3
    client.send(BINARY, b"\xc3\xa9")
    assert client.read_data() == Frame(TEXT, b"bytes 2")


def test_a_wait_that_gives_up_loses_no_message(server: Server, upgrade: Upgrade) -> None:
    client = upgrade(server, "/times_out")
    words = [f"w{number}" for number in range(300)] + ["end"]
    for word in words:
        client.send_text(word)
        select_nothing(0.0007)
    assert client.read_data().payload.decode() == ",".join(words)


def test_a_time_out_that_comes_due_with_the_message_loses_it_not(
    server: Server, upgrade: Upgrade, token: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "until"
    os.mkfifo(fifo)
    client = upgrade(server, f"/collides?{token}&{fifo}")
    server.note(token)
    client.send_text("both are due")
    client.send(PING, b"is it there?")
    assert client.read_frame() == Frame(PONG, b"is it there?")
    fifo.write_text("go on")
    assert client.read_data() == Frame(TEXT, b"got both are due")


def test_a_cancellation_that_meets_a_message_loses_it_not(server: Server, upgrade: Upgrade) -> None:
    client = upgrade(server, "/races?t&500")
    for number in range(500):
        assert client.read_data() == Frame(TEXT, b"now")
        client.send_text(str(number))
    assert client.read_data() == Frame(TEXT, b"lost 0")


def test_a_group_of_reader_and_writer_ends_with_the_client(server: Server, upgrade: Upgrade, token: str) -> None:
    client = upgrade(server, f"/two_at_once?{token}")
    for count in (1, 2):
        client.send_text(f"m{count}")
        while client.read_data().payload != b"tick %d" % count:
            pass
    client.send_close(1000)
    note = server.note(token)
    assert note["seen"] == ["m1", "m2", "the writer was cancelled"]
    assert note["closed"] == {"code": 1000, "reason": "", "by": "peer"}


def test_a_receive_can_be_one_of_several_tasks_that_are_waited_for(server: Server, upgrade: Upgrade) -> None:
    client = upgrade(server, "/whichever")
    for word in ("one", "two", "three"):
        client.send_text(word)
        assert client.read_data() == Frame(TEXT, word.encode())
        assert client.read_data() == Frame(TEXT, b"queued " + word.encode())
    assert client.read_close()[0] == 1000


def test_one_task_at_a_time_may_receive(server: Server, upgrade: Upgrade, token: str) -> None:
    client = upgrade(server, f"/second_receiver?{token}")
    assert client.read_data() == Frame(TEXT, b"both wait")
    client.send_text("for the first")
    client.send_text("for the third")
    note = server.note(token)
    assert note["second"]["raised"] == "RuntimeError"
    assert "another task is waiting" in note["second"]["text"]
    assert (note["first"]["value"], note["third"]["value"]) == ("'for the first'", "'for the third'")


def test_what_one_task_sends_to_all_arrives_in_order(server: Server, upgrade: Upgrade) -> None:
    clients = [upgrade(server, "/chat") for _ in range(10)]
    for client in clients:
        assert client.read_data() == Frame(TEXT, b"joined")
    for number in range(20):
        clients[0].send_text(str(number))
    for client in clients:
        assert [client.read_data().payload for _ in range(20)] == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize("how", ["closes", "vanishes"])
def test_the_end_of_a_connection_is_what_the_synchronous_face_says(
    server: Server, upgrade: Upgrade, token: str, how: str
) -> None:
    client = upgrade(server, f"/ends?{token}")
    client.send_text("before")
    if how == "closes":
        client.send_close(4001, "bye")
        end, raised = {"code": 4001, "reason": "bye", "by": "peer"}, "ConnectionClosed"
    else:
        client.socket.shutdown(socket.SHUT_WR)
        end, raised = {"code": 1006, "reason": "the peer vanished without a Close", "by": "lost"}, "ConnectionClosed"
    note = server.note(token)
    assert (note["messages"], note["before"]) == (["before"], None)
    assert {**note["end"], "reason": ""} == {**note["closed"], "reason": ""} == {**end, "reason": ""}
    assert note["receive"]["raised"] == note["nowait"]["raised"] == note["send"]["raised"] == raised
    assert note["iteration"] == ([] if how == "closes" else None)


def test_close_ping_and_subprotocol_need_no_await_and_take_one(server: Server, upgrade: Upgrade, token: str) -> None:
    client = upgrade(server, f"/closes?{token}", headers=[("Sec-WebSocket-Protocol", "chat.v1, chat.v2")])
    assert client.read_frame() == Frame(PING, b"are you there?")
    assert client.read_data() == Frame(TEXT, b"'chat.v2'")
    assert client.read_close() == (4321, "enough")
    client.send_close(4321)
    note = server.note(token)
    assert note["send"]["raised"] == note["receive"]["raised"] == "ConnectionClosed"


def test_mistakes_with_awaitables_are_named(server: Server, upgrade: Upgrade, token: str) -> None:
    since = server.mark()
    client = upgrade(server, f"/misuses?{token}")
    assert client.read_data() == Frame(TEXT, b"once")
    note = server.note(token)
    assert (note["twice"]["raised"], note["number"]["raised"]) == ("RuntimeError", "TypeError")
    assert (note["lone"]["raised"], note["limit"]["raised"]) == ("UnicodeEncodeError", "ValueError")
    assert "worker's own loop" in note["thread"]["text"]
    assert note["handshake"]["raised"] == "RuntimeError"
    assert client.read_data() == Frame(TEXT, b"still usable")
    server.wait_for_line(r"RuntimeWarning: .*never awaited", since)


def test_a_send_waits_for_a_slow_reader_while_others_are_served(server: Server, upgrade: Upgrade) -> None:
    slow, other = upgrade(server, "/sends_much"), upgrade(server, "/echo")
    for _ in range(20):
        other.send_text("still there?")
        assert other.read_data() == Frame(TEXT, b"still there?")
    for number in range(32):
        assert slow.read_data() == Frame(BINARY, bytes([number]) * 2**20)
    assert slow.read_close()[0] == 1000


def test_a_send_gives_up_after_the_time_out(token: str) -> None:
    # Without pings, each of which may find a little room in the kernel, and the last of which ends the session too.
    # 30 seconds, which is what the model raises a shorter time-out to: on one loop only.
    with (
        Server.start(
            "coroutines.py", "--asyncio", "10", "--websockets-ping-freq", "0", "--socket-timeout", "1"
        ) as server,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(server.address)
        client.sendall(handshake_request(server.host_header, f"/floods?{token}"))
        note = server.note(token, 30 + TIMEOUT_S)
        assert (note["code"], note["by"]) == (1006, "lost")
        assert 29.9 < note["lasted"] < 40
        assert note["sent"] < 200, "64 KiB each"


# -- how a coroutine ends


@pytest.mark.parametrize(
    "how", ["exception", "exit", "in_the_block", "in_a_group", "cancels_itself", "stray_cancellation"]
)
def test_a_coroutine_that_fails_closes_with_1011_and_takes_no_other_with_it(
    server: Server, upgrade: Upgrade, how: str
) -> None:
    neighbour = upgrade(server, "/echo")
    since = server.mark()
    client = upgrade(server, f"/raises?t&{how}")
    client.send_text("go")
    assert client.read_close()[0] == 1011
    server.wait_for_line(
        r"/raises.*: the application raised (ValueError|SystemExit|ExceptionGroup|CancelledError)", since
    )
    neighbour.send_text("?")
    assert neighbour.read_data() == Frame(TEXT, b"?")


def test_a_stop_runs_the_finally_blocks_of_coroutines(own: Callable[..., Server], upgrade: Upgrade) -> None:
    server = own("coroutines.py")
    clients = [upgrade(server, f"/finally_runs?f{number}") for number in range(20)]
    server.signal(signal.SIGTERM)
    for number, client in enumerate(clients):
        assert client.read_close()[0] == 1001
        client.send_close(1001)
        client.close()
        assert server.note(f"f{number}") == {"closed": {"code": 1001, "reason": "", "by": "local"}}
    assert server.wait_for_end() == 0


def test_a_stop_cancels_coroutines_that_take_no_notice(
    own: Callable[..., Server], upgrade: Upgrade, token: str
) -> None:
    server = own("coroutines.py", "--reload-mercy", "1")
    client = upgrade(server, f"/waits_elsewhere?{token}")
    assert client.read_data() == Frame(TEXT, b"waiting")
    with RawClient(server.connect()) as http:
        http.send_bytes(request(server, f"/waits_elsewhere?{token}-http"))
        server.note(f"{token}-http")
        server.signal(signal.SIGTERM)
        assert client.read_close()[0] == 1001
        client.send_close(1001)
        client.close()
        assert http.read_response().status == 503
    for name in (token, f"{token}-http"):
        assert server.note(f"{name}-end") == {"cancelled": True}
    assert server.wait_for_end() == 0
    assert not [line for line in server.lines if "did not end" in line or "CancelledError" in line]


def test_tasks_that_an_application_leaves_behind_are_cancelled_at_the_end(
    own: Callable[..., Server], token: str
) -> None:
    server = own("coroutines.py")
    assert get(server, f"/leaves_a_task?{token}").body == b"left"
    server.signal(signal.SIGTERM)
    assert server.wait_for_end() == 0
    assert server.note(token) == {"ended": True}


def test_coroutines_that_have_ended_leave_nothing_behind(
    own: Callable[..., Server], upgrade: Upgrade, token: str
) -> None:
    server = own("coroutines.py")
    notes = []
    for turn in range(4):
        clients = [upgrade(server, "/echo") for _ in range(150)]
        for number, client in enumerate(clients):
            client.send_text("?")
            assert client.read_data() == Frame(TEXT, b"?")
            client.close_in_order() if number % 2 else client.abort()
            client.close()
        client = upgrade(server, "/gives_up_often")
        assert client.read_data() == Frame(TEXT, b"done")
        client.close()
        get(server, f"/books?{token}-{turn}")
        notes.append(server.note(f"{token}-{turn}"))
    # Tasks of connections that were aborted may still be ending.
    assert notes[-1]["tasks"] < 10
    assert notes[-1]["objects"] - notes[1]["objects"] < 150, "less than an object for each connection in between"


# -- the loop


def test_what_belongs_to_asyncio_works_inside(server: Server, options: tuple[str, ...], token: str) -> None:
    get(server, f"/asks_everything?{token}")
    note = server.note(token)
    assert (note["called"], note["executor"], note["process"]) == ("called later", "in a thread", [0, "out"])
    assert note["same"], "the application found another loop when it was loaded"
    assert note["loop"] == options[-1]
    assert note["task"]
    assert note["mine"] == note["thread"] == note["task_label"] == note["callback_label"]
    assert note["mine"].endswith(f"/asks_everything?{token}")


def test_the_log_says_whose_loop_runs(server: Server, options: tuple[str, ...]) -> None:
    server.wait_for_line(f"the loop is {options[-1]}'s")


def test_a_blocking_call_in_a_coroutine_says_what_to_do(server: Server, upgrade: Upgrade, token: str) -> None:
    client = upgrade(server, f"/synchronous?{token}")
    assert client.read_data() == Frame(TEXT, b"may be sent")
    client.send_text("for the thread")
    note = server.note(token)
    for wrong in (note["wrong"], note["uwsgi"]):
        assert wrong["raised"] == "RuntimeError"
        assert "await" in wrong["text"] and "fairlead.async_websocket" in wrong["text"], wrong
    assert note["right"] == "for the thread"


def test_a_coroutine_that_holds_up_the_loop_delays_no_pong(
    server: Server, upgrade: Upgrade, token: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "until"
    os.mkfifo(fifo)
    other, blocking = upgrade(server, "/echo"), upgrade(server, f"/blocks?{token}&{fifo}")
    server.note(token)
    for number in range(10):
        other.send(PING, b"%d" % number)
        assert other.read_frame() == Frame(PONG, b"%d" % number)
    other.send_text("when you can")
    fifo.write_text("go on")
    assert other.read_data() == Frame(TEXT, b"when you can")
    blocking.send_text("and you?")
    assert blocking.read_data() == Frame(TEXT, b"and you?")


def test_a_thousand_connections_in_coroutines(options: tuple[str, ...], upgrade: Upgrade) -> None:
    with Server.start("coroutines.py", "--asyncio", "1000", *options[2:]) as server:
        clients = [upgrade(server, "/echo") for _ in range(1000)]
        for _ in range(2):
            for number, client in enumerate(clients):
                client.send_text(str(number))
            for number, client in enumerate(clients):
                assert client.read_data() == Frame(TEXT, b"%d" % number)


# -- synchronous applications that live by the loop's callbacks


@pytest.fixture(scope="module")
def callbacks(options: tuple[str, ...]) -> Iterator[Server]:
    with Server.start("loop_callbacks.py", *options) as server:
        yield server


def test_a_middleware_written_for_uwsgis_asyncio_mode_runs(callbacks: Server, upgrade: Upgrade, token: str) -> None:
    clients = [upgrade(callbacks, f"/middleware?{token}-{number}") for number in range(20)]
    for word in ("one", "two"):
        for client in clients:
            client.send_text(word)
        for client in clients:
            assert client.read_data() == Frame(TEXT, b"echo " + word.encode())
    for number, client in enumerate(clients):
        client.close_in_order()
        client.close()
        assert callbacks.note(f"{token}-{number}") == {"ended": True}


def test_a_task_that_a_callback_resumes_may_block(callbacks: Server, upgrade: Upgrade, token: str) -> None:
    client = upgrade(callbacks, f"/callbacks?{token}")
    client.send_text("first")
    assert client.read_data() == Frame(TEXT, b"waits")
    client.send_text("second")
    assert client.read_data() == Frame(TEXT, b"done")
    note = callbacks.note(token)
    assert note["running"] == note["running_again"] == "RuntimeError", "no loop runs for a plain function"
    assert note["in_a_callback"] and note["task_is_done"]
    assert (note["later"], note["message"], note["from_task"]) == ("called later", "first", "from a task")
    assert (note["second"], note["executor"]) == ("second", "in a thread")
    assert note["label_in_task"].endswith(f"/callbacks?{token}")


def test_a_switch_that_comes_too_late_reaches_nobody_else(callbacks: Server, upgrade: Upgrade, token: str) -> None:
    get(callbacks, f"/keeps_switching?{token}")
    client = upgrade(callbacks, f"/callbacks?{token}-other")
    assert callbacks.note(token) == {"late": "tuple", "dead": True}
    client.send_text("first")
    assert client.read_data() == Frame(TEXT, b"waits")
    client.send_text("second")
    assert client.read_data() == Frame(TEXT, b"done")


# -- the examples


def test_the_echo_example_keeps_text_and_binary_apart(options: tuple[str, ...], upgrade: Upgrade) -> None:
    with Server.start(EXAMPLES / "async_echo.py", *options) as server:
        assert get(server, "/").status == 200
        client = upgrade(server)
        for kind, payload in ((TEXT, "grüße".encode()), (BINARY, bytes(range(256))), (TEXT, b"")):
            client.send(kind, payload)
            assert client.read_data() == Frame(kind, payload)
        client.close_in_order()
        client.close()


def test_the_clock_example_talks_and_listens_at_once(options: tuple[str, ...], upgrade: Upgrade) -> None:
    with Server.start(EXAMPLES / "async_clock.py", *options) as server:
        assert b"<title>Fairlead clock</title>" in get(server, "/").body
        client = upgrade(server)
        assert re.fullmatch(rb"\d\d:\d\d:\d\d", client.read_data().payload)
        client.send_text("no number")
        client.send_text("0.1")
        for _ in range(5):
            client.read_data()
        client.close_in_order()
        client.close()
        assert not [line for line in server.lines if "error" in line]


def select_nothing(seconds: float) -> None:
    """Spreads what a client sends over a time, so that messages meet time-outs; nothing is waited for."""
    threading.Event().wait(seconds)
