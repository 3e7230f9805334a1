"""What a process that the application forks (os.fork, multiprocessing) gives up, before any other code runs in it.

It has a copy of every descriptor. Held there, a listener would keep its port taken after a stop, and a client's socket
its connection open after the worker has closed it; and what the child changed in the loop's epoll, it would change for
the worker. So all of them are replaced, number by number, by a descriptor that is never ready: a number that were free
could be given to a file of the child's, which a late close of ours would then hit.

A new program (subprocess) gets none of them: all close on exec.
"""

from __future__ import annotations

import contextlib
import os
import stat
from _socket import socket  # not what a library may have made of the module `socket`
from collections.abc import Iterable
from typing import Any, Callable

from fairlead import forked
from fairlead._native import CurrentSession, Engine, Hub, Request, Session, Subscription, note_fork

__all__ = ["ForkGuard"]

#: Their verbs need the worker's threads, or what the child has given up.
_OF_THE_WORKER = (Engine, Hub, Request, Session, Subscription, CurrentSession)


class ForkGuard:
    """Watches over forks from now on. `control` are the numbers of the control socket,
    `listeners` the inherited sockets; `told` are called in a child."""

    def __init__(self, control: Iterable[int], listeners: Iterable[int], told: Iterable[Callable[[], None]]) -> None:
        self._control = tuple(control)
        #: The addresses at which our sockets are: listeners, and every connection that was accepted from them.
        self._addresses = {_address(fd) for fd in listeners}
        self._told = tuple(told)
        self._engine: Engine | None = None
        os.register_at_fork(after_in_child=self._give_up)

    def engine_is_made(self, engine: Engine) -> None:
        self._engine = engine

    def _give_up(self) -> None:
        if forked.is_child:
            return  # a child's child: all is given up already
        refusal = note_fork()
        forked.note(refusal)
        for tell in self._told:
            tell()
        numbers = [*self._control, *(self._engine.own_descriptors() if self._engine is not None else ())]
        with contextlib.suppress(OSError):  # no descriptor is free to read the list: then these at least
            numbers += [fd for fd in map(int, os.listdir("/proc/self/fd")) if self._is_ours(fd)]
        _replace(numbers)
        for kind in _OF_THE_WORKER:
            _refuse_all(kind, refusal)

    def _is_ours(self, fd: int) -> bool:
        try:
            return stat.S_ISSOCK(os.fstat(fd).st_mode) and _address(fd) in self._addresses
        except OSError:
            return False


def _address(fd: int) -> Any:
    """Where a socket is bound. Of TCP the port alone: a connection to a listener on all interfaces has come by one."""
    one = socket(fileno=fd)
    try:
        family, name = one.family, one.getsockname()
    finally:
        one.detach()
    return (family, name[1]) if isinstance(name, tuple) else name or None


def _replace(numbers: Iterable[int]) -> None:
    try:
        quiet, kept = os.pipe()  # readable never, as long as the other end is open
    except OSError:
        for number in numbers:
            with contextlib.suppress(OSError):
                os.close(number)
        return
    for number in numbers:
        os.dup2(quiet, number, inheritable=False)
    os.close(quiet)
    del kept  # it stays open: the number alone is forgotten


def _refuse_all(kind: type, refusal: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(refusal)

    for name, value in list(vars(kind).items()):
        if not name.startswith("__"):
            setattr(kind, name, refuse if callable(value) else property(refuse))
