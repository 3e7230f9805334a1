"""One client of --channels-socket, without its socket: bytes in, bytes out (the protocol is wire.py).

Requests are answered in order. What waits for a client is bounded: it is asked for no more requests, and a subscription
reads no more from the log, while `HIGH` bytes wait. A subscriber that is late therefore costs no memory; the log
overtakes it, and it is told how much it missed.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from fairlead._native import Channels
from fairlead.channels.wire import VERSION, BadLine, Reader, data_of, line, message_frame
from fairlead.errors import ChannelsBusy, ChannelsError

#: Bytes that wait for a client before it is served no further, and bytes of history that are read at a time.
HIGH = 256 * 1024
PAGE = 1024 * 1024

#: SQLite's and C's largest integer: what an offset or a limit can be.
_MOST = 2**63 - 1


class Outbox:
    """Bytes on their way to one client, in the pieces they were given in."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self.size = 0
        #: Bytes of the first piece that have left.
        self._sent = 0

    def put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def head(self) -> memoryview:
        """What is to leave next; empty if nothing waits."""
        return memoryview(self._pieces[0])[self._sent :] if self._pieces else memoryview(b"")

    def took(self, count: int) -> None:
        """So many bytes of `head` have left."""
        self.size -= count
        self._sent += count
        if self._sent == len(self._pieces[0]):
            self._pieces.popleft()
            self._sent = 0

    def keep_first(self) -> None:
        """Forget all but the piece that has left in part: a client must see whole frames."""
        while len(self._pieces) > (1 if self._sent else 0):
            self.size -= len(self._pieces.pop())


class BaseSession:
    """What both kinds of session have: bytes on their way to the client, and a request that waits for the lock of the
    channels, because somebody has it who does not move."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self.outbox = Outbox()
        #: Nothing more is read; the connection ends when the outbox is empty.
        self.is_over = False
        #: Of the request that waits for the lock: what tries it again, and what answers that it cannot be done.
        self._held: tuple[Callable[[], None], Callable[[], None]] | None = None

    @property
    def wants_input(self) -> bool:
        return not self.is_over and self._held is None and self.outbox.size < HIGH

    @property
    def is_held(self) -> bool:
        """A request waits for the channels' lock."""
        return self._held is not None

    def retry(self) -> bool:
        """Try the request again that waits for the lock. False if it still waits."""
        if self._held is not None:
            (again, _), self._held = self._held, None
            again()
            self.go_on()
        return self._held is None

    def give_up(self) -> None:
        """Answer the request that waits for the lock: it cannot be done."""
        if self._held is not None:
            (_, refuse), self._held = self._held, None
            refuse()
            self.go_on()

    def go_on(self) -> None:
        """Do what there is to do until enough waits for the client."""
        raise NotImplementedError


