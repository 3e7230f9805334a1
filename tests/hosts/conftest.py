"""The asyncio host's two loops: tests that take `options` run on both."""

from __future__ import annotations

import pytest

LOOPS = ("uvloop", "asyncio")


@pytest.fixture(scope="module", params=LOOPS)
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--asyncio", "200", "--asyncio-loop", request.param)
