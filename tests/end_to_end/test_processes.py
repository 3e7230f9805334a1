"""Master and workers with real apps: stop, reload, death and several processes, while clients stay connected.

The invariant: a port that was once served is never refused again before the stop, and a session that has to
go is told why: 1001 on a stop, 1012 on a reload. Tests wait for log lines of the master; what they need to
hold in the middle is a request whose body they have not finished.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from end_to_end.http_wire import get, read_answer, request
from support.raw_client import TEXT, Frame, RawClient
from support.runners import every_read_path, every_runner, one_runner
from support.server import TIMEOUT_S, Server

pytestmark = every_runner


def holder(server: Server) -> RawClient:
    """A request in the middle: its first line is answered, its body goes on."""
    client = RawClient(server.connect())
    client.send_bytes(request(server, "/stream", "Transfer-Encoding: chunked", method="POST") + b"2\r\na\n\r\n")
    while b"A\n" not in client.buffer:
        assert client.read_some()
    return client


def finish(client: RawClient) -> None:
    client.send_bytes(b"2\r\nb\n\r\n0\r\n\r\n")
    answer = read_answer(client)
    assert (answer.body, answer.is_complete) == (b"A\nB\n", True)
    client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_closes_open_websockets_with_1001_and_ends_with_status_0(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], number: int
) -> None:
    server = start("sockets.py")
    clients = [upgrade(server, "/echo") for _ in range(20)]
    server.signal(number)
    for client in clients:
        assert client.read_close()[0] == 1001
        client.send_close(1001)
        client.read_end()
        client.close()
    assert server.wait_for_end() == 0


def test_a_stop_does_not_wait_for_ever_for_peers_that_answer_no_close(
    start: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = start("sockets.py", "--reload-mercy", "0.5")
    client = upgrade(server, "/echo")
    server.signal(signal.SIGTERM)
    assert client.read_close()[0] == 1001
    assert server.wait_for_end() == 0


def test_a_stop_lets_a_request_finish(start: Callable[..., Server]) -> None:
    server = start("responses.py")
    client = holder(server)
    server.signal(signal.SIGTERM)
    server.wait_for_line("stopping: SIGTERM")
    finish(client)
    assert server.wait_for_end() == 0


def test_a_stop_tells_the_app_that_this_side_closed(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    server = start("sockets.py")
    client = upgrade(server, f"/ends?{token}")
    client.send_text("one")
    client.send(9, b"read?")
    client.read_frame()
    server.signal(signal.SIGTERM)
    assert client.read_close()[0] == 1001
    client.send_close(1001)
    client.close()
    end = server.note(token)["end"]
    assert (end["code"], end["by"]) == (1001, "local")
    assert server.wait_for_end() == 0


def test_a_reload_closes_open_websockets_with_1012_and_a_new_worker_serves(
    start: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = start("sockets.py")
    before = get(server, "/pid").body
    client = upgrade(server, "/echo")
    server.signal(signal.SIGHUP)
    assert client.read_close()[0] == 1012
    client.send_close(1012)
    client.close()
    server.wait_for_line("reloaded: 1 new worker ready")
    again = upgrade(server, "/echo")
    again.send_text("new")
    assert again.read_data() == Frame(TEXT, b"new")
    assert get(server, "/pid").body != before


def test_a_reload_lets_a_request_finish_in_the_old_worker(start: Callable[..., Server]) -> None:
    server = start("responses.py")
    client = holder(server)
    server.signal(signal.SIGHUP)
    server.wait_for_line("reloaded: 1 new worker ready")
    assert get(server, "/hello").body == b"hello\n"
    finish(client)


@every_read_path
def test_a_reload_never_refuses_a_connection(start: Callable[..., Server]) -> None:
    server = start("sockets.py", "--processes", "2")
    stop = threading.Event()
    served: list[bytes] = []
    failures: list[BaseException] = []

    def knock() -> None:
        while not stop.is_set():
            try:
                served.append(get(server, "/pid").body)
            except BaseException as error:  # any failure at all is the finding
                failures.append(error)
                return

    knockers = [threading.Thread(target=knock) for _ in range(4)]
    for knocker in knockers:
        knocker.start()
    for _ in range(3):
        since = server.mark()
        server.signal(signal.SIGHUP)
        server.wait_for_line("reloaded: 2 new workers ready", since)
    stop.set()
    for knocker in knockers:
        knocker.join(20)
    assert not failures, failures
    assert len(set(served)) >= 3, "the generations did not take turns"


@one_runner
def test_an_app_that_fails_to_load_again_leaves_the_old_worker_serving(
    start: Callable[..., Server], tmp_path: os.PathLike[str]
) -> None:
    app = os.path.join(tmp_path, "app.py")
    good = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n"
    with open(app, "w") as file:
        file.write(good)
    server = start(app)
    with open(app, "w") as file:
        file.write("import missing_module_of_this_test\n")
    server.signal(signal.SIGHUP)
    server.wait_for_line("reload failed, what runs goes on: .*missing_module_of_this_test")
    assert get(server, "/").body == b"good"
    with open(app, "w") as file:
        file.write(good.replace("b'good'", "b'better'"))
    server.signal(signal.SIGHUP)
    server.wait_for_line("reloaded: 1 new worker ready")
    # The old worker may still take a request in the moment before it is told.
    deadline = time.monotonic() + TIMEOUT_S
    while get(server, "/").body != b"better":
        assert time.monotonic() < deadline


@one_runner
def test_several_processes_serve_the_same_port(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--processes", "3")
    assert len(server.worker_pids()) == 3
    found: set[bytes] = set()
    held: list[RawClient] = []
    while len(found) < 3 and len(held) < 150:
        client = RawClient(server.connect())
        held.append(client)
        client.send_bytes(request(server, "/pid"))
        found.add(read_answer(client).body)
    assert found == {str(pid).encode() for pid in server.worker_pids()}
    for client in held:
        client.close()


@every_read_path
def test_a_killed_worker_takes_its_own_sessions_only_and_is_replaced(
    start: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = start("echo_uwsgi.py", "--processes", "2")
    clients = [upgrade(server) for _ in range(40)]
    victim, survivor = server.worker_pids()
    since = server.mark()
    os.kill(victim, signal.SIGKILL)
    server.wait_for_line(rf"worker \d \(pid {victim}\) was killed by signal 9", since)
    server.wait_for_line(r"worker \d \(pid \d+\) is ready", since)
    alive = 0
    for client in clients:
        try:
            client.send_text("who lives?")
            alive += client.read_data() == Frame(TEXT, b"who lives?")
        except (EOFError, ConnectionResetError, BrokenPipeError):
            pass
    assert 0 < alive < 40, "connections should be spread over both workers"
    pids = server.worker_pids()
    assert survivor in pids and victim not in pids and len(pids) == 2


@one_runner
def test_the_port_stays_served_while_the_only_worker_is_killed(start: Callable[..., Server]) -> None:
    server = start("responses.py")
    (victim,) = server.worker_pids()
    since = server.mark()
    os.kill(victim, signal.SIGKILL)
    # Not refused: it waits in the listener's queue for the successor.
    assert get(server, "/hello").body == b"hello\n"
    server.wait_for_line(r"worker 1 \(pid \d+\) is ready", since)
    assert server.worker_pids() != [victim]


def test_workers_leave_when_their_master_is_killed(
    start: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = start("sockets.py")
    client = upgrade(server, "/echo")
    server.process.kill()
    assert client.read_close()[0] == 1001
    client.send_close(1001)
    client.close()
    # The log ends when the last process that writes to it has ended.
    server.wait_for_line("the master is gone")
    server.wait_for_end()


@one_runner
def test_max_requests_replaces_a_worker_without_a_gap(start: Callable[..., Server]) -> None:
    server = start("responses.py", "--max-requests", "10")
    first = get(server, "/pid").body
    deadline = time.monotonic() + TIMEOUT_S
    while get(server, "/pid").body == first:
        assert time.monotonic() < deadline
    server.wait_for_line("asks to be replaced")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--http", "127.0.0.1:0", "--wsgi-file", "no-such-file.py"), "no-such-file.py"),
        (("--http", "127.0.0.1:0"), "no application"),
        (("--http", "127.0.0.1:0", "--wsgi-fiel", "x.py"), "--wsgi-file"),
        (("--http", "127.0.0.1:0", "--module", "no_such_module"), "no_such_module"),
        (("--http", "127.0.0.1:0", "--async", "x", "--greenlet", "--module", "os"), "--async"),
    ],
)
def test_a_bad_start_says_one_sentence_and_ends_with_status_2(arguments: tuple[str, ...], words: str) -> None:
    server = Server.launch(*arguments)
    assert server.wait_for_end() == 2
    said = [line for line in server.lines if line.strip()]
    assert len(said) == 1, said
    assert words in said[0]


@one_runner
def test_a_port_in_use_is_said_with_the_port(start: Callable[..., Server]) -> None:
    taken = start("responses.py")
    again = Server.launch("--http", taken.host_header, "--wsgi-file", os.fspath(__file__))
    assert again.wait_for_end() == 2
    assert any(taken.host_header in line and "listens" in line for line in again.lines), again.lines