class LineSession(BaseSession):
    """What one client asked for, and what it gets."""

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels)
        self._reader = Reader(channels.longest_message)
        self._subscribed = ""
        self._cursor = 0
        self._is_behind = False
        self.outbox.put(
            line({"fairlead-channels": VERSION, "max_message": channels.longest_message, "pid": os.getpid()})
        )

    #: A client may be silent for as long as it likes.
    idle_s: float | None = None
    #: Who may open the socket may use it.
    is_known = True

    @property
    def is_partial(self) -> bool:
        """A request has begun to come and is not complete."""
        return self.wants_input and not self._subscribed and self._reader.is_partial

    @property
    def is_subscribed(self) -> bool:
        return bool(self._subscribed) and not self.is_over

    def receive(self, data: bytes) -> None:
        """Take what the client sent, and answer what is complete."""
        self._reader.feed(data)
        self.go_on()

    def go_on(self) -> None:
        try:
            while self.wants_input:
                if self._subscribed:
                    if self._reader.is_partial:
                        self._refuse("bad-request", "a connection that is subscribed takes no further request")
                    if not self._is_behind:
                        return
                    self.pump()
                    continue
                frame = self._reader.next_nowait()
                if frame is None:
                    return
                self._answer(*frame)
        except BadLine as error:
            self._refuse("bad-request", str(error))

    def pump(self) -> bool:
        """Send a subscriber what is new, as far as it takes it. False: the log cannot be read at present."""
        if not self.is_subscribed:
            return True
        if self.outbox.size >= HIGH:
            self._is_behind = True  # to go on as soon as there is room
            return True
        try:
            page = self._channels.page(self._subscribed, self._cursor, _MOST, HIGH)
        except ChannelsError:
            self._is_behind = False  # the next round tries again
            return False
        self._is_behind = not page.is_all
        if page.offset == 0:  # not made yet, or forgotten while nobody was a member: the next message makes it
            return True
        if page.missed != 0 and (page.messages or page.offset != self._cursor):
            self.outbox.put(line({"missed": page.missed}))
        for number, data in page.messages:
            self.outbox.put(message_frame(number, data))
        self._cursor = page.messages[-1][0] if page.messages else page.offset
        return True

    def end_slow(self, waited_s: float) -> None:
        """Give up a client that takes nothing. What it has in part is completed, so that it can read the reason."""
        self.outbox.keep_first()
        what = "end" if self._subscribed else "error"
        text = f"slow consumer: nothing was taken for {waited_s:g} s"
        self.outbox.put(line({what: "slow", "message": text}))
        self.is_over = True

    def end_partial(self, waited_s: float) -> None:
        """Give up a request that does not become complete."""
        self._refuse("timeout", f"a request was not complete after {waited_s:g} s")

    def end(self, why: str) -> None:
        """The server ends it."""
        if self._subscribed and not self.is_over:
            self.outbox.put(line({"end": "stopping", "message": why}))
        self.is_over = True

    def _refuse(self, code: str, text: str) -> None:
        """An error behind which nothing can be understood."""
        what = "end" if self._subscribed else "error"
        self.outbox.put(line({what: code, "message": text}))
        self.is_over = True

    def _answer(self, request: dict[str, Any], payload: bytes | None) -> None:
        do = request.get("do")
        work = _WORK.get(do) if isinstance(do, str) else None
        try:
            if work is None:
                raise _Refused("bad-request", f'"do" is one of {", ".join(_WORK)}')
            work(self, request, payload)
        except _Refused as error:
            self._error(error.code, str(error))
        except UnicodeDecodeError:
            self._error("bad-text", "a message of kind text is UTF-8")
        except ValueError as error:
            self._error("bad-value", str(error))
        except ChannelsBusy as error:
            why = str(error)
            self._held = (lambda: self._answer(request, payload), lambda: self._error("unavailable", why))
        except ChannelsError as error:
            self._error("unavailable", str(error))

    def _error(self, code: str, text: str) -> None:
        self.outbox.put(line({"error": code, "message": text}))

    def _publish(self, request: dict[str, Any], payload: bytes | None) -> None:
        kind = request.get("kind")
        if kind not in ("text", "binary") or "length" not in request:
            raise _Refused("bad-request", 'publish needs "length" and a "kind", text or binary')
        if payload is None:
            longest = self._channels.longest_message
            text = f"the message has {request['length']} bytes, and {longest} are allowed (--channels-max-message)"
            raise _Refused("too-long", text)
        offset = self._channels.publish(_name(request), data_of(kind, payload))
        self.outbox.put(line({"ok": True, "offset": offset}))

    def _history(self, request: dict[str, Any], payload: bytes | None) -> None:
        since, limit = _number(request, "since"), _number(request, "limit")
        if since is None and limit is None:
            since = 0
        limit = _MOST if limit is None else limit
        page = self._channels.page(_name(request), since, limit, PAGE)
        messages = page.messages
        more = not page.is_all and len(messages) < limit
        about = {"count": len(messages), "more": more, "offset": page.offset, "missed": page.missed}
        self.outbox.put(line({"ok": True, **about}))
        for number, data in messages:
            self.outbox.put(message_frame(number, data))

    def _members(self, request: dict[str, Any], payload: bytes | None) -> None:
        self.outbox.put(line({"ok": True, "members": self._channels.members(_name(request))}))

    def _list(self, request: dict[str, Any], payload: bytes | None) -> None:
        log = self._channels.log_size
        facts = {
            "channels": [{name: getattr(one, name) for name in CHANNEL_FACTS} for one in self._channels.list()],
            "workers": [{name: getattr(one, name) for name in WORKER_FACTS} for one in self._channels.workers()],
            "log": {"bytes": log.size, "used": log.used},
        }
        text = json.dumps(facts, separators=(",", ":")).encode()
        self.outbox.put(line({"ok": True, "length": len(text)}) + text)

    def _subscribe(self, request: dict[str, Any], payload: bytes | None) -> None:
        name, since = _name(request), _number(request, "since")
        page = self._channels.page(name, since, 1, 0)
        first = page.messages
        # The answer tells what is lost up to here, the stream what is lost from here on.
        self._cursor = first[0][0] - 1 if first and since is not None else page.offset
        self.outbox.put(line({"ok": True, "offset": self._cursor, "missed": page.missed}))
        self._is_behind = self._cursor < page.offset
        self._subscribed = name


#: What `list` tells of each.
CHANNEL_FACTS = ("name", "members", "messages", "bytes", "offset")
WORKER_FACTS = ("pid", "lag", "overtaken", "delivered", "dropped")

_WORK = {
    "publish": LineSession._publish,
    "history": LineSession._history,
    "members": LineSession._members,
    "list": LineSession._list,
    "subscribe": LineSession._subscribe,
}


class _Refused(Exception):
    """A request that cannot be done; the connection goes on."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def _name(request: dict[str, Any]) -> str:
    name = request.get("channel")
    if not isinstance(name, str):
        raise _Refused("bad-request", '"channel" is the name of a channel')
    return name


def _number(request: dict[str, Any], key: str) -> int | None:
    number = request.get(key)
    if number is not None and (type(number) is not int or not 0 <= number <= _MOST):
        raise _Refused("bad-request", f'"{key}" is a whole number from 0 up')
    return number
