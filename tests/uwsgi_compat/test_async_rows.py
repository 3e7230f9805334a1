"""uWSGI's async calls, compat §1.4, §3.1 and §7.1: `wait_fd_*`, `suspend`, `ready_fd`, `async_*`, and
generators.

Runners without such a loop refuse to register with uWSGI's own text; `suspend` is harmless everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from end_to_end.http_wire import get
from support.raw_client import TEXT, Frame, RawClient
from support.runners import Runner, every_runner, named
from support.server import Server

pytestmark = every_runner

#: The runners in which a task can wait for any descriptor. The others' rows are in the tests without this mark.
SUSPENDING = named("greenlets", "generators", "asyncio")
where_tasks_suspend = pytest.mark.parametrize(
    "runner", SUSPENDING, indirect=True, scope="session", ids=lambda h: h.name
)


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("async_rows.py")


def is_oserror(found: dict[str, object], text: str) -> bool:
    return (found["raised"], found["text"], found["errno"]) == ("OSError", text, None)


def test_registering_without_a_loop_is_refused(server: Server, runner: Runner, token: str) -> None:
    get(server, f"/names?{token}")
    found = server.note(token)
    if runner in SUSPENDING:
        assert found["registered"] == found["without"] == {"type": "bytes", "value": "b''"}
    else:
        for name in ("registered", "without", "negative"):
            assert found[name]["raised"] == "OSError" and found[name]["errno"] is None
            assert found[name]["text"].startswith("unable to fd ")
            assert found[name]["text"].endswith(" to the event queue")


def test_arguments_and_descriptors_that_cannot_be(server: Server, runner: Runner, token: str) -> None:
    get(server, f"/names?{token}")
    found = server.note(token)
    assert found["float"]["raised"] == found["text"]["raised"] == "TypeError"
    assert is_oserror(found["closed"], f"unable to fd {found['closed_fd']} to the event queue")
    assert is_oserror(found["negative"], "unable to fd -1 to the event queue")
    assert found["file"]["raised"] == "OSError"
    assert found["suspend"] == found["again"] == {"type": "bool", "value": "True"}
    assert found["short_sleep"] == {"type": "bytes", "value": "b''"}


def test_the_environ_has_the_calls_where_tasks_are_coroutines(server: Server, runner: Runner, token: str) -> None:
    get(server, f"/keys?{token}")
    found = server.note(token)
    if runner.name == "threads":
        assert set(found.values()) == {"'absent'"}
    else:
        assert found["readable"].startswith("<bound method") and found["writable"].startswith("<bound method")
        assert found["timeout"] == "None" and found["ready_fd"] == "'absent'"


@where_tasks_suspend
def test_a_suspended_task_goes_on_when_its_descriptor_is_ready(server: Server, token: str) -> None:
    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(get, server, f"/waits?{token}.{n}&{token}.{n}") for n in range(10)]
        for n in range(10):
            assert server.note(f"{token}.{n}") == {"waits": True}
        for n in reversed(range(10)):
            get(server, f"/wakes?&{token}.{n}")
        assert [one.result().body for one in waiting] == [b"True woken True"] * 10


def test_what_was_refused_is_not_waited_for(server: Server, token: str) -> None:
    get(server, f"/refused?{token}")
    assert server.note(token) == {"went_on": True}


@where_tasks_suspend
def test_the_first_timeout_counts_and_ends_all_registrations(server: Server, token: str) -> None:
    get(server, f"/times_out?{token}")
    found = server.note(token)
    assert 0.9 < found["first"] < 5
    assert found["nothing"] == -1
    assert 0.9 < found["slept"] < 1.8, "cut to whole seconds"


@where_tasks_suspend
def test_one_of_several_descriptors_ends_the_wait(server: Server, token: str) -> None:
    get(server, f"/several?{token}")
    assert server.note(token) == {"writable": True}


@where_tasks_suspend
def test_async_connect_reaches_a_server_without_blocking_the_worker(server: Server, token: str) -> None:
    get(server, f"/connects?{token}")
    found = server.note(token)
    assert found["status"] == "HTTP/1.0 200 OK" or found["status"] == "HTTP/1.1 200 OK"
    assert found["refused"] == {"type": "int", "value": "-1"}
    assert found["bytes"]["raised"] == "TypeError"


@pytest.mark.parametrize("page", ["echo", "generator_echo"])
@where_tasks_suspend
def test_a_websocket_and_another_descriptor_are_waited_for_at_once(
    server: Server, upgrade: Callable[..., RawClient], token: str, page: str
) -> None:
    clients = {name: upgrade(server, f"/{page}?{token}{name}&{token}{name}") for name in "abc"}
    for _ in range(3):
        for client in clients.values():
            client.send_bytes(b"")
            client.send_text("one")
            client.send_text("two")
        for client in clients.values():
            assert [client.read_data(), client.read_data()] == [Frame(TEXT, b"one"), Frame(TEXT, b"two")]
    get(server, f"/wakes?&{token}b")
    assert clients["b"].read_data() == Frame(TEXT, b"from elsewhere: woken")
    clients["c"].close_in_order()
    assert server.note(f"{token}c") == {"over": True}
    clients["a"].send_text("still here")
    assert clients["a"].read_data() == Frame(TEXT, b"still here")


@where_tasks_suspend
def test_a_generator_is_told_of_a_timeout(server: Server, upgrade: Callable[..., RawClient], token: str) -> None:
    client = upgrade(server, f"/generator_echo?{token}&{token}")
    assert client.read_data() == Frame(TEXT, b"nothing for a second, None")
    client.send_text("now")
    assert client.read_data() == Frame(TEXT, b"now")


@where_tasks_suspend
def test_a_generator_that_waits_for_its_websocket_alone_is_told_how_each_wait_ended(
    server: Server, upgrade: Callable[..., RawClient], token: str
) -> None:
    client = upgrade(server, f"/generator_alone?{token}&{token}")
    assert client.read_data() == Frame(TEXT, b"True False False")
    client.send_text("one")
    assert [client.read_data(), client.read_data()] == [Frame(TEXT, b"None True True"), Frame(TEXT, b"one")]
    assert client.read_data() == Frame(TEXT, b"True False False"), "the time-out counts for each wait anew"
    client.close_in_order()
    assert server.note(token) == {"over": True}


@where_tasks_suspend
def test_blocking_recv_in_a_generator_explains_itself(
    server: Server, runner: Runner, upgrade: Callable[..., RawClient], token: str
) -> None:
    client = upgrade(server, f"/generator_blocks?{token}")
    if runner.name != "generators":
        client.send_text("it parks the greenlet")
    found = server.note(token)["recv"]
    if runner.name == "generators":
        assert found["raised"] == "RuntimeError"
        assert "yield uwsgi.wait_fd_read(" in found["text"] and "websocket_recv_nb()" in found["text"]
    else:
        assert found["value"] == "b'it parks the greenlet'"
    assert client.read_data() == Frame(TEXT, b"told")
    for number in range(3):
        client.send_text(str(number))
        assert client.read_data() == Frame(TEXT, str(number).encode())
    assert client.read_close()[0] == 1000


@where_tasks_suspend
def test_a_generator_s_body_comes_in_pieces_with_others_in_between(server: Server, token: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        body = pool.submit(get, server, f"/generator_body?{token}&{token}")
        assert server.note(token) == {"waits": True}
        get(server, f"/wakes?&{token}")
        assert body.result().body == b"0 1 2 3 4 woken\n"


@where_tasks_suspend
def test_a_generator_that_raises_closes_with_1011(
    server: Server, upgrade: Callable[..., RawClient], token: str
) -> None:
    client = upgrade(server, f"/generator_raises?{token}")
    client.send_text("go")
    assert client.read_close()[0] == 1011
