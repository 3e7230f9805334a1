"""The `uwsgi` module, row by row of compat §1.1, §1.2, §1.4 and §1.5: names, types, texts.

Texts are compared literally, as apps may; `errno` of every OSError is None. Descriptors of the app's own are in
test_descriptor_rows.py; locks, the other workers, the log and the process in test_process_rows.py.
"""

from __future__ import annotations

import itertools
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import get
from support.raw_client import CONTINUATION, TEXT, Frame, RawClient, fragments, frame
from support.runners import Runner, every_read_path, every_runner
from support.server import TIMEOUT_S, Server

NO_REQUEST = "you can call uwsgi api function only from the main callable"


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("uwsgi_rows.py")


@pytest.fixture
def ask(server: Server, token: str) -> Callable[..., dict[str, Any]]:
    """What the page of that name notes for a plain request."""

    def ask(name: str, query: str = "") -> dict[str, Any]:
        get(server, f"/{name}?{token}{'&' if query else ''}{query}")
        return server.note(token)

    return ask


@pytest.fixture
def open_page(server: Server, upgrade: Callable[..., RawClient], token: str) -> Callable[..., RawClient]:
    return lambda name, **how: upgrade(server, f"/{name}?{token}", **how)


def test_row_1_1_the_module_is_a_real_one_and_registered_before_any_user_code(
    ask: Callable[..., Any],
) -> None:
    found = ask("at_import")
    assert found["is_module"] == "module"
    assert found["registered"] is True
    assert found["worker_id"] == 1


def test_row_1_1_apps_may_set_attributes(ask: Callable[..., Any]) -> None:
    assert ask("at_import")["kept"] == "kept"


def test_row_1_1_the_module_cannot_be_imported_outside_the_server() -> None:
    with pytest.raises(ImportError):
        __import__("uwsgi")


def test_row_1_1_the_module_is_there_for_what_is_imported_before_the_app(
    start: Callable[..., Server], tmp_path: Any
) -> None:
    (tmp_path / "early.py").write_text(
        "import os, uwsgi\n"
        "names = ('websocket_handshake', 'request_context')\n"
        "os.write(2, f'early: {[hasattr(uwsgi, name) for name in names]}\\n'.encode())\n"
    )
    server = start("uwsgi_rows.py", "--pythonpath", str(tmp_path), "--import", "early")
    server.wait_for_line(r"^early: \[True, True\]$")


@every_runner
@pytest.mark.parametrize("call", ["recv", "send", "handshake", "context", "fd", "disconnect"])
def test_row_1_2_without_a_current_request_calls_raise_system_error(ask: Callable[..., Any], call: str) -> None:
    found = ask("at_import")[call]
    assert (found.get("raised"), found.get("text")) == ("SystemError", NO_REQUEST)


def test_row_1_1_post_fork_hook_is_called_in_the_worker(server: Server) -> None:
    server.wait_for_line("^hook: post_fork_hook$")


@every_runner
def test_row_1_1_after_req_hook_is_called_after_each_request(server: Server, ask: Callable[..., Any]) -> None:
    since = server.mark()
    ask("at_import")
    server.wait_for_line("^hook: after_req_hook$", since)


@every_runner
def test_row_1_1_atexit_is_called_when_a_worker_ends(start: Callable[..., Server]) -> None:
    server = start("uwsgi_rows.py")
    server.stop()
    assert "hook: atexit" in server.lines


HOOKS = """
import os
import sys
import uwsgi

def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/late":
        uwsgi.after_req_hook = lambda: os.write(2, b"hook: set late\\n")
    return [b"served"]

def fail(name):
    def hook():
        raise {error}
    return hook

uwsgi.post_fork_hook = fail("post_fork_hook")
uwsgi.after_req_hook = fail("after_req_hook")
uwsgi.atexit = fail("atexit")
"""


