"""An application that calls gevent's `patch_all` itself: our own threads, locks and waits stay the system's.

Under gevent's runner `--gevent-monkey-patch` does it earlier; under the others nobody expects it, and a thread of ours
that became a greenlet would run for nobody.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest
from end_to_end.http_wire import get
from support.raw_client import RawClient
from support.runners import Runner, every_read_path
from support.server import Server

pytestmark = every_read_path
APP = "patches_itself.py"


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start(APP, "--reload-mercy", "5")


def page(server: Server, path: str) -> dict:
    answer = get(server, path)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_it_is_served_reloaded_and_stopped_as_any_other(
    server: Server, runner: Runner, upgrade: Callable[..., RawClient]
) -> None:
    assert page(server, "/about")["lock"] == "gevent.thread"
    if runner.name == "threads":
        assert page(server, "/about")["thread"].startswith("fairlead-")
    assert page(server, "/waits") == {"done": ["thread"], "workers": 1, "queue": 0}
    clients = [upgrade(server, "/talks") for _ in range(4)]
    clients[0].send_text("to all")
    assert [client.read_data().payload for client in clients] == [b"to all"] * 4
    before, since = server.worker_pids(), server.mark()
    server.signal(signal.SIGHUP)
    assert {client.read_close()[0] for client in clients} == {1012}
    for client in clients:
        client.send_close(1012)
    server.wait_for_line("reloaded", since)
    assert page(server, "/about")["pid"] not in before
    server.stop()
    assert "are cut" not in "\n".join(server.lines)
