"""Clients that send one request after the other for as long as a block lasts, over connections that stay and over new
ones, in every protocol of a listener; and what counts as a request that was dropped.

A request is dropped unless a whole 200 answers it. A server that ends a connection between two requests has to have
said so: over HTTP/1.1 by `Connection: close` in the answer before, over HTTP/2 by a GOAWAY whose last stream is below
the request's. An end or a reset where a request was sent is a drop, whatever RFC 9112 §9.3.1 allows a client to repeat.
The app is apps/generations.py.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType

from end_to_end.http_wire import read_answer, request

from support import certificates
from support.apps.generations import END, PART, PARTS
from support.certificates import Pair
from support.http2_client import Http2Client, Stream
from support.proxy_servers import Proxy
from support.raw_client import RawClient
from support.server import TIMEOUT_S, Server
from support.uwsgi_client import ask, packet, variables

#: Sent to /body; more than one segment.
BODY = b"y" * 3000

#: One client: each step is one answered request (or several at once), and tells who answered.
Client = Iterator[int]


class Dropped(Exception):
    """A request got no whole answer."""


def pid_of(path: str, status: int, body: bytes) -> int:
    """Who has made this page; anything but the whole page is a drop."""
    pid, _, rest = body.partition(b"\n")
    expected = (BODY if path == "/body" else PART * PARTS) + END
    if status != 200 or rest != expected:
        raise Dropped(f"{path}: status {status}, {len(body)} bytes, {body[:60]!r} … {body[-20:]!r}")
    return int(pid)


def paths() -> Iterator[str]:
    return itertools.cycle(("/whole", "/parts", "/body"))


def page(server: Server | Proxy, connection: RawClient, path: str, *lines: str) -> tuple[int, bool]:
    """One request on a connection: who answered, and whether the server announced that it closes."""
    method, body = ("POST", BODY) if path == "/body" else ("GET", b"")
    if body:
        lines = (*lines, f"Content-Length: {len(body)}")
    try:
        connection.send_bytes(request(server, path, *lines, method=method) + body)
        answer = read_answer(connection)
    except (EOFError, OSError) as error:
        raise Dropped(f"{path}: {type(error).__name__}: {error}") from error
    return pid_of(path, answer.status, answer.body), answer.header("Connection") == "close"


def kept(server: Server | Proxy, connect: Callable[[], RawClient]) -> Client:
    """One connection for as long as the server does not say that it closes."""
    connection = None
    try:
        for path in paths():
            connection = connection or connect()
            pid, is_last = page(server, connection, path)
            if is_last:
                connection.read_end()
                connection.close()
                connection = None
            yield pid
    finally:
        if connection is not None:
            connection.close()


def single(server: Server | Proxy, connect: Callable[[], RawClient]) -> Client:
    """A connection for each request."""
    for path in paths():
        with connect() as connection:
            pid, is_last = page(server, connection, path, "Connection: close")
            assert is_last
            yield pid


def streams(connect: Callable[[], Http2Client], at_once: int = 3) -> Client:
    """HTTP/2: several requests at once on one connection, until the server says that it takes no more."""
    connection = None
    sequence = paths()
    try:
        while True:
            connection = connection or connect()
            here = connection
            asked: list[tuple[str, Stream]] = []
            try:
                for path in itertools.islice(sequence, at_once):
                    method, body = ("POST", BODY) if path == "/body" else ("GET", None)
                    asked.append((path, here.request(path, method=method, body=body)))
            except OSError:
                if not here.goaways:
                    raise Dropped("the connection ended without a GOAWAY") from None
            for path, stream in asked:
                try:
                    pid = pid_of(path, stream.status, stream.body())
                except (AssertionError, OSError) as error:
                    if stream.number > here.last_stream:
                        continue  # refused, and the client knows that it may ask again
                    raise Dropped(f"{path} in stream {stream.number}, GOAWAY {here.last_stream}: {error}") from error
                yield pid
            if here.goaways or here.closed:
                here.close()
                connection = None
    finally:
        if connection is not None:
            connection.close()


def packets(server: Server, listener: int) -> Client:
    """The uwsgi protocol: a connection for each request."""
    for path in paths():
        method, body = ("POST", BODY) if path == "/body" else ("GET", b"")
        data = packet([*variables(path, method=method), ("CONTENT_LENGTH", str(len(body)) if body else "")]) + body
        try:
            answer = ask(server, data, listener)
        except OSError as error:
            raise Dropped(f"{path}: {type(error).__name__}: {error}") from error
        head, _, rest = answer.partition(b"\r\n\r\n")
        yield pid_of(path, int(head.split()[1]) if head else 0, rest)


def clients_of(server: Server, listener: int, scheme: str, pair: Pair) -> dict[str, Client]:
    """All kinds of clients that a listener has. `scheme`: "http", "https" or "uwsgi"."""
    if scheme == "uwsgi":
        return {"uwsgi": packets(server, listener)}

    trusting, speaking_http2 = certificates.context(pair), certificates.context(pair)
    speaking_http2.set_alpn_protocols(["h2"])

    def connect() -> RawClient:
        return RawClient(dial(trusting))

    def http2() -> Http2Client:
        made = Http2Client(dial(speaking_http2))
        made.authority = server.host_header
        return made

    def dial(context: ssl.SSLContext) -> socket.socket:
        if scheme == "https":
            return certificates.connect(server, context, listener=listener)
        return server.connect(listener)

    return {"kept": kept(server, connect), "single": single(server, connect), "h2": streams(http2)}


class Load:
    """Clients at work, each in a thread of its own. A context manager; a request that was dropped fails the block."""

    def __init__(self, clients: dict[str, Client]) -> None:
        #: Requests by client.
        self.answered: Counter[str] = Counter()
        self.failures: list[str] = []
        self._names = list(clients)
        self._pids: dict[str, int] = {}
        self._is_over = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, args=one) for one in clients.items()]

    def _work(self, name: str, client: Client) -> None:
        try:
            with contextlib.closing(client):  # type: ignore[type-var]
                for pid in client:
                    with self._changed:
                        self.answered[name] += 1
                        self._pids[name] = pid
                        self._changed.notify_all()
                    if self._is_over.is_set():
                        return
        except BaseException as error:
            with self._changed:
                self.failures.append(f"{name}, after {self.answered[name]}: {type(error).__name__}: {error}")
                self._changed.notify_all()

    def wait_until_all_are_served_by(self, pids: set[int]) -> None:
        """The last answer of every client came from one of these."""
        ends = time.monotonic() + TIMEOUT_S
        with self._changed:
            while not (len(self._pids) == len(self._names) and set(self._pids.values()) <= pids):
                assert not self.failures, "\n".join(self.failures)
                left = ends - time.monotonic()
                assert left > 0, f"{self._pids} are not all of {pids}"
                self._changed.wait(left)

    def wait_for_more(self, count: int) -> None:
        """Every client gets so many more answers."""
        ends = time.monotonic() + TIMEOUT_S
        with self._changed:
            before = Counter(self.answered)
            while any(self.answered[name] < before[name] + count for name in self._names):
                assert not self.failures, "\n".join(self.failures)
                left = ends - time.monotonic()
                assert left > 0, f"{self.answered} since {before}"
                self._changed.wait(left)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        if error is None:
            assert not self.failures, "\n".join(self.failures)
