"""An app that fails costs its own connection and nothing else, whatever it raises; a bad start is told in one sentence.

Each failure is repeated more often than the worker has slots: a task that takes its slot along shows at once.
"""

from __future__ import annotations

import re

import pytest
from faults.machine import APPS, BEHAVIOURS, books, echo, get, wait_until
from support.raw_client import RawClient, handshake_request
from support.runners import every_read_path, every_runner, one_runner
from support.server import Server

pytestmark = every_runner

SLOTS = 3
REPEATS = 8


@pytest.fixture
def server(runner, start):
    return start(BEHAVIOURS, *runner.with_slots(SLOTS))


def closed_with(client: RawClient, code: int) -> None:
    assert client.read_close()[0] == code
    client.send_close(code)
    client.close()


def nobody_is_left(server: Server) -> None:
    wait_until(lambda: books(server)["live"] == 0, "all tasks end")


def test_an_exception_after_the_handshake_closes_with_1011(server, upgrade):
    for _ in range(REPEATS):
        closed_with(upgrade(server, "/raise_after_handshake"), 1011)
    line = server.wait_for_line(r"/raise_after_handshake.* the application raised ValueError: after the handshake")
    assert "127.0.0.1" in line.string
    server.wait_for_line(r"^\tValueError: after the handshake")
    nobody_is_left(server)
    echo(upgrade(server, "/echo"))


def test_an_exception_on_a_message_leaves_the_other_connections_alone(server, upgrade):
    bystander = upgrade(server, "/echo")
    for _ in range(REPEATS):
        client = upgrade(server, "/raise_on_message")
        client.send_text("go")
        closed_with(client, 1011)
        echo(bystander)
    bystander.close_in_order()
    nobody_is_left(server)


def test_tcp_ends_at_once_when_the_peer_answers_our_close(server, upgrade):
    # RFC 6455 §7.1.1: the server ends the connection first, as soon as both Close frames are there.
    client = upgrade(server, "/raise_after_handshake")
    client.socket.settimeout(2.5)  # half of --websockets-close-timeout, which is for peers that do not answer
    assert client.read_close()[0] == 1011
    client.send_close(1011)
    client.read_end()


@pytest.mark.parametrize("path", ["/raise_at_once", "/wrong_result", "/no_start"])
def test_a_failure_before_any_response_is_a_500_and_the_log_says_why(server, path):
    for _ in range(REPEATS):
        status, body = get(server, path)
        assert status == 500, body
        assert b"Traceback" not in body, "a stranger must not see the code"
    assert "127.0.0.1" in server.wait_for_line(rf"{path}.* the application (raised|returned) ").string
    nobody_is_left(server)


def test_a_failure_in_the_body_cuts_the_connection_so_that_the_client_notices(server):
    for _ in range(REPEATS):
        with RawClient(server.connect()) as client:
            client.send_bytes(f"GET /raise_in_the_body HTTP/1.1\r\nHost: {server.host_header}\r\n\r\n".encode())
            assert client.read_response().status == 200
            assert client.read_rest() in (b"", b"12345")
    nobody_is_left(server)


def test_a_failure_in_close_is_logged_and_the_response_stands(server):
    for _ in range(REPEATS):
        assert get(server, "/raise_in_close") == (200, b"ok")
    server.wait_for_line(r"ValueError: in close")
    nobody_is_left(server)


@pytest.mark.parametrize("path", ["/system_exit", "/greenlet_exit", "/keyboard_interrupt"])
def test_an_exit_raised_by_the_app_ends_its_own_task_only(server, runner, upgrade, path):
    pid = server.worker_pids()
    for _ in range(REPEATS):
        client = upgrade(server, path)
        client.send_text("go")
        closed_with(client, 1001 if path == "/greenlet_exit" and runner.name != "threads" else 1011)
    assert server.worker_pids() == pid, "the worker itself must stay"
    nobody_is_left(server)
    echo(upgrade(server, "/echo"))


def test_an_exit_before_any_response_gets_an_answer(server):
    for _ in range(REPEATS):
        status, _ = get(server, "/system_exit_plain")
        assert status == 500
    nobody_is_left(server)


