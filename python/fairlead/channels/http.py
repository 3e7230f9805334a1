"""One client of --channels-http, without its socket: HTTP/1.1 requests in, JSON out.

    POST /channels/NAME                  the body is published: text for text/* and application/json, else binary
    GET /channels/NAME?since=O&limit=N   what was published before

Every request needs `Authorization: Bearer TOKEN` (RFC 6750 §2.1), whatever it asks for: without it nothing is told.
This is a small server for programs of the operator, not the front (crates/front): no chunked bodies, no ranges,
nothing that a browser needs. Limits: `LONGEST_HEAD`, one message as the body, and the server's time-outs.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from fairlead._native import Channels
from fairlead.channels.session import PAGE, BaseSession
from fairlead.errors import ChannelsBusy, ChannelsError

#: Bytes of a request line and its headers.
LONGEST_HEAD = 8192

#: Messages of an answer, unless the client asks for another number, and at most.
USUAL_LIMIT, LARGEST_LIMIT = 100, 10_000

_PREFIX = "/channels/"

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!-~]*) HTTP/1\.([01])")
#: RFC 9112 §5: a name, a colon at once, and a value without control characters.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


class _Refused(Exception):
    """An answer that is an error. `ends`: what follows on the connection cannot be understood."""

    def __init__(self, status: int, text: str, *, ends: bool = False, **headers: str) -> None:
        super().__init__(text)
        self.status, self.ends, self.headers = status, ends, headers


class _Head:
    """Request line and headers, checked."""

    def __init__(self, text: bytes, longest: int, token: bytes) -> None:
        first, *lines = text.split(b"\r\n")
        request = _REQUEST_LINE.fullmatch(first)
        if request is None:
            raise _Refused(400, "this is no request of HTTP/1.1", ends=True)
        version: bytes = request[3]
        target: str = request[2].decode()
        self.method: str = request[1].decode()
        self.path, _, self.query = target.partition("?")
        self.fields: dict[bytes, bytes] = {}
        for one in lines:
            field = _FIELD.fullmatch(one)
            if field is None:
                raise _Refused(400, "a header line has no valid form", ends=True)
            name, value = field[1].lower(), field[2].strip()
            if name in self.fields and name in (b"content-length", b"authorization", b"transfer-encoding", b"host"):
                raise _Refused(400, f"the header {name.decode()} is there twice", ends=True)
            self.fields[name] = value
        options = self.fields.get(b"connection", b"").lower()
        self.is_last = version == b"0" or b"close" in options
        self.waits_for_100 = self.fields.get(b"expect", b"").lower() == b"100-continue"
        self.length = self._length(longest, token)

    def _length(self, longest: int, token: bytes) -> int:
        """Bytes of the body. Checks first who asks: an unknown client shall send no body."""
        scheme, _, given = self.fields.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token):
            text = "the header Authorization needs Bearer and the token"
            raise _Refused(401, text, ends=True, **{"WWW-Authenticate": "Bearer"})
        if b"transfer-encoding" in self.fields:
            raise _Refused(411, "a chunked body is not read here; send Content-Length", ends=True)
        length = self.fields.get(b"content-length")
        if length is None and self.method == "POST":
            raise _Refused(411, "POST needs Content-Length", ends=True)
        if not re.fullmatch(rb"[0-9]{1,18}", length or b"0"):
            raise _Refused(400, "Content-Length is a number of bytes", ends=True)
        if int(length or 0) > longest:
            text = f"the message has {int(length or 0)} bytes, and {longest} are allowed (--channels-max-message)"
            raise _Refused(413, text, ends=True)
        return int(length or 0)


class HttpSession(BaseSession):
    """What one HTTP client asked for, and what it gets."""

    #: Seconds that a connection may stay open without a request.
    idle_s: float | None = 60.0
    #: Only the line protocol subscribes.
    is_subscribed = False

    def __init__(self, channels: Channels, token: bytes) -> None:
        super().__init__(channels)
        self._token = token
        self._buffer = bytearray()
        self._head: _Head | None = None
        #: The client has shown the token.
        self.is_known = False

    @property
    def is_partial(self) -> bool:
        """A request has begun to come and is not complete."""
        return self.wants_input and (self._head is not None or bool(self._buffer))

    def receive(self, data: bytes) -> None:
        """Take what the client sent, and answer what is complete."""
        self._buffer += data
        self.go_on()

    def go_on(self) -> None:
        while self.wants_input:
            try:
                if not self._answer_next():
                    return
            except _Refused as error:
                self._head = None
                self._put(error.status, {"error": str(error)}, error.ends, error.headers)

    def pump(self) -> bool:
        """Nothing is sent unasked."""
        return True

    def end_slow(self, waited_s: float) -> None:
        """Give up a client that takes nothing: HTTP has no place for a reason inside an answer."""
        self.outbox.keep_first()
        self.is_over = True

    def end_partial(self, waited_s: float) -> None:
        """Give up a request that does not become complete."""
        self._put(408, {"error": f"the request was not complete after {waited_s:g} s"}, True, {})

    def end(self, why: str) -> None:
        """The server ends it."""
        self.is_over = True

    def _answer_next(self) -> bool:
        """Answers one request; False if none is complete."""
        if self._head is None:
            while self._buffer.startswith(b"\r\n"):  # RFC 9112 §2.2: empty lines before a request are skipped
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n")
            if end > LONGEST_HEAD or (end < 0 and len(self._buffer) > LONGEST_HEAD):
                raise _Refused(431, f"request line and headers have at most {LONGEST_HEAD} bytes", ends=True)
            if end < 0:
                return False
            text = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._head = _Head(text, self._channels.longest_message, self._token)
            self.is_known = True
            if self._head.waits_for_100 and len(self._buffer) < self._head.length:
                self.outbox.put(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = self._head
        if len(self._buffer) < head.length:
            return False
        body = bytes(self._buffer[: head.length])
        del self._buffer[: head.length]
        self._head = None
        self._answer(head, body)
        return True

    def _answer(self, head: _Head, body: bytes) -> None:
        try:
            answer = self._do(head, body)
        except _Refused as error:
            self._put(error.status, {"error": str(error)}, head.is_last, error.headers)
        except (ValueError, UnicodeError) as error:
            self._put(400, {"error": str(error)}, head.is_last, {})
        except ChannelsBusy as error:
            refusal = {"error": str(error)}
            self._held = (lambda: self._answer(head, body), lambda: self._put(503, refusal, head.is_last, {}))
        except ChannelsError as error:
            self._put(503, {"error": str(error)}, head.is_last, {})
        else:
            self._put(200, answer, head.is_last, {})

    def _do(self, head: _Head, body: bytes) -> dict[str, Any]:
        if not head.path.startswith(_PREFIX) or head.path == _PREFIX:
            raise _Refused(404, "there is nothing but /channels/NAME")
        if head.method not in ("GET", "POST"):
            raise _Refused(405, "only GET and POST are possible", Allow="GET, POST")
        try:
            name = unquote_to_bytes(head.path[len(_PREFIX) :]).decode()
        except UnicodeDecodeError:
            raise _Refused(400, "the name of a channel is UTF-8") from None
        return self._publish(name, head, body) if head.method == "POST" else self._history(name, head.query)

    def _publish(self, name: str, head: _Head, body: bytes) -> dict[str, Any]:
        kind = head.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        data: str | bytes = body
        if kind.startswith(b"text/") or kind == b"application/json":
            try:
                data = body.decode()
            except UnicodeDecodeError:
                raise _Refused(400, "a text is UTF-8; send other bytes as application/octet-stream") from None
        return {"offset": self._channels.publish(name, data)}

    def _history(self, name: str, query: str) -> dict[str, Any]:
        asked: dict[str, int] = {}
        for key, value in parse_qsl(query, keep_blank_values=True):
            if key not in ("since", "limit") or not re.fullmatch("[0-9]{1,18}", value):
                raise _Refused(400, "the query can have since=OFFSET and limit=NUMBER")
            asked[key] = int(value)
        limit = min(asked.get("limit", USUAL_LIMIT), LARGEST_LIMIT)
        page = self._channels.page(name, asked.get("since"), limit, PAGE)
        shown = [{"offset": number, **_shown(data)} for number, data in page.messages]
        return {"messages": shown, "offset": page.offset, "missed": page.missed, "more": not page.is_all}

    def _put(self, status: int, answer: dict[str, Any], is_last: bool, headers: dict[str, str]) -> None:
        body = json.dumps(answer).encode() + b"\n"
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            *(f"{name}: {value}" for name, value in headers.items()),
            *(["Connection: close"] if is_last else []),
        ]
        self.outbox.put("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.is_over = self.is_over or is_last


def _shown(data: str | bytes) -> dict[str, str]:
    if isinstance(data, str):
        return {"text": data}
    return {"binary": base64.b64encode(data).decode()}
