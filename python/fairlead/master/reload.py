"""What makes the master reload by itself: touched files (--touch-reload) and edited modules
(--py-autoreload).

Files are looked at, never opened; the caller decides what a change means and brings the time, so nothing here
waits. The invariant: a change is reported once. Polling is deliberate: one `stat` per file and second costs
nothing a server would notice, and works on network file systems and container mounts, where inotify stays
silent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

#: How often --touch-reload looks, as in uWSGI, whose master cycle is one second.
TOUCH_EVERY_S = 1.0


class Watch:
    """Looks at modification times every `every_s` seconds; a file that appears counts as changed."""

    def __init__(self, paths: Iterable[str], every_s: float, now: float) -> None:
        self._every_s = every_s
        self._seen: dict[str, int] = {}
        self.due_at = now + every_s
        self.add(paths)

    @property
    def paths(self) -> Iterable[str]:
        """What is watched."""
        return self._seen.keys()

    def add(self, paths: Iterable[str]) -> None:
        """Watch these too, from their present state on; paths already watched keep theirs."""
        for path in paths:
            if path not in self._seen:
                self._seen[path] = _modified(path)

    def changed(self, now: float) -> str:
        """The first path that changed since the last look, or "". Looks only when it is due."""
        if now < self.due_at:
            return ""
        self.due_at = now + self._every_s
        first = ""
        for path, before in self._seen.items():
            modified = _modified(path)
            # A file that is gone keeps its old time: an editor that replaces it makes it vanish for a moment.
            if modified not in (before, 0):
                self._seen[path] = modified
                first = first or path
        return first


def _modified(path: str) -> int:
    """Nanoseconds since the epoch; 0 when there is no such file."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):  # ValueError: no file has a name like that, which a worker has told
        return 0
