"""How many files this instance may have open: as many as the system lets it, and a word if that is too few.

A connection is an open file. The limit that a shell or a service manager sets is often 1024, because select(2) knows no
higher numbers; the hard limit beside it is what the machine really grants, and every process may go up to it by itself.
The workers inherit what the master has.
"""

from __future__ import annotations

import contextlib
import resource

from fairlead.logs import Log
from fairlead.settings.options import Settings

__all__ = ["raise_limit"]

#: Linux's own most (fs.nr_open) where nobody has changed it. More would only make programs slow that close all numbers
#: up to the limit before they start another.
_MOST = 1 << 20

#: What a worker has open beside its connections: some 25 files of its own, two for each listener, and a reserve that
#: connections leave free (crates/front/src/accept/open_files.rs).
_OWN, _EACH_LISTENER, _RESERVE = 25, 2, 16


def raise_limit(settings: Settings, listeners: int, log: Log) -> None:
    """Raise the soft limit to the hard one, and warn if a worker with all slots in use would reach it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        # Refused only by a sandbox; then what there is must do.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    needed = settings.slots + _OWN + _EACH_LISTENER * listeners + _RESERVE
    if soft != resource.RLIM_INFINITY and needed > soft:
        log.warning(
            f"{settings.slots} slots may need {needed} open files in each worker, and the limit is {soft}: connections "
            "will wait for descriptors; raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or give fewer slots"
        )
