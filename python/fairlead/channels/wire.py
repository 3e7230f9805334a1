"""The line protocol of --channels-socket, version 1: how headers and payloads lie on the wire, for both ends.

Only the form is here, without sockets. A frame is one line, a JSON object in UTF-8 that ends with a line feed; if
it has the key "length", so many bytes of payload follow as they are. A reader keeps at most one frame beyond what it
was fed, and what has another form raises BadLine: nothing behind it can be understood.

The server greets with `{"fairlead-channels": 1, "max_message": BYTES, "pid": PID}`. Each request is answered in order,
by `{"ok": true, …}` or `{"error": CODE, "message": TEXT}`:

    {"do": "publish", "channel": C, "kind": "text" or "binary", "length": N}
        {"ok": true, "offset": O}
    {"do": "history", "channel": C, "since": O or null, "limit": N or null}
        {"ok": true, "count": N, "more": true or false, "offset": O, "missed": M}
    {"do": "members", "channel": C}
        {"ok": true, "members": N}
    {"do": "list"}
        {"ok": true, "length": N} and a JSON object
    {"do": "subscribe", "channel": C, "since": O or null}
        {"ok": true, "offset": O, "missed": M}

Behind the answer of `history` come `count` messages, behind that of `subscribe` all that follow, and no request any
more. A message is `{"offset": O, "kind": K, "length": N}`; a gap is told by `{"missed": M}` before the message behind
it, where M is null if nobody knows how many; the end by `{"end": CODE, "message": TEXT}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Union

__all__ = ["LONGEST_LINE", "VERSION", "BadLine", "Message", "Reader", "data_of", "line", "message_frame", "payload_of"]

VERSION = 1

#: Bytes of a line. A name of 255 bytes, with each of them escaped, has 1,530.
LONGEST_LINE = 4096

Data = Union[str, bytes]


class Message(NamedTuple):
    """One message of a channel: `data` is str for text, bytes for binary."""

    offset: int
    data: Data


class BadLine(ValueError):
    """What came is no frame of this protocol."""


def line(header: Mapping[str, Any]) -> bytes:
    """A frame without payload."""
    return json.dumps(header, separators=(",", ":")).encode() + b"\n"


def payload_of(data: Data | bytearray | memoryview) -> tuple[str, bytes]:
    """Kind and payload of what is to be published. Raises TypeError, and UnicodeEncodeError for lone surrogates."""
    if isinstance(data, str):
        return "text", data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return "binary", bytes(data)
    raise TypeError(f"a message is str or bytes-like, not {type(data).__name__}")


def data_of(kind: object, payload: bytes) -> Data:
    """The inverse of `payload_of`. Raises UnicodeDecodeError for a text that is no UTF-8."""
    return payload.decode() if kind == "text" else payload


def message_frame(offset: int, data: Data) -> bytes:
    """A message on its way to a client."""
    kind, payload = payload_of(data)
    return line({"offset": offset, "kind": kind, "length": len(payload)}) + payload


class Reader:
    """Takes bytes as they come and gives frames."""

    def __init__(self, longest_payload: int) -> None:
        self._longest = longest_payload
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None
        self._searched = 0
        #: Bytes of a payload that was too long, which are still to come and are dropped.
        self._skip = 0

    @property
    def is_partial(self) -> bool:
        """A frame has begun and is not complete."""
        return bool(self._buffer) or self._header is not None or self._skip > 0

    def feed(self, data: bytes) -> None:
        if self._skip:
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            data = data[dropped:]
        self._buffer += data

    def next_nowait(self) -> tuple[dict[str, Any], bytes | None] | None:
        """The next frame if it is complete: header and payload, which is None if it is longer than allowed. Raises
        BadLine."""
        if self._header is None:
            end = self._buffer.find(b"\n", self._searched)
            if end > LONGEST_LINE or (end < 0 and len(self._buffer) > LONGEST_LINE):
                raise BadLine(f"a line has at most {LONGEST_LINE} bytes")
            if end < 0:
                self._searched = len(self._buffer)
                return None
            header = _header(bytes(self._buffer[:end]))
            del self._buffer[: end + 1]
            self._searched = 0
            length = header.get("length", 0)
            if length > self._longest:
                dropped = min(length, len(self._buffer))
                del self._buffer[:dropped]
                self._skip = length - dropped
                return header, None
            self._header = header
        length = self._header.get("length", 0)
        if len(self._buffer) < length:
            return None
        header, self._header = self._header, None
        payload = bytes(self._buffer[:length])
        del self._buffer[:length]
        return header, payload


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise BadLine("a line is a JSON object in UTF-8") from None
    if not isinstance(header, dict):
        raise BadLine("a line is a JSON object")
    length = header.get("length", 0)
    if type(length) is not int or length < 0:
        raise BadLine('"length" is a number of bytes')
    return header
