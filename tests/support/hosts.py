"""The concurrency models that every behaviour is tested under.

A later host is one more line here; tests take the fixture `host` (or a server made from it) and know no
names.
"""

from __future__ import annotations

from typing import NamedTuple


class Host(NamedTuple):
    """A concurrency model: how it is called in test ids, the options that choose it with 200 slots, and what it makes
    of a shorter --socket-timeout (spec §2.2)."""

    name: str
    options: tuple[str, ...]
    least_socket_timeout_s: float = 0.0

    def with_slots(self, count: int) -> tuple[str, ...]:
        """The option that gives a worker so many slots instead; the last one given wins."""
        return (self.options[0], str(count))


HOSTS = (
    Host("greenlets", ("--async", "200", "--greenlet")),
    Host("generators", ("--async", "200")),
    Host("threads", ("--threads", "200")),
    Host("asyncio", ("--asyncio", "200", "--greenlet"), least_socket_timeout_s=30.0),
    Host("gevent", ("--gevent", "200"), least_socket_timeout_s=30.0),
)
