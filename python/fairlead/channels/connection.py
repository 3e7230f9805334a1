"""One connection of another program to an instance's --channels-socket: frames out, frames in, and what can go wrong.

Whether to connect again and what to repeat is client.py's business. The invariant: a call ends at its
deadline, and its exception tells whether the connection can be used further: yes after Refused, and after TimedOut if
nothing was asked for; else no.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from fairlead.channels.wire import VERSION, BadLine, Message, Reader, data_of
from fairlead.errors import ChannelsError
from fairlead.os_threads import LONGEST_SLEEP_S

#: A payload that an instance may send: the answer to `list` grows with the number of channels.
_LONGEST_PAYLOAD = 2**31

Messages = list[Message]


class Lost(Exception):
    """The connection has ended before the answer came."""


class Connection:
    """One connection, used by one thread at a time."""

    def __init__(self, path: str, timeout: float | None) -> None:
        self.path = path
        self._reader = Reader(_LONGEST_PAYLOAD)
        self._socket = _connected(path, timeout)
        try:
            greeting, _ = self.receive(deadline_after(timeout))
            if "error" in greeting:
                raise ChannelsError(f"{path}: {greeting.get('message')}")
            if greeting.get("fairlead-channels") != VERSION:
                found = greeting.get("fairlead-channels")
                raise ChannelsError(f"{path} speaks version {found} of the protocol and this program version {VERSION}")
        except Lost:
            self.close()
            raise ChannelsError(f"{path}: the instance has ended the connection at once; try again") from None
        except BadLine:
            self.close()
            raise ChannelsError(f"{path} is no socket of Fairlead's channels (--channels-socket)") from None
        except BaseException:
            self.close()
            raise
        self.longest: int = greeting["max_message"]
        self.pid: int = greeting["pid"]

    def close(self) -> None:
        self._socket.close()

    def interrupt(self) -> None:
        """Wake a thread that waits in `receive`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def is_stale(self) -> bool:
        """Whether the other side has ended it since the last answer."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            pass
        return True  # nothing comes unasked but the end, and perhaps a last word about it

    def send(self, frame: bytes, deadline: float | None) -> None:
        """Raises Lost: the instance has not got all of it."""
        try:
            self._socket.settimeout(left_until(deadline))
            self._socket.sendall(frame)
        except TimeoutError:
            self._timed_out()
        except OSError:
            raise Lost from None

    def receive(self, deadline: float | None) -> tuple[dict[str, Any], bytes]:
        """The next frame. Raises Lost, BadLine, and ChannelsError when it takes too long."""
        while True:
            frame = self._reader.next_nowait()
            if frame is not None:
                header, payload = frame
                return header, payload or b""
            try:
                self._socket.settimeout(left_until(deadline))
                data = self._socket.recv(256 * 1024)
            except TimeoutError:
                self._timed_out()
            except OSError:
                raise Lost from None
            if not data:
                raise Lost
            self._reader.feed(data)

    def _timed_out(self) -> NoReturn:
        raise TimedOut(f"{self.path}: the instance has not answered in time")


class TimedOut(ChannelsError):
    """No answer in time; whether the request was carried out is not known."""


class Refused(Exception):
    """The instance answered with an error."""

    def __init__(self, code: object, text: str) -> None:
        super().__init__(text)
        self.code = code


def answer_of(connection: Connection, do: str, deadline: float | None) -> tuple[dict[str, Any], Messages]:
    """The answer to a request, with the messages behind it. Raises Refused, and what `Connection.receive` raises."""
    answer, payload = connection.receive(deadline)
    if "error" in answer:
        raise Refused(answer["error"], str(answer.get("message")))
    if do == "list":
        answer["facts"] = json.loads(payload)
    messages = []
    for _ in range(answer.get("count", 0)):
        header, data = connection.receive(deadline)
        messages.append(message_of(header, data))
    return answer, messages


def message_of(header: Mapping[str, Any], payload: bytes) -> Message:
    """The message in a frame. Raises BadLine."""
    try:
        return Message(header["offset"], data_of(header.get("kind"), payload))
    except (KeyError, UnicodeDecodeError):
        raise BadLine("this is no message") from None


def raise_for(error: Refused, path: str) -> NoReturn:
    """The instance's error as ours: a bad value is the caller's."""
    if error.code in ("bad-value", "too-long", "bad-text"):
        raise ValueError(str(error)) from None
    raise ChannelsError(f"{path}: {error}") from None


def _connected(path: str, timeout: float | None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(left_until(deadline_after(timeout)))
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise ChannelsError(f"{path}: {_why(error)}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _why(error: OSError) -> str:
    reasons = {
        errno.ENOENT: "there is no such socket; is an instance with this --channels-socket running?",
        errno.ECONNREFUSED: "nobody listens at this socket; the instance has ended",
        errno.EACCES: "permission denied; see --channels-socket-mode, and who may enter the folder",
        errno.EAGAIN: "the instance has too many connections to answer; try again",
        errno.ENOTSOCK: "this is no socket",
        errno.EPROTOTYPE: "this is no socket of Fairlead's channels",
    }
    if isinstance(error, TimeoutError):
        return "the instance has not answered in time"
    return reasons.get(error.errno or 0) or (error.strerror or str(error)).lower()


def deadline_after(timeout: float | None) -> float | None:
    """The moment on the monotonic clock; None is never. Raises TypeError and ValueError for what is no time."""
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)):
        raise TypeError(f"a time-out is a number of seconds, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"{timeout} is not a number of seconds; give 0 or more")
    return time.monotonic() + timeout


def left_until(deadline: float | None) -> float | None:
    """For settimeout, where 0 would mean something else, and what is too long is an OverflowError."""
    return None if deadline is None else min(max(0.001, deadline - time.monotonic()), LONGEST_SLEEP_S)
