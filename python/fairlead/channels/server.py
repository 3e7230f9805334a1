"""The server to the channels for programs outside the workers: a thread of the master that serves --channels-socket and
--channels-http, and forgets the members of other instances that died.

Sockets, times and bounds are here; what is said is session.py and http.py. The invariants: the
master's loop never waits for this thread, and no client makes this thread wait, since every socket is non-blocking
and every client has bounds. Nothing wakes the thread while nobody is connected and no file is shared; while somebody
is subscribed it looks into the log every `LOOK_EVERY_S`, because a process without a loop of the engine has no place
in the log to be woken at.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Protocol, Union

from fairlead._native import Channels
from fairlead.channels.http import HttpSession
from fairlead.channels.session import LineSession
from fairlead.channels.waiting import PATIENCE_S
from fairlead.channels.wire import line
from fairlead.errors import ChannelsError
from fairlead.logs import Log
from fairlead.os_threads import Latch, allocate_lock, start_thread

Session = Union[LineSession, HttpSession]

#: Clients at a time of each kind, and strangers besides, who have not shown the token yet: of these the oldest goes
#: when one more comes, so that they keep nobody out who has it.
MOST_CLIENTS = 256
LOOK_EVERY_S = 0.05
#: After something was said to the server it looks sooner, but not more often than this.
LOOK_SOON_S = 0.002
#: How often members of dead processes are looked for when other instances share the file.
SWEEP_EVERY_S = 3.0
#: How long a client may take nothing while something waits for it, and leave a request incomplete.
STALL_S = 10.0
REQUEST_S = 30.0
#: How long a client of the HTTP address may take to show the token: a head fits one packet.
TOKEN_S = 5.0
#: Lingering close: how long a connection that has ended waits for the client to read what was sent last.
LINGERING_CLOSE_S = 2.0
#: How often times are looked at while there is a time to look at, and how long to wait when no descriptor is left.
_TICK_S = 1.0

#: accept(2) tells what went wrong with the network of one client, too: the next one may be fine.
_OF_ONE_CLIENT = (
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.ENOPROTOOPT, errno.ENONET, errno.EOPNOTSUPP,
)  # fmt: skip

_READ = 256 * 1024


#: Pieces that one client is sent in a row, then it is another's turn.
_SENDS = 64


class Listener(Protocol):
    """A bound socket of the master's; `kind` is the option that it comes from."""

    @property
    def kind(self) -> str: ...
    @property
    def socket(self) -> socket.socket: ...
    def close(self) -> None: ...


class _Client:
    """One connection."""

    def __init__(self, connection: socket.socket, kind: str, session: Session, now: float) -> None:
        self.socket = connection
        self.kind = kind
        self.session = session
        self.events = selectors.EVENT_READ
        #: When something came, since when it takes nothing of what waits, when the present request began.
        self.came_at = self.heard_at = self.taken_at = now
        self.partial_at: float | None = None
        self.waits = False
        #: Since when its request waits for the channels' lock.
        self.held_at: float | None = None
        #: When it is cut, once what was sent last has left.
        self.cut_at: float | None = None


