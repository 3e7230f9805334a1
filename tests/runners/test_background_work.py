"""What an application starts beside its requests fails alone: the worker, its tasks and its clients stay.

Libraries pass exits and interrupts on to whoever runs them, which for a loop is the worker itself. So each test looks
at a bystander's WebSocket, for the traceback, and at the worker's process id.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.http_wire import get
from faults.machine import echo, wait_until
from support.raw_client import RawClient
from support.runners import every_runner, named
from support.server import Server

APP = "background.py"
Upgrade = Callable[..., RawClient]

#: What the log has to say of each of the app's failures.
TEXTS = {
    "exits": r"^SystemExit: an exit behind a request",
    "interrupts": r"^KeyboardInterrupt: behind a request",
    "breaks": r"^SystemError$",
    "strays": r"SystemError: you can call uwsgi api function only from the main callable",
    "raises_own": r"Base: behind a request",
}


def fails_alone(server: Server, upgrade: Upgrade, path: str, text: str, status: int = 200) -> None:
    """`path` of the app starts what fails; its request, a bystander and the worker do not notice."""
    [pid] = server.worker_pids()
    bystander, since = upgrade(server), server.mark()
    echo(bystander)
    assert get(server, path).status == status
    server.wait_for_line(text, since)
    echo(bystander)
    assert get(server, "/thread/exits").body == str(pid).encode(), "the worker takes new requests"
    assert server.worker_pids() == [pid]
    bystander.close_in_order()


@pytest.fixture(scope="module", params=[(), ("--gevent-monkey-patch",)], ids=["plain", "patched"])
def with_gevent(request: pytest.FixtureRequest) -> Iterator[Server]:
    [gevent] = named("gevent")
    with Server.start(APP, *gevent.options, *request.param) as server:
        yield server


@pytest.fixture(scope="module")
def with_asyncio(options: tuple[str, ...]) -> Iterator[Server]:
    with Server.start(APP, *options) as server:
        yield server


@pytest.fixture(scope="module", params=["greenlets", "asyncio"])
def with_a_hub(request: pytest.FixtureRequest) -> Iterator[Server]:
    [runner] = named(request.param)
    with Server.start(APP, *runner.options) as server:
        yield server


@pytest.mark.parametrize("failure", ["exits", "interrupts", "breaks", "raises_own"])
@pytest.mark.parametrize("work", ["greenlet_of_gevent", "callback_of_gevent", "pool"])
def test_a_failure_on_gevents_hub_stays_alone(with_gevent: Server, upgrade: Upgrade, work: str, failure: str) -> None:
    fails_alone(with_gevent, upgrade, f"/{work}/{failure}", TEXTS[failure])


@pytest.mark.parametrize("work", ["later", "pool"])
def test_a_call_of_the_module_uwsgi_without_a_request_fails_alone(
    with_gevent: Server, upgrade: Upgrade, work: str
) -> None:
    fails_alone(with_gevent, upgrade, f"/{work}/strays", TEXTS["strays"])


def test_what_is_thrown_into_the_main_greenlet_does_not_end_it(with_gevent: Server, upgrade: Upgrade) -> None:
    fails_alone(with_gevent, upgrade, "/main_of_gevent", r"^SystemExit: thrown into the main greenlet")


@pytest.mark.parametrize("failure", ["exits", "interrupts", "raises_own"])
@pytest.mark.parametrize("work", ["task", "callback", "late_callback", "reader"])
def test_a_failure_on_asyncios_loop_stays_alone(
    with_asyncio: Server, upgrade: Upgrade, work: str, failure: str
) -> None:
    fails_alone(with_asyncio, upgrade, f"/{work}/{failure}", TEXTS[failure])


def test_an_exception_handler_that_exits_does_not_end_the_worker(with_asyncio: Server, upgrade: Upgrade) -> None:
    fails_alone(with_asyncio, upgrade, "/handler/raises_own", r"^SystemExit: in the handler")
    fails_alone(with_asyncio, upgrade, "/handler/exits", TEXTS["exits"])


def test_a_loop_that_the_application_stops_goes_on(with_asyncio: Server, upgrade: Upgrade) -> None:
    fails_alone(with_asyncio, upgrade, "/stops_the_loop", r"the application has stopped the worker's event loop")


@pytest.mark.parametrize("failure", ["exits", "interrupts", "raises_own"])
def test_a_greenlet_of_the_application_fails_alone(with_a_hub: Server, upgrade: Upgrade, failure: str) -> None:
    fails_alone(with_a_hub, upgrade, f"/greenlet_of_the_hub/{failure}", TEXTS[failure], status=500)


def is_asleep(pid: int) -> bool:
    """The main thread's state, proc(5)."""
    return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@every_runner
@pytest.mark.parametrize(
    ("number", "text"), [(signal.SIGUSR1, r"^TimeoutError: by a signal"), (signal.SIGINT, r"^KeyboardInterrupt")]
)
def test_a_signal_handler_that_raises_does_not_end_the_worker(
    serve: Callable[..., Server], upgrade: Upgrade, number: int, text: str
) -> None:
    server = serve(APP)
    [pid] = server.worker_pids()
    bystander = upgrade(server)
    echo(bystander)
    for _ in range(3):
        since = server.mark()
        # Not while it runs the bystander's task, whose failure it would be.
        wait_until(lambda: is_asleep(pid), "the runner's thread waits")
        os.kill(pid, number)
        server.wait_for_line(text, since)
        echo(bystander)
    assert server.worker_pids() == [pid]
    bystander.close_in_order()
