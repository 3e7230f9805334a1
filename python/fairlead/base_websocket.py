"""What WebSocket and AsyncWebSocket have in common: memberships, how it ended, and verbs that wait for nothing.

`WebSocket` and `AsyncWebSocket` are these and their own verbs. All are methods that say what they take, answer and
raise, each one call of the native session. Whatever runs once per message must cost no Python frame, though (a tenth of
a small echo): the objects that an application gets are of a subclass that `with_native_methods` makes, which holds the
native methods under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar, Union, cast

from fairlead._native import Session
from fairlead.channels.waiting import insist
from fairlead.errors import ConnectionClosed

__all__ = ["BaseWebSocket", "Data", "Joined", "close_code_after", "with_native_methods"]

#: A message: `str` is text, `bytes` is binary (RFC 6455 §5.6).
Data = Union[str, bytes]


class Joined(NamedTuple):
    """Where a membership begins."""

    #: The first message that the client gets has a larger offset than this.
    offset: int
    #: Messages of the past that it gets first.
    replayed: int
    #: Messages behind `since` that are no longer in memory; None when that offset is of another run and nobody knows.
    missed: int | None


class BaseWebSocket:
    """One open WebSocket, as far as neither class waits."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def receive_nowait(self) -> Data | None:
        """The next message if one is there, else None; waits for nothing.

        Returns `str` for a text message and `bytes` for a binary one, whole and unmasked (RFC 6455 §5.6). Raises
        `ConnectionClosed` when the connection is over and every message was taken.
        """
        return self._session.receive_nowait()

    def fileno(self) -> int:
        """A descriptor that polls readable exactly while `receive` would not wait.

        It is for `select` and its like, stays the WebSocket's, and is not to be read or closed. Raises `OSError` when
        the process has no descriptor left.
        """
        return self._session.fileno()

    def join(
        self, channel: str, since: int | None = None, *, offsets: bool = False, slow_consumer: str | None = None
    ) -> Joined:
        """Make the client a member of a channel: what is published there goes to it, whatever the application does.
        Waits for nothing, unless a process that writes to the channels was stopped; see `fairlead.channels.publish`.

        `channel` is a name of 1 to 255 bytes of UTF-8 without control characters. `since` is an offset to begin behind:
        first comes what is still in memory, then what is published, without a gap or a repetition; without it the
        client gets what comes. With `offsets` each message begins with a line that says its offset and channel, so that
        the client can tell where it stopped (docs/howto/channels.md). `slow_consumer` is what becomes of a client that
        does not keep up: "close", "drop-newest" or "drop-oldest", by default as --channels-slow-consumer says. A client
        that is a member already stays one as it is.

        Returns where the membership begins. Raises `ValueError` for a bad name, offset or `slow_consumer`,
        `ConnectionClosed` when the connection is over, and `ChannelsError` when there is no room for another channel or
        the channels cannot be used at present.
        """
        join = self._session.join
        answer = insist(lambda: join(channel, since, offsets, slow_consumer))
        return Joined(answer.offset, answer.replayed, answer.missed)

    def leave(self, channel: str) -> bool:
        """End the membership of a channel; messages of it that have not left yet are dropped.

        Returns False if the client was no member. Raises nothing for a connection that is over.
        """
        return self._session.leave(channel)

    @property
    def missed(self) -> int:
        """How many messages of its channels the client did not get, because it was slow. Raises nothing."""
        return self._session.missed

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on (RFC 6455 §1.9), None if none was. Raises nothing."""
        return self._session.subprotocol

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended, as the error that `receive` raises then; None while it is open.

        Messages may still wait to be received. Raises nothing.
        """
        end = self._session.closed
        return None if end is None else ConnectionClosed(end.code, end.reason, end.by)


def close_code_after(error: BaseException | None) -> int | None:
    """The Close code (RFC 6455 §7.4.1) for a `with` block that ends with `error`; None if it closes nothing: the
    connection is closed, or the worker ends the task and closes by itself."""
    if error is None:
        return 1000
    return 1011 if isinstance(error, Exception) and not isinstance(error, ConnectionClosed) else None


F = TypeVar("F", bound=BaseWebSocket)


def with_native_methods(cls: type[F], names: Mapping[str, str]) -> type[F]:
    """A subclass of `cls` whose objects hold methods of their session: `names` says under which name which.

    A slot of the subclass goes before the method of the same name in `cls`, so a call through it costs what a call of
    the session's method costs. Name and text are those of `cls`: for everyone else it is the same class.
    """
    held = tuple(names.items())

    def __init__(self: F, session: Session) -> None:
        self._session = session
        for name, of_session in held:
            setattr(self, name, getattr(session, of_session))

    namespace: dict[str, Any] = {
        "__slots__": {name: getattr(cls, name).__doc__ for name in names},
        "__init__": __init__,
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
    }
    return cast("type[F]", type(cls.__name__, (cls,), namespace))