class ChannelsServer:
    """The thread. Make it, `start` it, `refuse` new clients when the stop begins, `close` it at the end."""

    def __init__(
        self,
        channels: Channels,
        log: Log,
        listeners: Sequence[Listener],
        token: bytes = b"",
        *,
        sweeps: bool = False,
        stall_s: float = STALL_S,
        request_s: float = REQUEST_S,
        token_s: float = TOKEN_S,
        patience_s: float = PATIENCE_S,
        most_clients: int = MOST_CLIENTS,
    ) -> None:
        """`listeners` become the server's. `sweeps`: other instances share the channels."""
        self._channels = channels
        self._renewed: Channels | None = None
        self._log = log
        self._listeners = list(listeners)
        self._token = token
        self._stall_s, self._request_s, self._token_s = stall_s, request_s, token_s
        self._most_clients = most_clients
        self._patience_s = patience_s
        self._sweep_at = 0.0 if sweeps else None
        self._sweep_failed = False
        self._selector = selectors.DefaultSelector()
        self._clients: set[_Client] = set()
        self._accepts_at: float | None = None
        self._looked_at = self._look_at = 0.0
        self._lock = allocate_lock()
        self._refuses = self._ends = False
        self._ended = Latch()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def start(self) -> None:
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        for listener in self._listeners:
            listener.socket.setblocking(False)
            self._selector.register(listener.socket, selectors.EVENT_READ, listener)
        start_thread(self._run, "fairlead-server")

    def refuse(self) -> None:
        """Take no new clients; the addresses are free from now on. Those who are there stay."""
        self._refuses = True
        self._wake()

    def renew(self, channels: Channels) -> None:
        """Serve these channels from now on. Clients that are there came for others: they are told to come again."""
        self._renewed = channels
        self._wake()

    def close(self, timeout_s: float = 2.0) -> None:
        """End all connections. Waits at most `timeout_s` for the thread."""
        self._refuses = self._ends = True
        self._wake()
        if self._ended.wait(timeout_s):
            self._wake_reader.close()
            self._wake_writer.close()
        self._close_listeners()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _close_listeners(self) -> None:
        with self._lock:
            for listener in self._listeners:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(listener.socket)
                listener.close()
            self._listeners.clear()

    # -- the thread

    def _run(self) -> None:
        try:
            while not self._ends:
                self._turn()
            for client in list(self._clients):
                client.session.end("the instance is stopping")
                self._flush(client, time.monotonic())
        except Exception as error:
            self._log.exception("the channels' server is closed by an error of its own", error)
        finally:
            self._close_listeners()
            for client in list(self._clients):
                self._drop(client)
            self._selector.close()
            self._ended.set()

    def _turn(self) -> None:
        events = self._selector.select(self._wait_s())
        now = time.monotonic()
        if self._refuses and self._listeners:
            self._close_listeners()
        if self._renewed is not None:
            self._channels, self._renewed = self._renewed, None
            for client in list(self._clients):
                client.session.end("the channels were made anew")
                self._flush(client, now)
        for key, mask in events:
            if key.fileobj is self._wake_reader:
                with contextlib.suppress(OSError):
                    self._wake_reader.recv(4096)
            elif not isinstance(key.data, _Client):
                if not self._refuses:
                    self._accept(key.data, now)
            elif key.data in self._clients:
                self._serve(key.data, mask, now)
                self._look_at = min(self._look_at, self._looked_at + LOOK_SOON_S)
        self._on_time(now)

    def _wait_s(self) -> float | None:
        now = time.monotonic()
        if any(client.session.is_subscribed or client.session.is_held for client in self._clients):
            return max(0.0, self._look_at - now)
        waits = [] if self._sweep_at is None else [max(0.0, self._sweep_at - now)]
        if self._clients or self._accepts_at is not None:
            waits.append(_TICK_S)
        return min(waits) if waits else None

    def _accept(self, listener: Listener, now: float) -> None:
        try:
            connection, _ = listener.socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            if error.errno in _OF_ONE_CLIENT:
                return
            # Mostly a lack of descriptors or memory. Whatever it is, the address stays open: the connection stays in
            # the queue, and the listener readable, so look away for a while.
            self._log.warning(
                f"the channels' server takes no client for {_TICK_S:g} s: {(error.strerror or '').lower()}"
            )
            self._listen(False)
            self._accepts_at = now + _TICK_S
            return
        connection.setblocking(False)
        beside = [client for client in self._clients if client.kind == listener.kind]
        strangers = [client for client in beside if not client.session.is_known]
        if len(beside) - len(strangers) >= self._most_clients:
            text = f"{self._most_clients} clients are connected already, which is all that can be"
            answer = line({"error": "too-many-clients", "message": text})
            if listener.kind == "channels-http":
                answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            with contextlib.suppress(OSError):
                connection.send(answer)
            connection.close()
            return
        if len(strangers) >= self._most_clients:
            self._drop(min(strangers, key=lambda client: client.came_at))
        if listener.kind == "channels-http":
            session: Session = HttpSession(self._channels, self._token)
        else:
            session = LineSession(self._channels)
        client = _Client(connection, listener.kind, session, now)
        self._clients.add(client)
        self._selector.register(connection, client.events, client)
        self._flush(client, now)

    def _listen(self, listens: bool) -> None:
        for listener in self._listeners:
            if listens:
                self._selector.register(listener.socket, selectors.EVENT_READ, listener)
            else:
                self._selector.unregister(listener.socket)

    def _serve(self, client: _Client, mask: int, now: float) -> None:
        """One turn of one client. A fault in here is that client's end, not the server's."""
        try:
            if mask & selectors.EVENT_READ:
                data = client.socket.recv(_READ)
                if not data:
                    self._drop(client)
                    return
                client.heard_at = now
                if not client.session.is_over:
                    client.session.receive(data)
            self._flush(client, now)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(client)
        except Exception as error:
            self._log.exception("a client of the channels' server is cut", error)
            self._drop(client)

    def _flush(self, client: _Client, now: float) -> None:
        """Send what leaves at once, and do what the room allows."""
        session, outbox = client.session, client.session.outbox
        if not client.waits:
            client.taken_at = now
        try:
            for _ in range(_SENDS):
                if not outbox.size:
                    break
                sent = client.socket.send(outbox.head())
                outbox.took(sent)
                client.taken_at = now
                if not outbox.size:
                    session.go_on()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(client)
            return
        client.waits = outbox.size > 0
        if session.is_over and not client.waits and client.cut_at is None:
            # Closing with unread data would take back what was said last: tell the end, read on for a while.
            client.cut_at = now + LINGERING_CLOSE_S
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)
        client.partial_at = (client.partial_at or now) if session.is_partial else None
        reads = session.wants_input or client.cut_at is not None
        events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if outbox.size else 0)
        if events != client.events:
            if client.events == 0:
                self._selector.register(client.socket, events, client)
            elif events == 0:
                self._selector.unregister(client.socket)
            else:
                self._selector.modify(client.socket, events, client)
            client.events = events

    def _on_time(self, now: float) -> None:
        if self._accepts_at is not None and self._accepts_at <= now:
            self._accepts_at = None
            self._listen(True)
        if self._sweep_at is not None and self._sweep_at <= now:
            self._sweep()
            self._sweep_at = now + SWEEP_EVERY_S
        looks, is_readable = self._look_at <= now, True
        if looks:
            self._looked_at, self._look_at = now, now + LOOK_EVERY_S
            self._retry(now)
        for client in list(self._clients):
            session = client.session
            if looks and session.is_subscribed:
                is_readable = is_readable and session.pump()
                self._flush(client, now)
            if client not in self._clients:
                continue
            if client.cut_at is not None:
                if client.cut_at <= now:
                    self._drop(client)
            elif session.outbox.size and client.taken_at + self._stall_s <= now:
                if session.is_over:
                    self._drop(client)
                else:
                    session.end_slow(self._stall_s)
                    client.taken_at = now
                    self._flush(client, now)
            elif not session.is_known and not session.is_over and client.came_at + self._token_s <= now:
                # Silence is answered with silence.
                if client.partial_at is None:
                    self._drop(client)
                else:
                    session.end_partial(self._token_s)
                    self._flush(client, now)
            elif client.partial_at is not None and client.partial_at + self._request_s <= now:
                session.end_partial(self._request_s)
                self._flush(client, now)
            elif session.idle_s is not None and client.heard_at + session.idle_s <= now and not session.outbox.size:
                self._drop(client)

    def _retry(self, now: float) -> None:
        """Requests that wait for the channels' lock: each try costs a little time, so one that fails is enough."""
        is_free = True
        for client in self._clients:
            session = client.session
            if not session.is_held:
                continue
            client.held_at = now if client.held_at is None else client.held_at
            is_free = is_free and session.retry()
            if session.is_held and client.held_at + self._patience_s <= now:
                session.give_up()
        for client in list(self._clients):
            if client.held_at is not None and not client.session.is_held:
                client.held_at = None
                self._flush(client, now)

    def _sweep(self) -> None:
        """Whoever notices lets go of the members of a dead instance: its own master is dead as well."""
        try:
            self._channels.forget_dead()
            self._sweep_failed = False
        except ChannelsError as error:
            if not self._sweep_failed:
                self._log.warning(f"the members of instances that have ended may still be counted: {error}")
            self._sweep_failed = True

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.socket)
        client.socket.close()
