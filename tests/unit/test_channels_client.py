"""What the client repeats and what it does not, against a server that follows a script."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from fairlead import channels
from fairlead.channels.wire import line
from fairlead.errors import ChannelsError

TIMEOUT_S = 20.0
GREETING = line({"fairlead-channels": 1, "max_message": 1000, "pid": 1})

#: Takes a connection after the greeting, and returns to end it.
Scene = Callable[["Peer"], None]


class Peer:
    """The server's side of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.file = connection.makefile("rb")

    def read(self) -> dict:
        """The next request, without its payload."""
        request = json.loads(self.file.readline())
        self.file.read(request.get("length", 0))
        return request

    def wait_for_end(self) -> None:
        assert self.file.read() == b""


@pytest.fixture
def play(tmp_path) -> Iterator[Callable[..., str]]:
    """`play(*scenes)`: one scene for each connection, in order. Returns the path of the socket."""
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(TIMEOUT_S)
    path = str(tmp_path / "channels")
    threads, failures = [], []

    def run(scenes: tuple[Scene, ...]) -> None:
        try:
            for scene in scenes:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(TIMEOUT_S)
                    connection.sendall(GREETING)
                    peer = Peer(connection)
                    scene(peer)
                    peer.file.close()
        except Exception as error:
            failures.append(error)

    def start(*scenes: Scene) -> str:
        server.bind(path)
        server.listen()
        threads.append(threading.Thread(target=run, args=(scenes,)))
        threads[0].start()
        return path

    yield start
    for thread in threads:
        thread.join(TIMEOUT_S)
    server.close()
    assert not failures


def answers_publish(peer: Peer) -> None:
    assert peer.read()["do"] == "publish"
    peer.socket.sendall(line({"ok": True, "offset": 7}))


def dies_while_it_publishes(peer: Peer) -> None:
    assert peer.read()["do"] == "publish"


def test_a_publish_that_may_have_happened_is_not_repeated_and_said_to_be_unknown(play):
    path = play(dies_while_it_publishes, answers_publish)
    with channels.connect(path) as remote:
        with pytest.raises(ChannelsError, match="whether the message was published is not known"):
            remote.publish("a", "x")
        assert remote.publish("a", "x") == 7  # the next call connects again


def test_a_connection_that_ended_while_nobody_asked_is_replaced_in_silence(play):
    ended = threading.Event()

    def answers_and_ends(peer: Peer) -> None:
        answers_publish(peer)
        peer.file.close()
        peer.socket.close()
        ended.set()

    path = play(answers_and_ends, answers_publish)
    with channels.connect(path) as remote:
        assert remote.publish("a", "x") == 7
        assert ended.wait(TIMEOUT_S)
        assert remote.publish("a", "x") == 7


def test_a_question_is_repeated_once(play):
    def dies_while_it_is_asked(peer: Peer) -> None:
        assert peer.read()["do"] == "members"

    def answers_and_dies_at_the_next(peer: Peer) -> None:
        assert peer.read()["do"] == "members"
        peer.socket.sendall(line({"ok": True, "members": 3}))
        assert peer.read()["do"] == "members"

    path = play(dies_while_it_is_asked, answers_and_dies_at_the_next, dies_while_it_is_asked)
    with channels.connect(path) as remote:
        assert remote.members("a") == 3
        with pytest.raises(ChannelsError, match="ended the connection again"):
            remote.members("a")


def test_an_instance_that_does_not_answer_is_given_up_in_time(play):
    def is_silent(peer: Peer) -> None:
        peer.read()
        peer.wait_for_end()

    def answers_late(peer: Peer) -> None:
        answers_publish(peer)
        peer.wait_for_end()

    path = play(is_silent, answers_late)
    with channels.connect(path, timeout=0.2) as remote:
        with pytest.raises(ChannelsError, match="not answered in time; whether the message was published is not known"):
            remote.publish("a", "x")
        # A late answer must not be taken for that of the next call: the connection is another one.
        assert remote.publish("a", "x") == 7


def test_a_message_over_the_limit_is_not_even_sent(play):
    path = play(answers_publish)
    with channels.connect(path) as remote:
        with pytest.raises(ValueError, match="1001 bytes, and 1000 are allowed"):
            remote.publish("a", "x" * 1001)
        assert remote.publish("a", "x" * 1000) == 7


def test_a_subscription_goes_on_where_it_was_and_counts_what_it_missed(play):
    def begins(peer: Peer) -> None:
        assert peer.read() == {"do": "subscribe", "channel": "a", "since": None}
        peer.socket.sendall(line({"ok": True, "offset": 4, "missed": 0}))
        peer.socket.sendall(line({"offset": 5, "kind": "text", "length": 1}) + b"x")
        peer.socket.sendall(line({"missed": 2}) + line({"offset": 8, "kind": "binary", "length": 0}))
        peer.socket.sendall(line({"end": "stopping", "message": "the instance is stopping"}))

    def goes_on(peer: Peer) -> None:
        assert peer.read() == {"do": "subscribe", "channel": "a", "since": 8}
        peer.socket.sendall(line({"ok": True, "offset": 9, "missed": 1}))
        peer.socket.sendall(line({"offset": 10, "kind": "text", "length": 1}) + b"y")
        peer.socket.sendall(line({"end": "slow", "message": "slow consumer: nothing was taken for 10 s"}))

    def ends_at_once(peer: Peer) -> None:
        """The connection for requests, which a subscription does not use."""

    path = play(ends_at_once, begins, goes_on)
    with channels.connect(path) as remote, remote.subscribe("a") as subscription:
        assert (subscription.offset, subscription.missed, subscription.missed_before) == (4, 0, 0)
        assert [subscription.receive(TIMEOUT_S) for _ in range(2)] == [(5, "x"), (8, b"")]
        assert subscription.missed == 2
        assert subscription.receive(TIMEOUT_S) == (10, "y") and subscription.missed == 3
        with pytest.raises(ChannelsError, match="slow consumer"):
            subscription.receive(TIMEOUT_S)