def test_an_exception_that_is_no_exception_is_a_failure_and_no_stop(server, upgrade):
    for _ in range(REPEATS):
        client = upgrade(server, "/own_base")
        client.send_text("go")
        closed_with(client, 1011)
        status, body = get(server, "/own_base_plain")
        assert (status, body) == (500, b"Internal Server Error\n")
    for path in ("/own_base", "/own_base_plain"):
        server.wait_for_line(rf"{path}: the application raised OwnBase: not an Exception")
    server.wait_for_lines(r"^\s*\S*OwnBase: not an Exception", 2 * REPEATS)
    nobody_is_left(server)
    echo(upgrade(server, "/echo"))


def test_an_exception_without_a_text_takes_no_slot_along(server, upgrade):
    for _ in range(REPEATS):
        client = upgrade(server, "/unprintable")
        client.send_text("go")
        closed_with(client, 1011)
    server.wait_for_lines(r"/unprintable: the application raised Unprintable", REPEATS)
    nobody_is_left(server)
    echo(upgrade(server, "/echo"))


def test_endless_recursion_is_an_exception_like_any_other(server, upgrade):
    for _ in range(REPEATS):
        client = upgrade(server, "/recursion")
        client.send_text("go")
        closed_with(client, 1011)
    server.wait_for_line(r"the application raised RecursionError")
    nobody_is_left(server)
    echo(upgrade(server, "/echo"))


@one_runner
def test_an_application_that_closes_the_servers_descriptors_is_told_so_in_one_line(start):
    server = start(APPS / "closes.py")
    (worker,) = server.worker_pids()
    with server.connect() as client:
        client.sendall(b"GET /close HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for_line(rf"^\[{worker}\] error: descriptors of the server have been closed in this process")
        server.wait_for_line(r"worker 1 \(pid \d+\) is ready")
    of_the_worker = server.lines[server.lines.index("closing") + 1 :]
    assert not any(word in line for line in of_the_worker for word in ("panicked", "Traceback", "master is gone"))


def test_uwsgi_without_its_import_gets_a_hint(server):
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, "/no_import"))
        assert client.read_response().status == 500
    server.wait_for_line(r"/no_import.*NameError.*add `import uwsgi` at the top of the file")


def test_a_send_to_a_peer_that_left_is_no_error_of_the_app(server, upgrade):
    upgrade(server, "/raise_in_send").close_in_order()
    wait_until(lambda: books(server)["live"] == 0, "the task ends")
    assert not [line for line in server.lines if "raised" in line]


@pytest.mark.parametrize("how", ["", "group", "oserror", "ping", "join"])
def test_the_end_of_a_connection_that_an_application_lets_pass_is_no_failure(server, upgrade, how):
    since = server.mark()
    for leave in (RawClient.close_in_order, RawClient.abort):
        leave(upgrade(server, f"/empties_a_mailbox?{how}"))
    server.wait_for_lines(r'session: 127\.0\.0\.1:\d+ "/empties_a_mailbox', 2, since)
    assert not [line for line in server.lines if "raised" in line or "Traceback" in line]


def test_the_end_of_another_client_that_an_application_lets_pass_is_one_line(server, upgrade):
    gone, client = upgrade(server, "/tells_all"), upgrade(server, "/tells_all")
    gone.close_in_order()
    client.send_text("who is there?")
    closed_with(client, 1011)
    assert get(server, "/tells_all")[0] == 500
    because = "because the application let the end of another client's WebSocket pass"
    server.wait_for_line(rf"error: 127\.0\.0\.1:\d+ /tells_all: closed with 1011, {because}")
    server.wait_for_line(rf"error: 127\.0\.0\.1:\d+ /tells_all: answered with 500, {because}")
    assert not [line for line in server.lines if "Traceback" in line]


def test_a_client_that_takes_nothing_of_a_response_is_no_failure(runner, start):
    server = start(BEHAVIOURS, *runner.with_slots(SLOTS), "--http-timeout", "1", "--socket-timeout", "1")
    clients = [RawClient(server.connect()) for _ in range(SLOTS)]
    for client in clients:
        client.send_bytes(f"GET /takes_and_gives HTTP/1.1\r\nHost: {server.host_header}\r\n\r\n".encode())
    nobody_is_left(server)
    for client in clients:
        client.close()
    assert not [line for line in server.lines if "raised" in line or "Traceback" in line]