@every_runner
@pytest.mark.parametrize("error", ["ZeroDivisionError(name)", "SystemExit(name)", "KeyboardInterrupt(name)"])
def test_row_1_1_a_hook_that_raises_is_logged_and_the_worker_goes_on(
    start: Callable[..., Server], runner: Runner, tmp_path: Any, error: str
) -> None:
    app = tmp_path / "hooks.py"
    app.write_text(HOOKS.format(error=error))
    # One slot: it has to come back each time.
    slots = runner.with_slots(1)
    server = start(str(app), *slots)
    for _ in range(3):
        assert get(server, "/").body == b"served"
    server.stop()
    log = "\n".join(server.lines)
    kind = error.partition("(")[0]
    assert log.count(f"uwsgi.post_fork_hook raised {kind}: post_fork_hook\n\tTraceback") == 1
    assert log.count(f"the after_req_hook raised {kind}: after_req_hook\n\tTraceback") == 3
    assert log.count(f"uwsgi.atexit raised {kind}: atexit\n\tTraceback") == 1
    assert server.process.returncode == 0


def test_row_1_1_a_hook_may_be_set_while_the_worker_serves(start: Callable[..., Server], tmp_path: Any) -> None:
    app = tmp_path / "hooks.py"
    app.write_text(HOOKS.format(error="ValueError(name)"))
    server = start(str(app))
    get(server, "/late")
    get(server, "/")
    server.wait_for_line("^hook: set late$")


def test_row_1_1_applications_that_are_no_dict_are_left_alone(start: Callable[..., Server], tmp_path: Any) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "import uwsgi\n"
        "uwsgi.applications = ['of the app itself']\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [uwsgi.applications[0].encode()]\n"
    )
    assert get(start(str(app)), "/").body == b"of the app itself"


def test_row_1_1_applications_by_mount_point_are_used(start: Callable[..., Server], tmp_path: Any) -> None:
    app = tmp_path / "mounted.py"
    app.write_text(
        "import uwsgi\n"
        "def make(text):\n"
        "    def application(environ, start_response):\n"
        "        start_response('200 OK', [])\n"
        "        return [text]\n"
        "    return application\n"
        "uwsgi.applications = {'/one': make(b'one'), '': make(b'root')}\n"
    )
    server = start(str(app))
    assert get(server, "/one/deeper").body == b"one"
    assert get(server, "/other").body == b"root"


# -- §1.4


