"""How tests are dealt to the processes of pytest-xdist: the tests of a file under one runner stay together.

Together they share their servers and their order. Finer than a file, because a process that got the longest file last
would be waited for by all others. Units with many tests are dealt first; see `LoadScopeScheduling`.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from support.runners import RUNNERS

_NAMES = {runner.name for runner in RUNNERS}


class ByFileAndRunner(LoadScopeScheduling):
    """The scheduler: a unit of work is what has the same file and the same runner."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        words = test.partition("[")[2].rstrip("]").split("-")
        return "::".join([path, *(word for word in words if word in _NAMES)])
