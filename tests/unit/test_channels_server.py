"""The server's thread with real sockets: its bounds, and that no client holds up another."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable

import pytest
from fairlead import channels as channels_api
from fairlead._native import Channels
from fairlead.channels.server import LOOK_EVERY_S, ChannelsServer
from fairlead.channels.wire import Reader, line
from fairlead.errors import ChannelsError
from fairlead.logs import Log
from fairlead.master.listeners import bind
from fairlead.settings.kinds import AddressKind
from support.region_lock import hold_lock

TIMEOUT_S = 20.0
_PAUSE = threading.Event()


@pytest.fixture
def open_server(tmp_path):
    servers = []

    def start(http: bool = False, **bounds):
        channels = Channels.in_memory(4 * 2**20, 2**20)
        path = str(tmp_path / "server")
        listeners = [bind("channels-socket", AddressKind().parse(path), 64, 0o600)]
        if http:
            listeners.append(bind("channels-http", AddressKind().parse("127.0.0.1:0"), 64))
        server = ChannelsServer(channels, Log(), listeners, b"token", **bounds)
        address = listeners[-1].socket.getsockname()
        server.start()
        servers.append(server)
        return channels, path, address, server

    yield start
    for server in servers:
        server.close()


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        _PAUSE.wait(0.01)  # between two looks; the condition ends the wait, not the time


def is_reached(path: str) -> bool:
    try:
        channels_api.connect(path).close()
    except ChannelsError:
        return False
    return True


class Raw:
    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(path)
        self.reader = Reader(2**31)

    def send(self, payload: bytes = b"", **request):
        self.socket.sendall(line(request) + payload)

    def read(self):
        """The next frame; None at the end."""
        while (frame := self.reader.next_nowait()) is None:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.reader.feed(data)
        return frame


@pytest.fixture
def raw():
    with contextlib.ExitStack() as stack:

        def connect(path: str) -> Raw:
            client = Raw(path)
            stack.callback(client.socket.close)
            assert "fairlead-channels" in client.read()[0]
            return client

        yield connect


def test_a_subscriber_that_takes_nothing_is_given_up_with_the_reason_and_others_are_not(open_server, raw):
    _, path, _, server = open_server(stall_s=0.3)
    slow = raw(path)
    slow.send(do="subscribe", channel="a")
    assert slow.read()[0]["ok"]
    with channels_api.connect(path) as remote, remote.subscribe("a") as quick:
        for number in range(12):
            remote.publish("a", b"%d" % number + b"x" * 500_000)
            assert quick.receive(TIMEOUT_S).data.startswith(b"%d" % number)
        eventually(lambda: any(client.session.is_over for client in list(server._clients)))
        remote.publish("a", "still here")
        assert quick.receive(TIMEOUT_S).data == "still here" and quick.missed == 0
    found = []
    while (frame := slow.read()) is not None:
        found.append(frame[0])
    assert found[-1]["end"] == "slow" and "slow consumer" in found[-1]["message"]
    assert all("offset" in one for one in found[:-1])


def test_a_request_that_does_not_become_complete_ends_the_connection(open_server, raw):
    _, path, _, _ = open_server(request_s=0.2)
    client, idle = raw(path), raw(path)
    client.socket.sendall(b'{"do": "publish", "channel": "a", "kind": "text", "length": 5}\nab')
    assert client.read()[0]["error"] == "timeout"
    assert client.read() is None
    idle.send(do="members", channel="a")  # it was silent, which is no fault
    assert idle.read()[0]["members"] == 0


def test_clients_are_counted_and_the_place_of_one_that_leaves_is_free(open_server, raw):
    _, path, _, _ = open_server(most_clients=2)
    first, _second = raw(path), raw(path)
    with pytest.raises(ChannelsError, match="2 clients are connected already"):
        channels_api.connect(path)
    first.socket.close()
    eventually(lambda: is_reached(path))


def test_strangers_at_the_http_address_take_no_place_of_the_socket_s_clients(open_server):
    _, path, address, _ = open_server(http=True, most_clients=1)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stranger = stack.enter_context(socket.create_connection(address, TIMEOUT_S))
        with channels_api.connect(path) as remote:
            assert remote.members("a") == 0
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(1000).startswith(b"HTTP/1.1 401 ")


KNOWN = b"GET /channels/a HTTP/1.1\r\nAuthorization: Bearer token\r\n\r\n"


def test_strangers_keep_nobody_out_who_has_the_token_and_who_has_it_keeps_his_place(open_server):
    _, _, address, _ = open_server(http=True, most_clients=2)
    with contextlib.ExitStack() as stack:

        def connect():
            return stack.enter_context(socket.create_connection(address, TIMEOUT_S))

        known = connect()
        known.sendall(KNOWN)
        assert known.recv(65536).startswith(b"HTTP/1.1 200 ")
        strangers = [connect() for _ in range(4)]
        assert [stranger.recv(1) for stranger in strangers[:2]] == [b"", b""]  # the oldest had to go
        other = connect()
        other.sendall(KNOWN)
        assert other.recv(65536).startswith(b"HTTP/1.1 200 ")
        known.sendall(KNOWN)
        assert known.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert connect().recv(65536).startswith(b"HTTP/1.1 503 ")  # both places are taken by who has the token


def test_a_stranger_has_a_short_time_to_show_the_token(open_server):
    _, _, address, _ = open_server(http=True, token_s=0.2)
    with contextlib.ExitStack() as stack:
        silent, slow, known = [stack.enter_context(socket.create_connection(address, TIMEOUT_S)) for _ in range(3)]
        slow.sendall(b"GET /channels/a HTTP/1.1\r\n")
        known.sendall(KNOWN)
        assert known.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert silent.recv(65536) == b""
        known.sendall(KNOWN)
        assert known.recv(65536).startswith(b"HTTP/1.1 200 ")


class Unlucky:
    """A listener whose next connection cannot be accepted."""

    kind = "channels-http"

    def __init__(self, number: int) -> None:
        self.number = number
        self.socket = self

    def accept(self):
        raise OSError(self.number, os.strerror(self.number))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("name", ["EPROTO", "EHOSTUNREACH", "ENETDOWN", "EPERM", "EMFILE"])
def test_no_error_of_accept_closes_the_addresses(name):
    server = ChannelsServer(Channels.in_memory(4 * 2**20, 2**20), Log(), [], b"token")
    server._accept(Unlucky(getattr(errno, name)), now=0.0)
    is_of_one_client = name not in ("EPERM", "EMFILE")
    assert (server._accepts_at is None) == is_of_one_client, "it looks away where the next accept would fail as well"
    server.close(timeout_s=0)


def test_a_slow_http_client_holds_up_nobody(open_server):
    _, path, address, _ = open_server(http=True, request_s=0.5)
    with socket.create_connection(address, TIMEOUT_S) as slow, channels_api.connect(path) as remote:
        slow.sendall(b"POST /channels/a HTTP/1.1\r\nAuthorization: Bearer token\r\nContent-Length: 5\r\n\r\nab")
        assert remote.publish("a", "x") > 0
        answer = slow.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert [message.data for message in remote.history("a")] == ["x"]


def test_many_threads_publish_over_one_object(open_server):
    channels, path, _, _ = open_server()
    with channels_api.connect(path) as remote:
        offsets: list[int] = []

        def publish() -> None:
            for number in range(100):
                offsets.append(remote.publish("a", f"{number}"))

        threads = [threading.Thread(target=publish) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
        assert len(set(offsets)) == 800 == channels.list()[0].messages


def test_a_forked_child_has_a_connection_of_its_own(open_server):
    _, path, _, _ = open_server()
    with channels_api.connect(path) as remote:
        first = remote.publish("a", "parent")
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                code = 0 if remote.publish("a", "child") > first else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [one.data for one in remote.history("a", since=first)] == ["child"]
        assert remote.publish("a", "parent again") == first + 2


def test_a_long_history_and_limits_come_through(open_server):
    channels, path, _, _ = open_server()
    offsets = [channels.publish("a", b"x" * 100_000) for _ in range(30)]
    with channels_api.connect(path) as remote:
        assert [one.offset for one in remote.history("a")] == offsets
        assert [one.offset for one in remote.history("a", limit=25)] == offsets[-25:]
        assert [one.offset for one in remote.history("a", since=offsets[1], limit=25)] == offsets[2:27]
        assert remote.history("a", limit=0) == [] == remote.history("nobody")
        assert remote.members("a") == 0
        assert remote.list()["channels"][0]["messages"] == 30


def test_a_closed_subscription_ends_its_iteration(open_server):
    _, path, _, _ = open_server()
    with channels_api.connect(path) as remote:
        subscription = remote.subscribe("a")
        found = []
        thread = threading.Thread(target=lambda: found.extend(subscription))
        thread.start()
        remote.publish("a", "x")
        eventually(lambda: len(found) == 1)
        subscription.close()
        thread.join(TIMEOUT_S)
        assert [one.data for one in found] == ["x"] and not thread.is_alive()
        with pytest.raises(RuntimeError):
            subscription.receive()


def test_the_thread_wakes_by_itself_only_while_somebody_is_subscribed(open_server):
    _, path, _, server = open_server()
    assert server._wait_s() is None
    with channels_api.connect(path) as remote:
        assert remote.members("a") == 0
        assert server._wait_s() == 1.0  # its bounds are times
        with remote.subscribe("a"):
            assert server._wait_s() <= LOOK_EVERY_S
    eventually(lambda: server._wait_s() is None)


def test_what_is_no_door_is_told(tmp_path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "other"))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        connection.sendall(b"220 mail.example ESMTP\r\n")
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(ChannelsError, match="no socket of Fairlead's channels"):
        channels_api.connect(str(tmp_path / "other"))
    thread.join()
    server.close()
    with pytest.raises(ChannelsError, match="nobody listens at this socket"):
        channels_api.connect(str(tmp_path / "other"))
    with pytest.raises(ChannelsError, match="there is no such socket"):
        channels_api.connect(str(tmp_path / "none"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ChannelsError):
        channels_api.connect(str(tmp_path / "file"))


def test_another_version_is_told(tmp_path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "other"))
    server.listen()
    with contextlib.closing(server), pytest.raises(ChannelsError, match="version 2 of the protocol"):
        thread = threading.Thread(
            target=lambda: server.accept()[0].sendall(json.dumps({"fairlead-channels": 2}).encode() + b"\n")
        )
        thread.start()
        channels_api.connect(str(tmp_path / "other"), timeout=TIMEOUT_S)


def publishes(client: socket.socket, http: bool) -> None:
    """Sends a request to publish one byte."""
    request = line({"do": "publish", "channel": "a", "kind": "text", "length": 1}) + b"x"
    if http:
        request = b"POST /channels/a HTTP/1.1\r\nAuthorization: Bearer token\r\nContent-Length: 1\r\n\r\nx"
    client.sendall(request)


@pytest.mark.parametrize("http", [False, True])
@pytest.mark.parametrize("is_freed", [False, True])
def test_a_request_that_waits_for_the_lock_holds_up_no_other(open_server, http, is_freed):
    channels, path, address, _ = open_server(http, patience_s=20.0 if is_freed else 0.3)
    with (
        channels_api.connect(path) as other,
        socket.socket(socket.AF_INET if http else socket.AF_UNIX) as client,
        contextlib.ExitStack() as stuck,
    ):
        client.settimeout(TIMEOUT_S)
        client.connect(address if http else path)
        if not http:
            assert b"fairlead-channels" in client.recv(1000)
        offset = other.publish("a", "before")
        stuck.enter_context(hold_lock(f"/proc/self/fd/{channels.fileno()}"))
        publishes(client, http)
        begun = time.monotonic()
        for _ in range(3):
            assert [message.offset for message in other.history("a")] == [offset]
            assert other.members("a") == 0
        assert time.monotonic() - begun < 5.0
        if is_freed:
            stuck.close()
        answer = client.recv(1000).decode()
        if is_freed:
            assert str(offset + 1) in answer
        else:
            assert f"process {os.getpid()} " in answer and ("503" in answer or "unavailable" in answer)
            stuck.close()
        # What comes behind it on the same connection is served as before.
        publishes(client, http)
        assert str(offset + (2 if is_freed else 1)) in client.recv(1000).decode()
