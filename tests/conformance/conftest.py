"""The server under test of the whole folder: a typed echo; and a client that is open already, over
TCP or inside HTTP/2 (RFC 8441): the frames are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.http2_client import Http2Client
from support.raw_client import RawClient
from support.server import Server


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
