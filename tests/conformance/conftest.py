"""The server under test of the whole folder: a typed echo; and a client that is open already, over TCP or inside
HTTP/2 (RFC 8441): the frames are the same.

The codec's own tests hold every rule to all its values, in microseconds (crates/protocol). Here each rule is shown once
on every way to the codec: read by the loop or by a task's thread, over TCP or inside HTTP/2. A test with a table of
values tries all of them on the plain way, and the first one on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.http2_client import Http2Client
from support.raw_client import RawClient
from support.runners import DEFAULT
from support.server import Server

HERE = Path(__file__).parent

#: The parameters that make the way, and their plain values; all others are tables.
PLAIN = {"runner": DEFAULT, "client": "http1"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all-runners"):
        return
    spare = {item for item in items if item.path.parent == HERE and is_spare(item)}
    if spare:
        items[:] = [item for item in items if item not in spare]
        config.hook.pytest_deselected(items=list(spare))


def is_spare(item: pytest.Item) -> bool:
    """Whether another value of its table has been here, on a way that is not the plain one."""
    called = getattr(item, "callspec", None)
    if called is None or all(called.params.get(name, value) == value for name, value in PLAIN.items()):
        return False
    return any(index for name, index in called.indices.items() if name not in PLAIN)


@pytest.fixture(scope="session")
def echo(serve: Callable[..., Server]) -> Server:
    return serve("echo_typed.py")


@pytest.fixture(params=["http1", "http2"])
def client(request: pytest.FixtureRequest, echo: Server, upgrade: Callable[..., RawClient]) -> Iterator[RawClient]:
    """An open WebSocket to the echo."""
    if request.param == "http1":
        yield upgrade(echo)
    else:
        with Http2Client.connect(echo) as connection:
            yield connection.websocket()
