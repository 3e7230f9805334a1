"""A server without a free slot says so, answers what needs none, and lets nobody wait longer than it was told to."""

from __future__ import annotations

from pathlib import Path

import pytest
from end_to_end.http_wire import get, read_answer, request
from support.http2_client import Http2Client
from support.raw_client import RawClient, handshake_request
from support.runners import every_read_path, one_runner
from support.server import APPS, Server

pytestmark = every_read_path


def asking(server: Server, path: str = "/page") -> RawClient:
    """A client that has sent its request and waits."""
    client = RawClient(server.connect())
    client.send_bytes(request(server, path))
    return client


def leave(holder: RawClient) -> None:
    """Ends a WebSocket, and with it gives its slot back."""
    holder.close_in_order()
    holder.close()


@one_runner
def test_the_default_serves_many_and_says_so(tmp_path: Path) -> None:
    with Server.launch("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "routed.py")) as server:
        server.wait_until_ready()
        server.wait_for_line(r" 1 worker, threads, 64 slots each \(the default; --threads 1 for an app\w+ that is not")
        clients = [RawClient.upgrade(server) for _ in range(10)]
        assert get(server, "/page").status == 200
        for client in clients:
            leave(client)


@one_runner
def test_the_start_says_what_one_slot_costs() -> None:
    with Server.start("routed.py", "--threads", "1") as server:
        server.wait_for_line(r"threads, 1 slot each: one request at a time, and an open WebSocket holds up all others")


def test_a_full_worker_says_how_many_wait_and_when_nobody_does_any_more(start, runner) -> None:
    server = start("routed.py", *runner.with_slots(2))
    holders = [RawClient.upgrade(server) for _ in range(2)]
    waiting = [asking(server) for _ in range(3)]
    option = runner.options[0]
    line = server.wait_for_line(rf"warning: all 2 slots are taken, 3 clients wait; {option} 2 can be more")
    assert "--request-queue-timeout" in line.string
    leave(holders.pop())
    for client in waiting:
        assert read_answer(client).status == 200
        client.close()
    server.wait_for_line(r"info: no client waits for a slot any more, after \d+ s and at most 3 at a time")
    leave(holders.pop())
    assert len([line for line in server.lines if "slots are taken" in line]) == 1


def test_rules_and_files_are_answered_although_all_slots_are_taken(start, runner, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("a file")
    rules = ("--route", "^/health$ break:200", "--static-map", f"/files={tmp_path}")
    server = start("routed.py", *runner.with_slots(1), *rules)
    holder = RawClient.upgrade(server)
    waiting = asking(server)
    for _ in range(3):
        assert get(server, "/health").status == 200
        assert get(server, "/files/page.txt").body == b"a file"
    leave(holder)
    assert read_answer(waiting).status == 200, "whoever needs a slot waits for one"
    waiting.close()


@one_runner
@pytest.mark.parametrize(
    "rule",
    [("--static-map", "/files={}"), ("--route", "^/health$ redirect:/files"), ("--route", "^/health$ return:204")],
    ids=["a file alone", "a redirect alone", "a return alone"],
)
def test_each_kind_of_answer_without_a_slot_lets_connections_in(start, runner, tmp_path: Path, rule) -> None:
    (tmp_path / "health").write_text("fine")
    option, value = rule
    server = start("routed.py", *runner.with_slots(1), option, value.format(tmp_path))
    holder = RawClient.upgrade(server)
    assert get(server, "/files/health" if option == "--static-map" else "/health").status in (200, 204, 302)
    leave(holder)


@one_runner
def test_a_listener_that_only_sends_to_https_takes_no_slot(start, runner) -> None:
    listen = ("--http", "127.0.0.1:0", "--http-to-https", "127.0.0.1:0,8443")
    server = start("routed.py", *runner.with_slots(1), listen=listen)
    to_https = next(at for at in (0, 1) if get(server, "/page", listener=at).status == 301)
    holder = RawClient.upgrade(server, listener=1 - to_https)
    assert get(server, "/page", listener=to_https).header("Location") == "https://127.0.0.1:8443/page"
    leave(holder)


def test_who_waits_too_long_gets_503_and_the_next_one_the_slot_that_is_free_then(start, runner) -> None:
    server = start("routed.py", *runner.with_slots(1), "--request-queue-timeout", "0.3")
    holder = RawClient.upgrade(server)
    client = asking(server, "/first")
    answer = read_answer(client)
    assert (answer.status, answer.header("Retry-After")) == (503, "1")
    server.wait_for_line(r'"GET /first HTTP/1\.1" 503')
    with RawClient(server.connect()) as upgrading:
        upgrading.send_bytes(handshake_request(server.host_header))
        assert upgrading.read_response().status == 503
    # The same connection once more, and this time there is a slot before the time is over: what has given up must not
    # take it in the place of who still waits.
    client.send_bytes(request(server, "/second"))
    leave(holder)
    answer = read_answer(client)
    assert answer.status == 200 and b'"/second"' in answer.body
    client.send_bytes(request(server, "/third"))
    assert b'"/third"' in read_answer(client).body
    client.close()


@one_runner
def test_streams_of_http2_wait_no_longer_than_they_may(start, runner) -> None:
    server = start("routed.py", *runner.with_slots(1), "--request-queue-timeout", "0.3")
    holder = RawClient.upgrade(server)
    with Http2Client.connect(server) as client:
        streams = [client.request(f"/{number}") for number in range(3)]
        assert [stream.status for stream in streams] == [503] * 3
        leave(holder)
        assert client.request("/page").status == 200


def test_no_more_wait_than_the_queue_has_places(start, runner) -> None:
    server = start("routed.py", *runner.with_slots(1), "--request-queue-size", "1")
    holder = RawClient.upgrade(server)
    waiting = asking(server, "/waits")
    server.wait_for_line(r"the only slot is taken, 1 client waits")
    answer = get(server, "/one-too-many")
    assert (answer.status, answer.header("Retry-After")) == (503, "1")
    leave(holder)
    assert read_answer(waiting).status == 200
    waiting.close()


def test_a_full_worker_that_accepts_leaves_clients_to_one_with_a_free_slot(start, runner) -> None:
    server = start("routed.py", *runner.with_slots(1), "--processes", "2", "--route", "^/health$ break:200")
    holder = RawClient.upgrade(server)
    for _ in range(20):
        assert get(server, "/page").status == 200, "the other worker has a slot"
        assert get(server, "/health").status == 200
    second = RawClient.upgrade(server)
    assert get(server, "/health").status == 200, "no worker has one"
    leave(second)
    leave(holder)


@one_runner
def test_nobody_waits_where_nobody_may_and_a_free_slot_is_taken(start, runner) -> None:
    server = start("routed.py", *runner.with_slots(1), "--request-queue-size", "0")
    assert get(server, "/page").status == 200
    holder = RawClient.upgrade(server)
    for _ in range(3):
        assert get(server, "/page").status == 503
    leave(holder)
    server.wait_for_line(r"session: ")
    assert get(server, "/page").status == 200
