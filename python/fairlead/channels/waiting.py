"""Waiting for the channels' lock, in the task that wants it and in no other.

The lock is held for microseconds, but whoever has it may be stopped (SIGSTOP, a debugger, a freezer). The native calls
therefore wait two milliseconds and raise ChannelsBusy; what is left of waiting is here. A task sleeps as its runner
lets it, and the others run. While the same thread has the lock one of them tries again each second, and the others
only look: the two milliseconds of many tasks would stop them all as one long wait would.

A coroutine waits by `insist_async`, behind those that wait already, so that they are served in their order. Code that
cannot sleep without stopping all tasks, such as a call without `await` in a coroutine, waits for `LOOP_PATIENCE_S`
once, and then not at all until the lock has moved.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Callable, TypeVar

from fairlead._native import Channels
from fairlead.errors import ChannelsBusy

__all__ = ["PATIENCE_S", "configure", "insist", "insist_async", "note", "stuck"]

#: How long one call waits, asleep in its task.
PATIENCE_S = 5.0
#: The same for a call that holds up other tasks. Longer than a holder that wants to go on is kept from the CPU.
LOOP_PATIENCE_S = 0.25
#: Between two looks, at first and at most.
_FIRST_S, _LONGEST_S = 0.005, 0.05
#: Between two tries of all tasks together, while the lock does not move.
_TRY_EVERY_S = 1.0

T = TypeVar("T")

_channels: Channels | None = None
_sleep: Callable[[float], None] | None = None
_sleep_async: Callable[[float], Awaitable[None]] | None = None
#: Lets coroutines in one after the other; made by the runner, whose loop it is.
_turn: AbstractAsyncContextManager[None] | None = None
#: Coroutines that wait, or are about to.
_waiting = 0
#: The lock's state when a call gave up that held up others.
_given_up: tuple[int, int] | None = None
#: What the last try has found: the lock's state, the error, and when; None while nobody has met a lock that is stuck.
stuck: tuple[tuple[int, int], ChannelsBusy, float] | None = None


def configure(
    channels: Channels | None,
    sleep: Callable[[float], None] | None,
    sleep_async: Callable[[float], Awaitable[None]] | None = None,
    turn: AbstractAsyncContextManager[None] | None = None,
) -> None:
    """Take whose lock it is, and how a task of the runner, or a coroutine, sleeps; None while there is none."""
    global _channels, _sleep, _sleep_async, _turn, _waiting, _given_up, stuck
    _channels, _sleep, _sleep_async, _turn = channels, sleep, sleep_async, turn
    _waiting, _given_up, stuck = 0, None, None


def note(error: ChannelsBusy) -> None:
    """A call has found the lock stuck."""
    global stuck
    stuck = None if _channels is None else (_channels.lock_state, error.with_traceback(None), time.monotonic())


def _attempt(call: Callable[[], T]) -> T:
    """`call()`; or ChannelsBusy at once, while the thread has the lock that had it at a try just now."""
    global stuck
    found = stuck
    if found is not None:
        state, error, tried = found
        # A holder that nobody can name (0) is tried again and again.
        is_held_on = _channels is not None and state[0] != 0 and _channels.lock_state == state
        if is_held_on and time.monotonic() - tried < _TRY_EVERY_S:
            raise ChannelsBusy(*error.args)
        stuck = None
    try:
        return call()
    except ChannelsBusy as error:
        note(error)
        raise


def insist(call: Callable[[], T]) -> T:
    """`call()`, until it does not raise ChannelsBusy, or the caller's patience ends; then that is raised."""
    until = time.monotonic() + PATIENCE_S
    wait_s = _FIRST_S
    while True:
        try:
            return _attempt(call)
        except ChannelsBusy:
            if time.monotonic() >= until:
                raise
        if not _slept(wait_s):
            return _insist_briefly(call)
        wait_s = min(2 * wait_s, _LONGEST_S)


async def insist_async(call: Callable[[], T]) -> T:
    """The same for a coroutine of the worker's loop. Calls that wait are made in the order in which they were awaited,
    and a later one never before them."""
    global _waiting
    if not _waiting:
        try:
            return _attempt(call)
        except ChannelsBusy:
            if _turn is None:  # the application is being loaded, or its runner has no loop
                return insist(call)
    assert _turn is not None and _sleep_async is not None
    until = time.monotonic() + PATIENCE_S
    _waiting += 1
    try:
        async with _turn:
            wait_s = _FIRST_S
            while True:
                try:
                    return _attempt(call)
                except ChannelsBusy:
                    if time.monotonic() >= until:
                        raise
                await _sleep_async(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_S)
    finally:
        _waiting -= 1


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
        return _attempt(call)
    except ChannelsBusy:
        _given_up = None if _channels is None else _channels.lock_state
        raise
