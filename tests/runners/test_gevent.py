"""The gevent runner: what applications do with gevent itself, beside what every runner owes them.

Each test runs with the standard library as it is and with --gevent-monkey-patch, unless it is about one of the two.
"""

from __future__ import annotations

import http.server
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.http_wire import get
from support.raw_client import TEXT, Frame, RawClient
from support.runners import named
from support.server import TIMEOUT_S, Server

(GEVENT,) = named("gevent")
APP = "gevent_tasks.py"


@pytest.fixture(scope="module", params=[(), ("--gevent-monkey-patch",)], ids=["plain", "patched"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return (*GEVENT.options, *request.param)


@pytest.fixture(scope="module")
def server(options: tuple[str, ...]) -> Iterator[Server]:
    # Some tasks wait in a call of gevent's when the server stops; nobody waits for them.
    with Server.start(APP, *options, "--reload-mercy", "1") as server:
        yield server


@pytest.fixture
def launched() -> Iterator[Callable[..., Server]]:
    """`launched(*options, …)`: a server of the test's own, by its own options."""
    running: list[Server] = []

    def launch(*options: str, **how: object) -> Server:
        running.append(Server.start(APP, *options, **how))  # type: ignore[arg-type]
        return running[-1]

    yield launch
    for server in running:
        server.stop()


def body(server: Server, path: str) -> str:
    return get(server, path).body.decode()


def test_gevent_select_wakes_for_a_message_and_not_before(server: Server, upgrade: Callable[..., RawClient]) -> None:
    client = upgrade(server, "/selects")
    for number in (1, 2):
        assert client.read_data() == Frame(TEXT, f"quiet {number}".encode())
    for word in ("one", "two"):
        client.send_text(word)
    answers = [client.read_data().payload for _ in range(2)]
    assert [answer for answer in answers if not answer.startswith(b"quiet")] == answers == [b"one", b"two"]


def test_tasks_that_sleep_let_the_others_run(server: Server, upgrade: Callable[..., RawClient]) -> None:
    slow, quick = upgrade(server, "/sleeps"), upgrade(server, "/echo")
    slow.send_text("0.5")
    for number in range(100):
        quick.send_text(str(number))
        assert quick.read_data().payload == str(number).encode()
    assert slow.read_data() == Frame(TEXT, b"0.5")


def test_the_log_names_who_blocks_the_hub_outside_the_engines_turns(
    server: Server, upgrade: Callable[..., RawClient]
) -> None:
    since = server.mark()
    busy, quiet = upgrade(server, "/computes"), upgrade(server, "/echo")
    began = time.monotonic()
    busy.send_text("2.0")
    assert busy.read_data().payload == b"begun", "what was sent before leaves at once"
    quiet.send_text("is anybody there?")
    assert busy.read_data().payload == b"2.0"
    took = time.monotonic() - began
    quiet.read_data()
    line = server.wait_for_line(
        r" /computes: the application blocked its worker for ([\d.]+) s at .*\(computes\)", since
    )
    assert 1.6 < float(line[1]) < took * 1.2, f"it took {took} s"


def test_a_queue_joins_two_requests(server: Server, upgrade: Callable[..., RawClient], token: str) -> None:
    client = upgrade(server, f"/mailbox?{token}")
    assert client.read_data().payload == b"open"
    for word in ("first", "second"):
        assert body(server, f"/post?{token}&{word}") == "hello"
        assert client.read_data() == Frame(TEXT, word.encode())


@pytest.mark.parametrize("named", ["", "&context"])
def test_one_greenlet_receives_while_another_sends(
    server: Server, upgrade: Callable[..., RawClient], token: str, named: str
) -> None:
    client = upgrade(server, f"/both_ways?{token}{named}")
    for number in range(20):
        client.send_text(f"line {number}")
    assert [client.read_data().payload.decode() for _ in range(20)] == [f"LINE {number}" for number in range(20)]
    client.close_in_order()
    assert server.note(token) == {"over": True}


def test_what_a_task_spawns_belongs_to_its_request(server: Server, upgrade: Callable[..., RawClient]) -> None:
    first, second = upgrade(server, "/children"), upgrade(server, "/children")
    for client in (first, second):
        said = {client.read_data().payload.decode() for _ in range(7)}
        assert said == {
            "spawn", "spawn_later", "spawn_raw", "a subclass", "a pool", "a grandchild", "a grandchild of a raw one",
        }  # fmt: skip


def test_a_greenlet_that_outlives_its_request_belongs_to_nobody(server: Server, token: str) -> None:
    assert body(server, f"/outlives?{token}") == "hello"
    assert server.note(token) == {"inside": "Request", "after": "LookupError"}
    assert server.note(f"{token}-later") == {"after": "LookupError"}


def test_a_message_after_a_timeout_around_a_receive_is_not_lost(
    server: Server, upgrade: Callable[..., RawClient]
) -> None:
    client = upgrade(server, "/gives_up")
    client.send_text("in time")
    assert client.read_data().payload == b"in time"
    assert client.read_data().payload == b"nothing came"
    client.send_text("late")
    assert client.read_data().payload == b"late"


@pytest.mark.parametrize("waits", ["recv", "sleep"])
def test_a_task_can_be_killed_by_another(
    server: Server, upgrade: Callable[..., RawClient], token: str, waits: str
) -> None:
    client = upgrade(server, f"/victim?{token}&{waits}")
    assert client.read_data().payload == b"alive"
    assert body(server, f"/kill?{token}") == "True True"
    assert client.read_close()[0] == 1001
    assert server.note(f"{token}-finally") == {"ran": True}
    assert server.note(token) == {"linked": True}


def test_each_task_has_locals_of_its_own(server: Server) -> None:
    assert [body(server, f"/own_locals?t{number}") for number in range(3)] == [
        f"unset unset t{number}" for number in range(3)
    ]


def test_a_callback_of_the_loop_may_send_but_not_wait(
    server: Server, upgrade: Callable[..., RawClient], token: str
) -> None:
    client = upgrade(server, f"/on_the_hub?{token}")
    assert client.read_data().payload == b"from a callback"
    client.send_text("go on")
    assert "the hub itself must not stop" in server.note(token)["recv"]


def test_thread_pool_and_resolver_of_gevent_work_in_a_task(server: Server) -> None:
    assert body(server, "/pooled") == "2 80"


def test_a_thousand_connections_talk_at_once(launched: Callable[..., Server], options: tuple[str, ...]) -> None:
    server = launched(*options, "--gevent", "1010", "--listen", "1000")
    clients = [RawClient.upgrade(server, "/echo") for _ in range(1000)]
    try:
        for turn in range(3):
            for number, client in enumerate(clients):
                client.send_text(f"{turn} {number}")
            for number, client in enumerate(clients):
                assert client.read_data().payload.decode() == f"{turn} {number}"
    finally:
        for client in clients:
            client.close()


def test_a_stop_ends_a_task_that_waits_in_a_call_of_gevents(
    launched: Callable[..., Server], options: tuple[str, ...], upgrade: Callable[..., RawClient], token: str
) -> None:
    server = launched(*options, "--reload-mercy", "1")
    client = upgrade(server, f"/victim?{token}&sleep")
    assert client.read_data().payload == b"alive"
    server.signal(signal.SIGTERM)
    assert client.read_close()[0] == 1001
    client.send_close(1001)
    assert server.note(f"{token}-finally") == {"ran": True}
    client.close()
    assert server.wait_for_end() == 0
    assert not [line for line in server.lines if "did not end" in line]


# -- monkey patching


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers when the test says so."""

    may_answer: threading.Event
    asked: threading.Event

    def do_GET(self) -> None:
        self.asked.set()
        self.may_answer.wait(TIMEOUT_S)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"at last")

    def log_message(self, *_: object) -> None:
        pass


def test_a_patched_client_waits_while_other_tasks_go_on(
    launched: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    server = launched(*GEVENT.options, "--gevent-monkey-patch")
    Slow.may_answer, Slow.asked = threading.Event(), threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as slow:
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        answers: list[str] = []
        path = f"/fetches?{token}&http://127.0.0.1:{slow.server_port}/"
        asker = threading.Thread(target=lambda: answers.append(body(server, path)))
        asker.start()
        assert Slow.asked.wait(TIMEOUT_S)
        client = upgrade(server, "/echo")
        for number in range(20):
            client.send_text(str(number))
            assert client.read_data().payload == str(number).encode()
        assert not answers
        Slow.may_answer.set()
        asker.join(TIMEOUT_S)
        slow.shutdown()
    assert answers == ["at last"]


def test_the_early_name_patches_the_standard_library_before_the_application_is_loaded(
    launched: Callable[..., Server], token: str
) -> None:
    server = launched(*GEVENT.options, "--gevent-early-monkey-patch")
    assert body(server, f"/patched?{token}") == "hello"
    found = server.note(token)
    assert found.pop("thread") == "_DummyThread"
    assert found == {
        "together": True,
        "squares": True,
        "child": "child\n",
        "lock": "gevent.thread",
        "queue": "gevent._gevent_cqueue",
        "select": "gevent.select",
    }


def test_without_the_option_nothing_is_patched(launched: Callable[..., Server], token: str) -> None:
    server = launched(*GEVENT.options)
    assert body(server, f"/patched?{token}") == "hello"
    found = server.note(token)
    assert (found["lock"], found["queue"], found["select"]) == ("_thread", "_queue", "select")


# -- without gevent


def test_a_missing_gevent_is_told_in_one_sentence_before_the_application_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "gevent.py").write_text("raise ImportError(\"No module named 'gevent'\")\n")
    app = tmp_path / "app.py"
    app.write_text("print('the application was loaded', flush=True)\ndef application(environ, start): return []\n")
    server = Server.launch(
        "--http", "127.0.0.1:0", "--wsgi-file", str(app), "--gevent", "10", environ={"PYTHONPATH": str(tmp_path)}
    )
    assert server.wait_for_end() == 2
    assert server.lines[-1:] == [
        "fairlead: the gevent model needs a library that is not installed (No module named 'gevent'); "
        "pip install 'fairlead[gevent]'."
    ]
    assert "the application was loaded" not in server.lines