@every_runner
def test_row_1_4_connection_fd_is_a_connected_writable_socket(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    open_page("fd")
    found = server.note(token)
    assert found["type"] == "int"
    assert found["same"] and found["is_socket"] and found["writable"]
    assert found["readable"] is False
    assert found["connected"] == {"type": "bool", "value": "True"}
    assert found["bad"] == {"type": "bool", "value": "False"}
    assert found["none"]["raised"] == "TypeError"


def test_row_1_4_connection_fd_has_no_pending_error(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    open_page("raw_socket_option")
    assert server.note(token) == {"error": 0}


@every_runner
def test_row_1_4_two_frames_in_one_segment_keep_the_fd_readable_until_both_are_read(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    """compat §9, row 5."""
    client = open_page("fd_in_turn")
    assert client.read_data() == Frame(TEXT, b"go")
    client.send_bytes(frame(TEXT, b"one") + frame(TEXT, b"two"))
    assert client.read_data() == Frame(TEXT, b"close now")
    client.close_in_order()
    recv = "unable to receive websocket message"
    assert server.note(token)["steps"] == [False, True, "one", True, "two", False, "", True, recv, True]


@every_runner
def test_row_1_4_frames_behind_the_handshake_make_the_fd_readable(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    """compat §9, row 5."""
    client = open_page("fd_in_turn", behind=frame(TEXT, b"one") + frame(TEXT, b"two"))
    assert client.read_data() == Frame(TEXT, b"go")
    assert client.read_data() == Frame(TEXT, b"close now")
    client.close_in_order()
    assert server.note(token)["steps"][1:6] == [True, "one", True, "two", False]


@every_runner
def test_row_1_4_half_a_message_does_not_make_the_fd_readable(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    client = open_page("fd_fragments")
    assert client.read_data() == Frame(TEXT, b"half, please")
    client.send_bytes(b"".join(fragments(TEXT, [b"a", b"b"])) + frame(TEXT, b"half of the second", fin=False))
    assert server.note(token) == {"first": "ab", "readable": False}
    client.send(CONTINUATION, b"")


@every_runner
@pytest.mark.parametrize("how", [RawClient.close, RawClient.abort, RawClient.send_close])
def test_row_1_4_the_end_of_the_connection_makes_the_fd_readable(
    server: Server, open_page: Callable[..., RawClient], token: str, how: Callable[[RawClient], None]
) -> None:
    client = open_page("fd_eof")
    assert client.read_data() == Frame(TEXT, b"go")
    how(client)
    found = server.note(token)
    assert found["readable"] is True
    assert found["recv_nb"]["text"] == "unable to receive websocket message"


@every_runner
def test_row_1_4_disconnect_cuts_without_a_close_and_the_callable_runs_on(
    server: Server, open_page: Callable[..., RawClient], token: str
) -> None:
    """compat §9, row 7."""
    client = open_page("disconnects")
    client.send_text("go")
    assert client.read_rest() == b""
    found = server.note(token)
    assert found["disconnect"] == {"type": "NoneType", "value": "None"}
    assert found["recv"]["text"] == found["recv_nb"]["text"] == "unable to receive websocket message"
    assert found["send"]["text"] == "unable to send websocket message"
    assert found["recv"]["errno"] is found["send"]["errno"] is None
    assert "raised" not in found["again"]


def test_row_1_4_disconnect_of_a_plain_request_cuts_it(server: Server, token: str) -> None:
    with pytest.raises((EOFError, ConnectionResetError)):
        get(server, f"/disconnects_http?{token}")
    assert "raised" not in server.note(token)["disconnect"]


# -- §1.5


@pytest.fixture
def information(ask: Callable[..., Any]) -> dict[str, Any]:
    return ask("information")


TYPES = {
    "version": "bytes",
    "version_info": "tuple",
    "hostname": "bytes",
    "opt": "dict",
    "numproc": "int",
    "cores": "int",
    "has_threads": "int",
    "buffer_size": "int",
    "started_on": "int",
    "sockets": "list",
    "magic_table": "dict",
    "applications": "NoneType",
    "unbit": "NoneType",
    "is_a_reload": "bool",
    "worker_id": "int",
    "mule_id": "int",
    "masterpid": "int",
    "request_id": "int",
    "total_requests": "int",
    "logsize": "int",
    "micros": "int",
    "cl": "int",
    "mem": "tuple",
    "log": "bool",
}


@pytest.mark.parametrize("name", TYPES)
def test_row_1_5_each_name_has_its_type(information: dict[str, Any], name: str) -> None:
    assert information[name].get("type") == TYPES[name], information[name]


@every_runner
def test_row_1_5_values_tell_the_truth(information: dict[str, Any], server: Server, runner: Runner) -> None:
    value = {name: found.get("value") for name, found in information.items() if isinstance(found, dict)}
    assert value["version"].startswith("b'2.")
    assert value["hostname"] == repr(platform.node().encode())
    assert (value["numproc"], value["cores"]) == ("1", "200")
    assert value["masterpid"] == str(server.process.pid) == str(information["ppid"])
    assert (value["worker_id"], value["mule_id"]) == ("1", "0")
    assert (value["SPOOL_OK"], value["SPOOL_RETRY"], value["SPOOL_IGNORE"]) == ("-2", "-1", "0")
    assert value["is_a_reload"] == "False"
    # None is uWSGI's own loop, with --async too.
    assert value["loop"] == (repr(runner.name.encode()) if runner.name in ("gevent", "asyncio") else "None")
    assert value["log"] == "True"
    assert information["core"].isdigit()
    assert value["has_threads"] == str(int("--threads" in runner.options))
    assert value["buffer_size"] == "32768"
    assert 0 <= time.time() - int(value["started_on"]) < 1500
    assert re.fullmatch(r"\[\d+\]", value["sockets"]), "one listener"
    assert {"http", "wsgi-file"} <= set(information["opt_keys"])
    assert "b'127.0.0.1:0'" in value["opt"]
    assert ("'greenlet': True" in value["opt"]) == ("--greenlet" in runner.options)


def test_row_1_2_log_takes_str_only(information: dict[str, Any]) -> None:
    assert information["log_bytes"]["raised"] == "TypeError"


def test_row_1_5_log_writes_to_the_servers_log(server: Server, information: dict[str, Any], token: str) -> None:
    server.wait_for_line(f"logged by the app {token}")


@pytest.mark.parametrize(
    "names",
    [
        "spool,send_to_spooler,spooler_jobs",
        "cache_get,cache_set,cache_update,cache_del,cache_exists",
        "queue_push,queue_pop,queue_size",
        "sharedarea_read,sharedarea_write",
        "mule_msg,mule_get_msg,farm_msg,install_mule_msg_hook",
        "register_signal,signal,add_timer,add_cron,add_file_monitor,signal_registered",
        "rpc,call,rpc_list,register_rpc",
        "i_am_the_lord,lord_scroll,alarm,metric_get,snmp_set_counter32",
        "websocket_send_from_sharedarea,websocket_send_binary_from_sharedarea,async_id",
    ],
)
def test_row_8_names_of_missing_subsystems_are_absent(ask: Callable[..., Any], names: str) -> None:
    assert ask("absent", names)["present"] == []


@every_read_path
def test_row_1_5_reload_asks_the_master_and_the_new_worker_knows(start: Callable[..., Server]) -> None:
    server = start("uwsgi_rows.py")
    get(server, "/reloads?first")
    assert server.note("first") == {"result": {"type": "bool", "value": "True"}, "was": False}
    server.wait_for_line("reloaded: 1 new worker ready")
    # The old worker may still take a request in the moment before it is told.
    deadline = time.monotonic() + TIMEOUT_S
    for number in itertools.count():
        get(server, f"/says_reload?again{number}")
        if server.note(f"again{number}") == {"was": True}:
            break
        assert time.monotonic() < deadline


@every_read_path
def test_row_1_5_stop_asks_the_master(start: Callable[..., Server]) -> None:
    server = start("uwsgi_rows.py")
    get(server, "/stops?token")
    assert server.note("token")["result"] == {"type": "bool", "value": "True"}
    assert server.wait_for_end() == 0


#: What `uwsgidecorators` of uWSGI asks of the module, decorator by decorator; its code is not ours to copy.
DECORATORS = """
import uwsgi

assert uwsgi.masterpid() and not uwsgi.opt.get("lazy")
functions = []
uwsgi.spooler = lambda arguments: 0
uwsgi.post_fork_hook = lambda: [function() for function in functions]
uwsgi.mule_msg_hook = lambda message: None


def postfork(function):
    functions.append(function)
    return function


def free_signal():
    return next(number for number in range(256) if not uwsgi.signal_registered(number))


def timer(function):
    uwsgi.register_signal(free_signal(), "", function)
    return function


def rpc(function):
    uwsgi.register_rpc(function.__name__, function)
    return function


def lock(function):
    def locked():
        if uwsgi.i_am_the_spooler():
            return
        function()

    return locked


def mulefunc(function):
    return lambda: uwsgi.mule_msg(b"call", 0)
"""


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("@timer\ndef tick(number): ...", "'register_signal': Fairlead does not have uWSGI's signals; use "),
        ("@rpc\ndef call(): ...", "'register_rpc': Fairlead does not have RPC; use "),
        ("@lock\ndef once(): ...\nonce()", "'i_am_the_spooler': Fairlead does not have the spooler; use "),
        ("@mulefunc\ndef feed(): ...\nfeed()", "'mule_msg': Fairlead does not have mules and farms; use "),
    ],
)
def test_row_1_1_what_uwsgidecorators_cannot_do_is_one_sentence(tmp_path: Path, code: str, why: str) -> None:
    (tmp_path / "uwsgidecorators.py").write_text(DECORATORS)
    (tmp_path / "app.py").write_text(f"from uwsgidecorators import *\n{code}\n")
    server = Server.launch("--http", "127.0.0.1:0", "--chdir", str(tmp_path), "--wsgi-file", "app.py")
    assert server.wait_for_end() == 2
    (line,) = server.lines
    assert re.match(
        rf"fairlead: --wsgi-file app\.py cannot be loaded: module 'uwsgi' has no attribute {re.escape(why)}.* "
        r"\(app\.py line \d\)\.$",
        line,
    )


def test_row_1_1_what_uwsgidecorators_can_do_works(tmp_path: Path) -> None:
    (tmp_path / "uwsgidecorators.py").write_text(DECORATORS)
    (tmp_path / "app.py").write_text(
        "from uwsgidecorators import postfork\n@postfork\ndef begin(): print('forked', flush=True)\n"
        "def application(environ, start_response): ...\n"
    )
    with Server.launch("--http", "127.0.0.1:0", "--chdir", str(tmp_path), "--wsgi-file", "app.py") as server:
        server.wait_for_line("^forked$")
        server.wait_until_ready()
