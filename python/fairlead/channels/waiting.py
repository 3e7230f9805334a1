"""Waiting for the channels' lock, in the task that wants it and in no other.

The lock is held for microseconds, but whoever has it may be stopped (SIGSTOP, a debugger, a freezer). The native calls
therefore wait two milliseconds and raise ChannelsBusy; what is left of waiting is here. A task sleeps as its runner
lets it, and the others run. Code that cannot sleep without stopping them all, such as a coroutine, waits for
`LOOP_PATIENCE_S` once, and then not at all until the lock has moved.
"""

from __future__ import annotations

import time
from typing import Callable, TypeVar

from fairlead._native import Channels
from fairlead.errors import ChannelsBusy

__all__ = ["PATIENCE_S", "configure", "insist"]

#: How long one call waits, asleep in its task.
PATIENCE_S = 5.0
#: The same for a call that holds up other tasks. Longer than a holder that wants to go on is kept from the CPU.
LOOP_PATIENCE_S = 0.25
#: Between two tries, at first and at most.
_FIRST_S, _LONGEST_S = 0.005, 0.05

T = TypeVar("T")

_channels: Channels | None = None
_sleep: Callable[[float], None] | None = None
#: The lock's state when a call gave up that held up others.
_given_up: tuple[int, int] | None = None


def configure(channels: Channels | None, sleep: Callable[[float], None] | None) -> None:
    """Take whose lock it is, and how a task of the runner sleeps; None while there is none."""
    global _channels, _sleep, _given_up
    _channels, _sleep, _given_up = channels, sleep, None


def insist(call: Callable[[], T]) -> T:
    """`call()`, again and again while it raises ChannelsBusy, until the caller's patience ends; then that is raised."""
    until = time.monotonic() + PATIENCE_S
    wait_s = _FIRST_S
    while True:
        try:
            return call()
        except ChannelsBusy:
            if time.monotonic() >= until:
                raise
        if not _slept(wait_s):
            return _insist_briefly(call)
        wait_s = min(2 * wait_s, _LONGEST_S)


def _slept(seconds: float) -> bool:
    """Let the others run. False if the calling code has no task that could sleep."""
    if _sleep is None:
        return False
    try:
        _sleep(seconds)
    except (RuntimeError, AssertionError):  # the hub's own code or a coroutine; gevent's word for that is the latter
        return False
    return True


def _insist_briefly(call: Callable[[], T]) -> T:
    """The same with everybody held up meanwhile, once for each time that the lock gets stuck."""
    global _given_up
    if _channels is not None and (_sleep is None or _channels.lock_state != _given_up):
        # Without a runner the application is being loaded: there is nobody to hold up.
        _channels.wait_free(PATIENCE_S if _sleep is None else LOOP_PATIENCE_S)
    try:
        return call()
    except ChannelsBusy:
        _given_up = None if _channels is None else _channels.lock_state
        raise
