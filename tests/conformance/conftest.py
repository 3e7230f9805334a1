"""The server under test of the whole folder: a typed echo, under each host; and a client that is open
already.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.raw_client import RawClient
from support.server import Server


@pytest.fixture(scope="session")
def echo(serve: Callable[..., Server]) -> Server:
    return serve("echo_typed.py")


@pytest.fixture
def client(echo: Server, upgrade: Callable[..., RawClient]) -> RawClient:
    """An open WebSocket to the echo."""
    return upgrade(echo)
