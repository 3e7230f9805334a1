"""The process, its siblings and the running request in the `uwsgi` module: compat §1.5.

A WebSocket that does what its client says stays in its worker, so a test knows who holds what. Nothing sleeps; where
statistics of another process are a second old, a test asks until they are there.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import get
from support.obedient import Obedient, one_in_each_worker
from support.raw_client import RawClient
from support.runners import Runner, every_read_path, every_runner
from support.server import APPS, TIMEOUT_S, Server

NO_REQUEST = "you can call uwsgi api function only from the main callable"
NONE = {"type": "NoneType", "value": "None"}
TRUE = {"type": "bool", "value": "True"}
FALSE = {"type": "bool", "value": "False"}


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("uwsgi_process.py", "--locks", "2", "--socket-timeout", "30")


@pytest.fixture
def ask(server: Server, token: str) -> Callable[..., dict[str, Any]]:
    """What the page of that name notes for a plain request."""

    def ask(name: str, query: str = "") -> dict[str, Any]:
        get(server, f"/{name}?{token}{'&' if query else ''}{query}")
        return server.note(token)

    return ask


@pytest.fixture
def narrow(start: Callable[..., Server], runner: Runner) -> Callable[..., Server]:
    """A server of its own with one slot per worker."""
    slots = runner.with_slots(1)
    return lambda *options: start("uwsgi_process.py", *slots, *options)


@pytest.fixture
def obedient(upgrade: Callable[..., RawClient]) -> Callable[[Server], Obedient]:
    return lambda server: Obedient(upgrade(server, "/orders"))


# -- outside a request


@pytest.mark.parametrize(
    "name",
    [
        "start_response", "request_id", "set_logvar", "get_logvar", "log_this_request", "add_var",
        "set_user_harakiri", "cl", "send",
    ],
)  # fmt: skip
def test_row_1_2_what_needs_a_request_raises_system_error_without_one(ask: Callable[..., Any], name: str) -> None:
    found = ask("at_import")[name]
    assert (found.get("raised"), found.get("text")) == ("SystemError", NO_REQUEST)


def test_row_1_5_the_rest_works_before_the_worker_serves(ask: Callable[..., Any]) -> None:
    found = ask("at_import")
    assert found["ready"] == NONE
    assert found["env"] is False
    assert found["workers"]["type"] == "tuple" and "'id': 1" in found["workers"]["value"]
    assert found["lock"] == found["unlock"] == NONE
    assert (found["locked"], found["unlocked"]) == (TRUE, FALSE)


# -- workers, total_requests, request_id


KINDS = {
    "id": "int", "pid": "int", "requests": "int", "delta_requests": "int", "signals": "int", "exceptions": "int",
    "status": "bytes", "rss": "int", "vsz": "int", "running_time": "int", "last_spawn": "int", "respawn_count": "int",
    "tx": "int", "avg_rt": "int", "apps": "tuple",
}  # fmt: skip


def test_row_1_5_workers_is_a_tuple_of_dicts_with_uwsgis_keys_and_types(ask: Callable[..., Any]) -> None:
    found = ask("workers")
    assert (found["kind"], found["apps"]) == ("tuple", "tuple")
    assert found["kinds"] == KINDS
    assert found["again"] and found["same_row"], "uWSGI gives the same objects each time"
    apps = {key: kind for key, (kind, _) in found["row"]["apps"].items()}
    assert apps == {
        "id": "int", "modifier1": "int", "mountpoint": "bytes", "startup_time": "int", "interpreter": "int",
        "callable": "int", "requests": "int", "exceptions": "int", "chdir": "bytes",
    }  # fmt: skip


def test_row_1_5_workers_has_all_of_them_from_the_first_request_on(start: Callable[..., Server]) -> None:
    server = start("uwsgi_process.py", "--processes", "3")
    get(server, "/workers?token")
    assert server.note("token")["apps_and_memory"] == [[1, True]] * 3


@every_runner
def test_row_1_5_workers_tells_the_truth(narrow: Callable[..., Server]) -> None:
    server = narrow()
    get(server, "/quiet")
    get(server, "/raises")
    get(server, "/workers?token")
    found = server.note("token")
    row = found["row"]
    assert (row["id"], row["pid"], row["status"]) == (1, found["pid"], "b'busy'")
    assert (row["requests"], row["delta_requests"], row["exceptions"], row["signals"]) == (2, 2, 1, 0)
    assert (row["respawn_count"], found["now"] - row["last_spawn"] < 60) == (1, True)
    assert row["rss"] > 2**20 and row["vsz"] >= row["rss"]
    assert 0 < row["avg_rt"] <= row["running_time"] < 60_000_000
    assert row["tx"] == len(".") + len("Internal Server Error\n")
    apps = {key: value for key, (_, value) in row["apps"].items()}
    assert (apps["requests"], apps["exceptions"]) == (2, 1)
    assert apps["mountpoint"] == "b''"
    assert apps["chdir"] == repr(found["folder"].encode())
    assert apps["callable"] == found["callable"]


def test_row_1_5_workers_knows_the_others(start: Callable[..., Server], obedient: Callable[[Server], Obedient]) -> None:
    server = start("uwsgi_process.py", "--processes", "2")
    first, second = one_in_each_worker(server, obedient)
    pids = [first.order("pid"), second.order("pid")]
    deadline = time.monotonic() + TIMEOUT_S
    while any(row[4] != b"busy" for row in first.order("statistics")):  # the other's statistics are up to a second old
        assert time.monotonic() < deadline
    for client in (first, second):
        rows = client.order("statistics")
        assert [row[:4] for row in rows] == [[1, pids[0], 0, 0], [2, pids[1], 0, 0]]
    second.client.close_in_order()
    while first.order("statistics")[1][2:4] != [1, 1]:
        assert time.monotonic() < deadline
    assert first.order("total_requests") == 1


def test_row_1_5_a_worker_that_is_started_again_goes_on_counting(
    narrow: Callable[..., Server], obedient: Callable[[Server], Obedient]
) -> None:
    server = narrow()
    for _ in range(3):
        get(server, "/quiet")
    since = server.mark()
    client = obedient(server)
    [before] = client.order("statistics")
    assert before[2:4] == [3, 3]
    os.kill(client.order("pid"), signal.SIGKILL)
    server.wait_for_line("worker 1 .* is ready", since)
    [after] = obedient(server).order("statistics")
    assert after[1] != before[1]
    assert (after[2:4], after[5]) == ([3, 0], 2)


@every_runner
def test_row_1_5_total_requests_and_request_id_count_what_was_served_before(narrow: Callable[..., Server]) -> None:
    server = narrow()
    for number in range(3):
        get(server, f"/counts?token{number}")
        assert server.note(f"token{number}") == {"total": number, "request": number}


@every_runner
def test_row_1_5_request_id_counts_each_core_by_itself(
    start: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = start("uwsgi_process.py")
    holder = Obedient(upgrade(server, "/orders"))
    for _ in range(5):
        get(server, "/quiet")
    assert (holder.order("request_id"), holder.order("total_requests")) == (0, 5)


@every_runner
def test_row_1_5_numbers_of_the_request_and_the_process(
    server: Server, token: str, runner: Runner, ask: Callable[..., Any]
) -> None:
    get(server, f"/numbers?{token}", method="POST", body=b"twelve bytes")
    found = server.note(token)
    assert found["cl"] == {"type": "int", "value": "12"}
    assert abs(found["micros"] / 1_000_000 - found["now"]) < 5
    rss, vsz = found["mem"]
    assert 2**20 < rss <= vsz
    assert found["ready"] == TRUE
    # `env` is there with one thread only, and is the request's own environ.
    assert found["env"] is found["has_env"] is ("--threads" not in runner.options)
    assert found["other"]["text"] == "module 'uwsgi' has no attribute 'no_such_name'"


def test_row_1_5_logsize_is_the_size_of_the_log_file(
    server: Server, runner: Runner, token: str, tmp_path: Path, ask: Callable[..., Any]
) -> None:
    assert ask("numbers")["logsize"] == 0, "the log of this server is a pipe"
    log = tmp_path / "log"
    with Server.launch(
        "--wsgi-file", str(APPS / "uwsgi_process.py"), "--pythonpath", str(APPS), *runner.options, "--logto", str(log),
        "--http-socket", str(tmp_path / "socket"),
    ) as logging:  # fmt: skip
        deadline = time.monotonic() + TIMEOUT_S
        while "serving" not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() < deadline
        logging.addresses.append(str(tmp_path / "socket"))
        with RawClient(logging.connect()) as client:
            client.send_bytes(f"POST /numbers?{token} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
            assert client.read_response().status == 200
        noted = re.search(rf'note:{token} .*"logsize": (\d+)', log.read_text())
        assert noted and 0 < int(noted[1]) <= log.stat().st_size


def test_row_1_5_start_response_belongs_to_the_running_request(server: Server) -> None:
    answer = get(server, "/uses_start_response")
    assert (answer.status, answer.body) == (201, b"written")
    assert answer.header("X-By") == "uwsgi.start_response"


# -- listen_queue


def test_row_1_5_listen_queue_takes_the_number_of_a_listener(serve: Callable[..., Server], token: str) -> None:
    server = serve("uwsgi_process.py", listen=("--http", "127.0.0.1:0", "--http-socket", "127.0.0.1:0"))
    get(server, f"/listen_queue?{token}")
    found = server.note(token)
    assert found["first"] == found["zero"] == found["last"] == {"type": "int", "value": "0"}
    assert (found["beyond"]["raised"], found["beyond"]["text"]) == ("ValueError", "unable to find socket 7")
    assert (found["negative"]["raised"], found["negative"]["text"]) == ("ValueError", "unable to find socket -1")
    assert found["text"]["raised"] == "TypeError"


@every_read_path
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_row_1_5_listen_queue_counts_the_connections_that_wait(
    start: Callable[..., Server], runner: Runner, tmp_path: Path, upgrade: Callable[..., RawClient], kind: str
) -> None:
    slots = runner.with_slots(1)
    address = "127.0.0.1:0" if kind == "tcp" else str(tmp_path / "socket")
    # The TCP listener comes first in both: it is the one that tells its port.
    listen = ("--http-socket", "127.0.0.1:0", "--http-socket", address)
    server = start("uwsgi_process.py", *slots, listen=listen)
    client = Obedient(upgrade(server, "/orders"))
    waiting: list[socket.socket] = []
    try:
        # The front takes in a few while it has room for more than tasks run; what it leaves is the queue.
        deadline = time.monotonic() + TIMEOUT_S
        while client.order("listen_queue 1") < 3:
            assert time.monotonic() < deadline
            if len(waiting) < 40:
                waiting.append(server.connect(1))
        assert client.order("listen_queue 0") == 0
        before = client.order("listen_queue 1")
        waiting.append(server.connect(1))
        assert client.order("listen_queue 1") == before + 1
    finally:
        for connection in waiting:
            connection.close()


# -- the log


def test_row_1_5_logvars_stand_in_the_requests_line_of_the_log(server: Server, token: str) -> None:
    since = server.mark()
    get(server, f"/logvars?{token}")
    found = server.note(token)
    assert found["before"] == NONE and found["set"] == found["bytes"] == NONE
    assert found["get"] == {"type": "bytes", "value": repr(b'jo"e\n')}
    assert found["get_bytes"] == {"type": "bytes", "value": repr("é".encode())}
    for name in ("none", "number", "get_none", "one"):
        assert found[name]["raised"] == "TypeError", name
    line = server.wait_for_line(rf'request: .*"GET /logvars\?{token} ', since).string
    assert line.endswith(' ms, user="jo\\"e\\n", step="\\xe9"')


def test_row_1_5_logvars_stand_in_a_websockets_line_and_not_in_the_next_ones(
    server: Server, upgrade: Callable[..., RawClient], token: str
) -> None:
    since = server.mark()
    upgrade(server, f"/logvars?{token}").close_in_order()
    assert server.wait_for_line(rf"session: .*{token}", since).string.endswith('", step="\\xe9"')
    get(server, f"/quiet?{token}-next")
    assert server.wait_for_line(rf"request: .*{token}-next", since).string.endswith(" ms")


def test_row_1_5_log_this_request_logs_although_requests_are_not_logged(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    server = serve("uwsgi_process.py", "--disable-logging", "--disable-session-logging")
    get(server, f"/quiet?{token}-first")
    get(server, f"/logs_itself?{token}")
    assert server.note(token)["result"] == NONE
    server.wait_for_line(rf'request: .*"GET /logs_itself\?{token} HTTP/1.1" 200, 1 bytes in ')
    upgrade(server, f"/logs_itself?{token}-ws").close_in_order()
    server.wait_for_line(rf"session: .*{token}-ws")
    assert not [line for line in server.lines if "/quiet" in line]


def test_row_1_2_log_takes_str_without_nul_only(ask: Callable[..., Any], server: Server, token: str) -> None:
    found = ask("log_texts")
    assert (found["nul"]["raised"], found["nul"]["text"]) == ("ValueError", "embedded null character")
    assert (found["none"]["raised"], found["none"]["text"]) == (
        "TypeError", "log() argument 1 must be str, not NoneType",
    )  # fmt: skip
    assert found["nothing"]["raised"] == found["keyword"]["raised"] == "TypeError"
    assert found["surrogate"]["raised"] == "UnicodeEncodeError"
    assert found["warning"] == TRUE
    server.wait_for_line(rf"warning: the application warns: disk nearly full {token}")
    assert found["warning_bytes"]["raised"] == "TypeError"


# -- the process


@pytest.mark.parametrize("name", ["short", "a-name-that-is-longer-than-fifteen-bytes", "x" * 5000])
def test_row_1_5_setprocname_renames_the_process(narrow: Callable[..., Server], token: str, name: str) -> None:
    server = narrow()
    get(server, f"/setprocname?{token}&{name}")
    found = server.note(token)
    assert found["result"] == NONE
    assert found["bytes"]["text"] == "setprocname() argument 1 must be str, not bytes"
    assert found["nul"]["raised"] == "ValueError"
    assert Path(f"/proc/{found['pid']}/comm").read_text().strip() == name[:15]
    shown = Path(f"/proc/{found['pid']}/cmdline").read_bytes().rstrip(b"\0").decode()
    assert name.startswith(shown) and len(shown) >= min(len(name), 20)


def test_row_1_5_accepting_takes_a_flag_and_returns_none(ask: Callable[..., Any]) -> None:
    found = ask("accepting")
    assert found["results"] == [NONE, NONE, NONE]
    assert found["text"]["raised"] == "TypeError"


def test_row_1_5_add_var_keeps_what_fits_the_buffer(ask: Callable[..., Any]) -> None:
    found = ask("add_var")
    assert found["result"] == found["bytes"] == found["again"] == TRUE
    for name in ("beyond", "empty"):
        assert found[name]["raised"] == "ValueError"
        assert found[name]["text"] == "unable to add request var, check your buffer size"
    assert found["none"]["raised"] == "TypeError"
    assert found["in_environ"] is False


def test_row_1_5_mode_and_pidfile_are_bytes_once_configured(
    start: Callable[..., Server], ask: Callable[..., Any], tmp_path: Path
) -> None:
    found = ask("configuration")
    assert found["mode"]["raised"] == found["pidfile"]["raised"] == "AttributeError"
    server = start("uwsgi_process.py", "--mode", "testing", "--pidfile", str(tmp_path / "pid"))
    get(server, "/configuration?token")
    found = server.note("token")
    assert found["mode"] == {"type": "bytes", "value": "b'testing'"}
    assert found["pidfile"] == {"type": "bytes", "value": repr(str(tmp_path / "pid").encode())}


def test_row_1_5_magic_table_and_opt_tell_the_configuration(start: Callable[..., Server], tmp_path: Path) -> None:
    file = tmp_path / "site.ini"
    file.write_text("[uwsgi]\nmode = from-%n\nenv = A=1\nenv = B=2\nmanage-script-name\nown-word = 7\n")
    server = start("uwsgi_process.py", "--ini", str(file))
    get(server, "/configuration?token")
    found = server.note("token")
    assert found["mode"]["value"] == "b'from-site'"
    magic = found["magic"]
    assert (magic["b'n'"], magic["b's'"], magic["b'p'"]) == ("b'site'", "b'site.ini'", repr(str(file).encode()))
    assert magic["b'h'"] == repr(socket.gethostname().encode())
    assert all(re.fullmatch(r"b'.{1,4}'", key) for key in magic)
    opt = found["opt"]
    assert (opt["env"], opt["manage-script-name"], opt["own-word"]) == ("[b'A=1', b'B=2']", "True", "b'7'")


@pytest.mark.parametrize("names", ["route", "parsefile,extract,embedded_data", "async_id,chunked"])
def test_row_1_5_what_cannot_be_done_is_absent(server: Server, token: str, names: str) -> None:
    get(server, f"/absent?{token}&{names}")
    assert server.note(token)["present"] == []


# -- harakiri


def test_row_1_5_set_user_harakiri_takes_whole_seconds(ask: Callable[..., Any]) -> None:
    found = ask("user_harakiri")
    assert found["result"] == found["again"] == NONE
    assert found["float"]["raised"] == found["none"]["raised"] == "TypeError"


@every_runner
@pytest.mark.parametrize(
    ("page", "options", "why"),
    [
        ("hangs?{}&1", (), r"GET /hangs\S* takes too long; worker 1 \(pid \d+\) is killed"),
        ("hangs?{}", ("--harakiri", "1"), r"GET /hangs\S* takes too long; worker 1 \(pid \d+\) is killed"),
        ("hangs_with_the_interpreter?{}", (), r"worker 1 \(pid \d+\) hangs: .* it does not answer; it is killed"),
    ],
    ids=["user", "option", "interpreter"],
)
def test_row_1_5_and_2_4_harakiri_kills_the_worker_and_another_comes(
    start: Callable[..., Server], token: str, page: str, options: tuple[str, ...], why: str
) -> None:
    server = start("uwsgi_process.py", *options)
    since = server.mark()
    with RawClient(server.connect()) as client:
        client.send_bytes(f"GET /{page.format(token)} HTTP/1.1\r\nHost: {server.host_header}\r\n\r\n".encode())
        assert client.read_rest() == b""
    server.wait_for_line(why.replace("GET ", ".*"), since)
    server.wait_for_line(rf"worker 1 \(pid {server.note(token)['pid']}\) was killed by signal 9", since)
    server.wait_for_line(r"worker 1 \(pid \d+\) is ready", since)
    assert get(server, "/quiet").body == b"."


@every_runner
def test_row_2_4_harakiri_does_not_count_for_an_open_websocket_but_the_apps_own_does(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], runner: Runner, token: str
) -> None:
    server = start("uwsgi_process.py", "--harakiri", "1", "--websockets-close-timeout", "1")
    since = server.mark()
    long = Obedient(upgrade(server, "/orders"))
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        assert long.order("pid")
    upgrade(server, f"/hangs_on_a_websocket?{token}").read_rest()
    # A thread that waits cannot be ended alone; other tasks can.
    what = "takes too long; worker 1" if runner.name == "threads" else "took too long and was ended"
    server.wait_for_line(rf"harakiri: .*/hangs_on_a_websocket\S* {what}", since)