@every_read_path
def test_handshakes_followed_by_a_reset_are_a_line_and_a_count(server, upgrade):
    for _ in range(20):
        since = server.mark()
        client = RawClient(server.connect())
        client.send_bytes(handshake_request(server.host_header, "/late_echo"))
        server.wait_for_line("late_echo: begun", since)
        client.abort()
    server.wait_for_line(r"127\.0\.0\.1:\d+ /late_echo: the client left before it was answered")
    for _ in range(200):  # of whom most never come to the application
        client = RawClient(server.connect())
        client.send_bytes(handshake_request(server.host_header, "/echo"))
        client.abort()
    nobody_is_left(server)
    echo(upgrade(server, "/echo"))
    server.stop()
    told = [line for line in server.lines if re.search(r"left before (it was|they were) answered", line)]
    assert 1 <= len(told) <= 3, told
    assert not [line for line in server.lines if "Traceback" in line or "raised" in line]


BAD_STARTS = {
    "a raise at import": ("raise ValueError('the database is not there')", r"ValueError: the database is not there"),
    "a missing import": ("import no_such_module_at_all", r"no_such_module_at_all"),
    "an exit at import": ("import sys; sys.exit(7)", r"exit|SystemExit"),
    "no callable": ("app = 1", r"'?application'?"),
    "a callable that is none": ("application = 3", r"application"),
    "a syntax error": ("def application(:", r"syntax|line 1"),
    "uwsgi without its import": ("uwsgi.opt", r"add `import uwsgi`"),
}


@one_runner
@pytest.mark.parametrize("name", BAD_STARTS)
def test_an_app_that_cannot_be_loaded_is_told_in_one_sentence_with_status_2(tmp_path, runner, name):
    text, expected = BAD_STARTS[name]
    app = tmp_path / "app.py"
    app.write_text(text + "\n")
    server = Server.launch("--http", "127.0.0.1:0", "--wsgi-file", str(app), *runner.options)
    assert server.wait_for_end() == 2, "\n".join(server.lines)
    last = server.lines[-1]
    assert last.startswith("fairlead: ") and last.endswith("."), "\n".join(server.lines)
    assert re.search(expected, last), last
    assert str(app) in last or "app.py" in last, last


NOT_CALLABLE = {
    "async def application(environ, start_response): return []": (
        "the application is async def; start Fairlead with --asyncio N."
    ),
    "async def application(scope, receive, send): ...": (
        "the application is an ASGI application, and Fairlead calls WSGI's, application(environ, start_response); give "
        "the WSGI application of your framework (Django: get_wsgi_application()), or serve it by an ASGI server."
    ),
}


@pytest.mark.parametrize("text", NOT_CALLABLE)
def test_an_application_that_nobody_could_call_is_told_at_the_start(runner, tmp_path, text):
    app = tmp_path / "app.py"
    app.write_text(f"{text}\n")
    server = Server.launch("--http", "127.0.0.1:0", "--wsgi-file", str(app), *runner.options)
    if "environ" in text and "--asyncio" in runner.options:
        server.wait_until_ready()
        server.stop()
        return
    assert server.wait_for_end() == 2, "\n".join(server.lines)
    assert server.lines[-1] == f"fairlead: {NOT_CALLABLE[text]}"


def test_an_application_below_a_mount_is_named_by_it(runner, tmp_path):
    app = tmp_path / "app.py"
    app.write_text("import uwsgi\n\nasync def one(scope, receive, send): ...\n\nuwsgi.applications = {'/one': one}\n")
    server = Server.launch("--http", "127.0.0.1:0", "--wsgi-file", str(app), *runner.options)
    assert server.wait_for_end() == 2, "\n".join(server.lines)
    assert server.lines[-1].startswith("fairlead: the application at /one is an ASGI application, ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--wsgi-file", "/nowhere/app.py"), r"/nowhere/app\.py"),
        (("--module", "no_such_module_at_all"), r"no_such_module_at_all"),
        (("--wsgi-file", str(BEHAVIOURS), "--websockets-ping-frequency", "3"), r"websockets-ping-freq\b"),
        (("--wsgi-file", str(BEHAVIOURS), "--threads", "many"), r"--threads.*many"),
        (("--wsgi-file", str(BEHAVIOURS), "--callable", "nothing"), r"nothing"),
    ],
)
def test_a_bad_option_is_told_in_one_sentence_with_status_2(options, expected):
    server = Server.launch("--http", "127.0.0.1:0", *options)
    assert server.wait_for_end() == 2, "\n".join(server.lines)
    assert re.search(expected, server.lines[-1]), server.lines[-1]
    assert server.lines[-1].startswith("fairlead: ")
