"""An HTTP/2 client for tests, on the package h2: requests, WebSockets of RFC 8441, and frames that break the rules.

`Http2Client` is one connection and runs on the test's own thread: whoever waits for a stream reads the socket for all
of them. A `Stream` behaves like a connected socket (`sendall`, `recv`, `close`), so that `RawClient` speaks WebSocket
over it as over TCP. The client gives room (WINDOW_UPDATE) for what a test has taken and not before: who does not read
is a slow reader.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

from support.raw_client import RawClient
from support.server import Server

RST_STREAM, GOAWAY = 3, 7

Headers = Sequence[tuple[str, str]]


class Stream:
    """One stream, as a socket where it is a WebSocket."""

    family = socket.AF_UNIX  # RawClient must not look for TCP's options

    def __init__(self, client: Http2Client, number: int) -> None:
        self.client = client
        self.number = number
        self.headers: list[tuple[str, str]] = []
        self.informational: list[str] = []
        self.data = bytearray()
        self.ended = False
        self.reset: int | None = None
        #: The code of an RST_STREAM that came behind the end of the server's side, which is in order if it is NO_ERROR.
        self.reset_behind: int | None = None
        self._has_ended = False

    @property
    def status(self) -> int:
        """The status of the response, waited for."""
        self.client.read_until(lambda: bool(self.headers) or self.is_over)
        assert self.headers, f"stream {self.number} ended without a response, code {self.reset}"
        return int(dict(self.headers)[":status"])

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None or self.client.terminated is not None or self.client.closed

    def header(self, name: str) -> str | None:
        """The value of a header that may be there once."""
        values = [value for other, value in self.headers if other == name]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None

    def body(self) -> bytes:
        """The whole body; a reset is an error."""
        taken = bytearray()
        while data := self.recv(2**20):
            taken += data
        return bytes(taken)

    def wait_for_end(self) -> int | None:
        """Until the stream has ended: the code of its reset, None if it ended in order. What came is kept."""
        self.client.read_until(lambda: self.is_over)
        return self.reset

    # -- as a socket

    def recv(self, size: int) -> bytes:
        self.client.read_until(lambda: bool(self.data) or self.is_over)
        if not self.data and self.reset not in (None, ErrorCodes.NO_ERROR):
            raise ConnectionResetError(f"stream {self.number} was reset with {self.reset}")
        taken = bytes(self.data[:size])
        del self.data[: len(taken)]
        if taken:
            with contextlib.suppress(ProtocolError):  # the stream may be over
                self.client.h2.acknowledge_received_data(len(taken), self.number)
                self.client.flush()
        return taken

    def sendall(self, data: bytes, *, end: bool = False) -> None:
        """Sends at the pace that the server's windows allow. To a server that has ended the stream in order and wants
        no more it is as with TCP, for a while: nobody notices."""
        h2 = self.client.h2
        try:
            while data:
                self.client.read_until(lambda: self._takes_nothing or h2.local_flow_control_window(self.number) > 0)
                if self.reset is not None or self.client.closed:
                    raise BrokenPipeError(f"stream {self.number} was reset with {self.reset}")
                size = min(len(data), h2.local_flow_control_window(self.number), h2.max_outbound_frame_size)
                h2.send_data(self.number, data[:size])
                data = data[size:]
                self.client.flush()
        except StreamClosedError:
            if not self.ended:
                raise
            return
        if end:
            self.end()

    @property
    def _takes_nothing(self) -> bool:
        is_reset = self.reset is not None or self.reset_behind is not None
        return is_reset or self.client.terminated is not None or self.client.closed

    def end(self) -> None:
        """No more from our side."""
        self.client.h2.end_stream(self.number)
        self.client.flush()
        self._has_ended = True

    def cancel(self, code: int = ErrorCodes.CANCEL) -> None:
        self.client.h2.reset_stream(self.number, code)
        self.client.flush()

    def close(self) -> None:
        with contextlib.suppress(ProtocolError, OSError):
            if not self.is_over:
                self.cancel()
            elif self.ended and not self._has_ended and self.reset_behind is None:
                self.end()


class Http2Client:
    """One connection with prior knowledge. A context manager."""

    def __init__(self, connection: socket.socket, *, window: int | None = None) -> None:
        self.socket = connection
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                # Tests send what must be refused, and RFC 8441's CONNECT.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.streams: dict[int, Stream] = {}
        #: The code of a GOAWAY that ends the connection; one without an error lets the streams go on.
        self.terminated: int | None = None
        self.goaways = 0
        #: The last stream that the server takes, once it has said so (RFC 9113 §6.8).
        self.last_stream = 2**31 - 1
        self._partial = bytearray()
        self._held: bytearray | None = None
        self.closed = False
        self.pongs = 0
        self.has_settings = False
        if window is not None:
            self.h2.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.h2.initiate_connection()
        self.flush()

    @classmethod
    def connect(cls, server: Server, listener: int = 0, *, window: int | None = None) -> Http2Client:
        client = cls(server.connect(listener), window=window)
        client.authority = server.host_header
        return client

    authority = "test"

    # -- requests

    def open(self, headers: Headers, *, end: bool = True) -> Stream:
        """A stream with exactly these header lines, pseudo headers included."""
        number = self.h2.get_next_available_stream_id()
        stream = self.streams[number] = Stream(self, number)
        self.h2.send_headers(number, list(headers), end_stream=end)
        self.flush()
        return stream

    def request(
        self, path: str, *, method: str = "GET", headers: Headers = (), body: bytes | None = None, end: bool = True
    ) -> Stream:
        """A request; with `end` False and no body, its body is the test's business."""
        pseudo = [(":method", method), (":scheme", "http"), (":authority", self.authority), (":path", path)]
        stream = self.open([*pseudo, *headers], end=end and body is None)
        if body is not None:
            stream.sendall(body, end=end)
        return stream

    def connect_stream(self, path: str = "/", *, protocol: str = "websocket", headers: Headers = ()) -> Stream:
        """An extended CONNECT, RFC 8441 §4, not answered yet."""
        self.read_until(lambda: self.has_settings)
        assert self.h2.remote_settings.enable_connect_protocol == 1
        pseudo = [
            (":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"),
            (":authority", self.authority), (":path", path),
        ]  # fmt: skip
        return self.open([*pseudo, ("sec-websocket-version", "13"), *headers], end=False)

    def websocket(self, path: str = "/", *, headers: Headers = ()) -> RawClient:
        """An open WebSocket in a stream of its own; `client.socket` is the stream."""
        stream = self.connect_stream(path, headers=headers)
        assert stream.status == 200, (stream.headers, bytes(stream.data))
        assert not {"upgrade", "connection", "sec-websocket-accept"} & {name for name, _ in stream.headers}
        return RawClient(stream)  # type: ignore[arg-type]

    # -- the connection

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._held is None:
            self.socket.sendall(data)
        else:
            self._held += data

    @contextlib.contextmanager
    def in_one_write(self) -> Iterator[None]:
        """All that is sent in the block leaves together at its end."""
        self._held = bytearray()
        yield
        held, self._held = self._held, None
        self.socket.sendall(held)

    def send_raw(self, *frames: bytes) -> None:
        """Bytes past h2's rules; an end that the server has put to the connection is no error."""
        self.flush()
        with contextlib.suppress(ConnectionError):
            self._write(b"".join(frames))

    def ping(self) -> None:
        """There and back again."""
        before = self.pongs
        self.h2.ping(b"tests..?")
        self.flush()
        self.read_until(lambda: self.pongs > before or self.terminated is not None)
        assert self.pongs > before or self.terminated is not None, "no answer to a PING"

    def wait_for_goaway(self) -> int:
        """The code of the server's GOAWAY, which must come."""
        self.read_until(lambda: self.terminated is not None or self.closed)
        assert self.terminated is not None, "the connection was closed without a GOAWAY"
        return self.terminated

    def wait_for_close(self) -> None:
        """Until the server closes."""
        self.read_until(lambda: self.closed)

    def read_until(self, is_there: Callable[[], bool]) -> None:
        """Reads until `is_there` or the connection is closed."""
        while not is_there() and not self.closed:
            try:
                data = self.socket.recv(262144)
            except ConnectionError:
                data = b""
            if not data:
                self.closed = True
                return
            for event in self.h2.receive_data(self._without_goaways(data)):
                self._take(event)
            with contextlib.suppress(ConnectionError):
                self.flush()

    def _without_goaways(self, data: bytes) -> bytes:
        """Whole frames, for h2, which lets no stream go on behind a GOAWAY (RFC 9113 §6.8 does)."""
        self._partial += data
        frames = bytearray()
        while len(self._partial) >= 9:
            size = 9 + int.from_bytes(self._partial[:3], "big")
            if len(self._partial) < size:
                break
            frame = bytes(self._partial[:size])
            del self._partial[:size]
            stream = int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF
            if frame[3] == RST_STREAM and stream not in self.streams:
                continue  # of a request that was sent past h2, which knows no such stream
            if frame[3] != GOAWAY:
                frames += frame
                continue
            self.goaways += 1
            self.last_stream = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
            code = int.from_bytes(frame[13:17], "big")
            if code:
                self.terminated = code
        return bytes(frames)

    def _take(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            self.has_settings = True
        elif isinstance(event, PingAckReceived):
            self.pongs += 1
        elif isinstance(event, ResponseReceived):
            self.streams[event.stream_id].headers = list(event.headers)  # type: ignore[arg-type]
        elif isinstance(event, InformationalResponseReceived):
            self.streams[event.stream_id].informational.append(dict(event.headers)[":status"])  # type: ignore[arg-type, call-overload]
        elif isinstance(event, DataReceived):
            self.streams[event.stream_id].data += event.data
            # An empty frame, or padding, is nobody's to take.
            rest = event.flow_controlled_length - len(event.data)
            if rest:
                self.h2.acknowledge_received_data(rest, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.streams[event.stream_id].ended = True
        elif isinstance(event, StreamReset):
            stream = self.streams[event.stream_id]
            if stream.ended:
                stream.reset_behind = int(event.error_code or 0)
            # NO_ERROR behind a whole response only says that the rest of the request is not needed (RFC 9113 §8.1).
            if not (stream.ended and event.error_code == ErrorCodes.NO_ERROR):
                stream.reset = int(event.error_code or 0)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
