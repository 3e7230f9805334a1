"""uWSGI's channel calls of January 2013, over Fairlead's channels (compat §1.6).

The members of a channel are requests. One of type 1, by `channel_join`, is a subscription, from which `channel_recv`
takes. One of type 2, by `websocket_channel_join`, is the client's own membership: the engine forwards whatever the
application does; `channel_recv` of such a one has a subscription from its first call on. What a request has joined
lies with its task, and is closed at the task's end. Names are those of `--channel`; `fairlead.channels` reaches the
same channels.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from fairlead import ChannelsError, ConnectionClosed, Session, WebSocket, channels
from fairlead.compat.uwsgi.arguments import NO_REQUEST, Text, integer, native, octets, public, request_of, task_of
from fairlead.compat.uwsgi.contract import Process

__all__ = ["channel_calls"]

#: uWSGI's dispatcher cuts what is longer without a word; here the call fails (compat §1.6).
_LONGEST = 65_536

_NO_CHANNEL = "unable to find channel"
_SEND = "unable to send channel message"
_RECEIVE = "unable to receive channel message"
_NO_HANDSHAKE = "unable to join channel: call uwsgi.websocket_handshake() before uwsgi.websocket_channel_join()"
_BLOCKING_IN_GENERATOR = (
    "a generator application waits by `yield`, and channel_recv() has nothing yet: let websocket_channel_join() "
    "forward the messages, take them with receive_nowait() of fairlead.channels.subscribe(), or start with "
    "--greenlet too"
)


class _Membership:
    """A request's membership of one channel; the session is None for type 1."""

    __slots__ = ("_limit", "_name", "_session", "is_over", "subscription")

    def __init__(self, name: str, session: Session | None, limit: int) -> None:
        """Raises ChannelsError."""
        self._name, self._session, self._limit = name, session, limit
        self.is_over = False
        self.subscription: channels.Subscription | None = None
        if session is None:
            self.subscribe()
        else:
            # Of a connection that is over the next WebSocket call tells; uWSGI's join does not look.
            with contextlib.suppress(ConnectionClosed):
                WebSocket(session).join(name, slow_consumer="drop-newest")

    def subscribe(self) -> channels.Subscription:
        if self.subscription is None:
            self.subscription = channels.subscribe(self._name, limit=self._limit, drops="newest")
        return self.subscription

    def close(self) -> None:
        """End it, and drop what is pending. Who waits for a message is told."""
        self.is_over = True
        if self.subscription is not None:
            self.subscription.close()
        if self._session is not None:
            self._session.leave(self._name)


def channel_calls(process: Process) -> dict[str, Any]:
    """The functions by name."""
    # Threads of one request may join at the same time. Nothing under it waits.
    changing = threading.Lock()

    def channel_join(name: str, /) -> None:
        _join(_declared("channel_join", name), for_client=False)

    def websocket_channel_join(name: str, /) -> None:
        _join(_declared("websocket_channel_join", name), for_client=True)

    def channel_leave(name: str, /) -> None:
        known = _declared("channel_leave", name)
        with changing:
            membership = _joined().pop(known, None)
        if membership is not None:
            membership.close()

    def channel_send(name: str, message: Text, /) -> None:
        known = _declared("channel_send", name)
        data = octets(message)
        if len(data) > _LONGEST:
            raise OSError(_SEND)
        try:
            channels.publish(known, _text_if_possible(data))
        except (ChannelsError, ValueError) as error:  # ValueError: --channels-max-message is less still
            raise OSError(_SEND) from error

    def channel_recv(name: str, timeout: int = -1, /) -> bytes | None:
        known = _declared("channel_recv", name)
        limit_s = _seconds(integer(timeout))
        with changing:
            membership = _joined().get(known)
        if membership is None:
            raise OSError(_RECEIVE)
        try:
            message = _take(membership, limit_s)
        except ChannelsError as error:
            raise OSError(_RECEIVE) from error
        except RuntimeError as error:
            if not membership.is_over:
                raise  # a call at the wrong place, which the text explains
            raise OSError(_RECEIVE) from error  # left meanwhile
        return None if message is None else octets(message.data)

    def _take(membership: _Membership, limit_s: float | None) -> channels.Message | None:
        with changing:
            subscription = membership.subscribe()
        if membership.is_over:  # left meanwhile, in another thread
            subscription.close()
        if process.async_calls.is_in_generator():
            message = subscription.receive_nowait()
            if message is None:
                raise RuntimeError(_BLOCKING_IN_GENERATOR)
            return message
        return subscription.receive(limit_s)

    def _join(name: str, *, for_client: bool) -> None:
        request = request_of()
        session = request.session if for_client else None
        with changing:
            joined = _joined()
            if name in joined:
                return  # the type stays what it is
            if for_client and session is None:
                raise OSError(_NO_HANDSHAKE)
            try:
                joined[name] = membership = _Membership(name, session, process.channel_queue)
            except ChannelsError as error:
                raise OSError("unable to join channel") from error
        # The request has ended while a thread of it joined: its task closes nothing any more.
        if request.is_complete:
            membership.close()
            raise SystemError(NO_REQUEST)

    def _joined() -> dict[str, _Membership]:
        """What the running request has joined, under the lock. Raises SystemError outside a request."""
        request_of()
        task = task_of(process)
        if task.memberships is None:
            task.memberships = {}
        return task.memberships

    def _declared(function: str, name: Any) -> str:
        known = native(function, name)
        if known not in process.channels:
            raise ValueError(_NO_CHANNEL)
        return known

    def _seconds(timeout: int) -> float | None:
        """None: for ever. compat §1.6: 0 is --socket-timeout, under gevent for ever."""
        if timeout > 0:
            return timeout
        return process.send_timeout_s if timeout == 0 and process.model != "gevent" else None

    return public(locals())


def _text_if_possible(data: bytes) -> Text:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
