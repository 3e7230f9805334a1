"""The asyncio runner's two loops: tests that take `options` run on both. And members of channels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.channel_member import Connect, Member
from support.raw_client import RawClient
from support.server import Server

LOOPS = ("uvloop", "asyncio")


@pytest.fixture(scope="module", params=LOOPS)
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--asyncio", "200", "--asyncio-loop", request.param)


@pytest.fixture
def connect(upgrade: Callable[..., RawClient]) -> Connect:
    return lambda server: Member(upgrade(server, "/talks"))


@pytest.fixture
def both(serve: Callable[..., Server], connect: Connect) -> Callable[..., list[Member]]:
    """Two members for each of two worker processes."""

    def members() -> list[Member]:
        server = serve("channel_pages.py", "--processes", "2")
        found: dict[int, list[Member]] = {}
        for _ in range(200):
            member = connect(server)
            found.setdefault(member.ask("pid"), []).append(member)
            if len(found) == 2 and min(map(len, found.values())) >= 2:
                one, other = found.values()
                return [*one[:2], *other[:2]]
        raise AssertionError(f"200 connections came to {len(found)} of 2 workers")

    return members
