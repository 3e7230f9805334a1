"""A client of the line protocol, without its socket, over real channels in memory."""

from __future__ import annotations

import json

import pytest
from fairlead._native import Channels
from fairlead.channels.session import HIGH, LineSession
from fairlead.channels.wire import Reader, line
from fairlead.errors import ChannelsError

LONGEST = 64 * 1024


@pytest.fixture
def channels() -> Channels:
    return Channels.in_memory(2**20, LONGEST)


class Client:
    """Talks to a session, and reads all that waits."""

    def __init__(self, channels: Channels) -> None:
        self.session = LineSession(channels)
        self.reader = Reader(2**31)
        ((self.greeting, _),) = self.read()

    def read(self):
        """Everything that comes if the client takes all."""
        found = []
        while self.session.outbox.size:
            self.take(self.session.outbox.size)
            self.session.go_on()
            while (frame := self.reader.next_nowait()) is not None:
                found.append(frame)
        return found

    def take(self, size: int) -> None:
        while size:
            head = bytes(self.session.outbox.head()[:size])
            self.session.outbox.took(len(head))
            self.reader.feed(head)
            size -= len(head)

    def send(self, payload: bytes = b"", **request):
        self.session.receive(line(request) + payload)

    def ask(self, payload: bytes = b"", **request):
        self.send(payload, **request)
        return self.read()

    def publish(self, channel: str, data: bytes, kind: str = "text"):
        ((answer, _),) = self.ask(data, do="publish", channel=channel, kind=kind, length=len(data))
        return answer


def test_the_greeting_tells_version_and_limit(channels):
    greeting = Client(channels).greeting
    assert greeting["fairlead-channels"] == 1 and greeting["max_message"] == LONGEST


def test_a_message_is_published_exactly(channels):
    client = Client(channels)
    first = client.publish("a", "grün".encode())["offset"]
    assert client.publish("a", b"\x00\n\xff", "binary") == {"ok": True, "offset": first + 1}
    assert channels.history("a") == [(first, "grün"), (first + 1, b"\x00\n\xff")]


def test_requests_in_a_row_are_answered_in_order(channels):
    client = Client(channels)
    client.session.receive(line({"do": "members", "channel": "a"}) * 3 + line({"do": "nothing"}))
    assert [frame[0].get("error") for frame in client.read()] == [None, None, None, "bad-request"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"do": "sing"}, "bad-request"),
        ({"do": []}, "bad-request"),
        ({}, "bad-request"),
        ({"do": "publish", "channel": "a", "length": 0}, "bad-request"),
        ({"do": "publish", "channel": "a", "kind": "text"}, "bad-request"),
        ({"do": "publish", "kind": "text", "length": 0}, "bad-request"),
        ({"do": "publish", "channel": "", "kind": "text", "length": 0}, "bad-value"),
        ({"do": "publish", "channel": "a\nb", "kind": "text", "length": 0}, "bad-value"),
        ({"do": "publish", "channel": "x" * 256, "kind": "text", "length": 0}, "bad-value"),
        ({"do": "publish", "channel": "\ud800", "kind": "text", "length": 0}, "bad-value"),
        ({"do": "history", "channel": "a", "since": -1}, "bad-request"),
        ({"do": "history", "channel": "a", "limit": "5"}, "bad-request"),
        ({"do": "history", "channel": "a", "since": 2**64}, "bad-request"),
        ({"do": "members", "channel": 5}, "bad-request"),
        ({"do": "subscribe", "channel": ""}, "bad-value"),
    ],
)
def test_a_bad_request_is_refused_and_the_next_one_answered(channels, request_, code):
    client = Client(channels)
    ((answer, _),) = client.ask(**request_)
    assert answer["error"] == code and answer["message"]
    assert "offset" in client.publish("a", b"x")
    assert not client.session.is_subscribed


def test_a_text_that_is_no_utf_8_is_refused_and_nothing_published(channels):
    client = Client(channels)
    assert client.publish("a", b"\xff")["error"] == "bad-text"
    assert channels.history("a") == []


def test_a_message_that_is_too_long_is_refused_and_the_next_one_taken(channels):
    client = Client(channels)
    answer = client.publish("a", b"x" * (LONGEST + 1))
    assert answer["error"] == "too-long" and str(LONGEST) in answer["message"]
    assert "offset" in client.publish("a", b"x" * LONGEST)


def test_nonsense_ends_the_connection_with_the_reason(channels):
    client = Client(channels)
    client.session.receive(b"GET / HTTP/1.1\r\n\r\n")
    ((answer, _),) = client.read()
    assert answer["error"] == "bad-request" and client.session.is_over and not client.session.wants_input


def history(client: Client, **request):
    (about, _), *messages = client.ask(do="history", **request)
    return about, [(header["offset"], payload) for header, payload in messages]


def test_history_has_the_newest_or_what_came_after(channels):
    client = Client(channels)
    offsets = [channels.publish("a", str(number)) for number in range(10)]
    assert [offset for offset, _ in history(client, channel="a")[1]] == offsets
    assert [offset for offset, _ in history(client, channel="a", limit=3)[1]] == offsets[-3:]
    about, found = history(client, channel="a", since=offsets[3], limit=2)
    assert found == [(offsets[4], b"4"), (offsets[5], b"5")]
    assert (about["offset"], about["missed"], about["more"]) == (offsets[-1], 0, False)
    assert history(client, channel="nobody")[1] == []


def test_a_long_history_comes_in_pages_without_a_hole(channels):
    channels = Channels.in_memory(8 * 2**20, LONGEST)
    client = Client(channels)
    offsets = [channels.publish("a", b"x" * 50_000) for _ in range(60)]
    found, since, pages = [], 0, 0
    while True:
        about, page = history(client, channel="a", since=since)
        found += [offset for offset, _ in page]
        pages += 1
        if not about["more"]:
            break
        since = found[-1]
    assert found == offsets and pages > 1


def test_list_tells_channels_and_log(channels):
    client = Client(channels)
    offset = channels.publish("a", b"xyz")
    ((answer, payload),) = client.ask(do="list")
    facts = json.loads(payload)
    assert facts["channels"] == [{"name": "a", "members": 0, "messages": 1, "bytes": 3, "offset": offset}]
    assert facts["workers"] == [] and 0 < facts["log"]["used"] < facts["log"]["bytes"]
    assert answer["length"] == len(payload)


def test_a_subscriber_gets_what_comes_from_now_on(channels):
    client = Client(channels)
    old = channels.publish("a", "old")
    assert client.ask(do="subscribe", channel="a") == [({"ok": True, "offset": old, "missed": 0}, b"")]
    assert client.session.is_subscribed
    client.session.pump()
    assert client.read() == []
    channels.publish("a", "new")
    channels.publish("b", "elsewhere")
    channels.publish("a", b"\xff")
    client.session.pump()
    assert client.read() == [
        ({"offset": old + 1, "kind": "text", "length": 3}, b"new"),
        ({"offset": old + 2, "kind": "binary", "length": 1}, b"\xff"),
    ]


def test_a_subscriber_of_a_channel_that_is_not_there_yet_gets_its_first_message(channels):
    client = Client(channels)
    client.ask(do="subscribe", channel="a")
    offset = channels.publish("a", "first")
    client.session.pump()
    assert [header["offset"] for header, _ in client.read()] == [offset]


def test_a_subscriber_comes_back_by_offset_without_a_hole_or_a_duplicate(channels):
    offsets = [channels.publish("a", str(number)) for number in range(5)]
    client = Client(channels)
    (answer, _), *found = client.ask(do="subscribe", channel="a", since=offsets[1])
    assert answer == {"ok": True, "offset": offsets[1], "missed": 0}
    assert [header["offset"] for header, _ in found] == offsets[2:]
    client.session.pump()
    assert client.read() == []


@pytest.mark.parametrize("since", ["older", "newer"])
def test_behind_an_offset_of_another_run_comes_all_there_is(channels, since):
    offset = channels.publish("a", "x")
    client = Client(channels)
    (answer, _), *found = client.ask(do="subscribe", channel="a", since=5 if since == "older" else offset + 10**9)
    assert answer["missed"] is None
    assert [header["offset"] for header, _ in found] == [offset]
    channels.publish("a", "y")
    client.session.pump()
    assert [header["offset"] for header, _ in client.read()] == [offset + 1]


def test_what_was_overwritten_before_a_subscription_is_counted_in_its_answer(channels):
    first = channels.publish("a", b"first")
    for _ in range(40):
        channels.publish("a", b"x" * LONGEST)
    client = Client(channels)
    (answer, _), *found = client.ask(do="subscribe", channel="a", since=first)
    assert answer["missed"] > 0
    assert [header.get("missed") for header, _ in found if "missed" in header] == []
    assert found[0][0]["offset"] == first + 1 + answer["missed"] == answer["offset"] + 1
    assert found[-1][0]["offset"] == first + 40


def test_a_subscriber_that_the_log_overtakes_is_told_exactly_what_it_missed(channels):
    client = Client(channels)
    start = channels.publish("a", b"start")
    client.ask(do="subscribe", channel="a")
    for _ in range(40):
        channels.publish("a", b"x" * LONGEST)
        client.session.pump()  # it takes nothing: what waits stays bounded
        assert client.session.outbox.size < HIGH + LONGEST + 1000
    for _ in range(40):
        channels.publish("a", b"y" * LONGEST)
        client.session.pump()
    last = channels.publish("a", b"last")
    expected, missed = start + 1, 0
    for header, _ in client.read():
        if "missed" in header:
            missed += header["missed"]
            expected += header["missed"]
        else:
            assert header["offset"] == expected
            expected += 1
    assert missed > 0 and expected == last + 1


class Unreadable:
    """Channels whose lock somebody holds who does not move."""

    longest_message = LONGEST

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self.is_held = False

    def page(self, *arguments):
        if self.is_held:
            raise ChannelsError("another process has held the lock")
        return self._channels.page(*arguments)


def test_a_log_that_cannot_be_read_for_a_while_costs_a_subscriber_nothing(channels):
    unreadable = Unreadable(channels)
    client = Client(unreadable)
    client.ask(do="subscribe", channel="a")
    offset = channels.publish("a", "x")
    unreadable.is_held = True
    assert not client.session.pump() and client.read() == []
    ((answer, _),) = Client(unreadable).ask(do="history", channel="a")
    assert answer == {"error": "unavailable", "message": "another process has held the lock"}
    unreadable.is_held = False
    assert client.session.pump()
    assert [header["offset"] for header, _ in client.read()] == [offset]


def test_a_subscription_takes_no_further_request(channels):
    client = Client(channels)
    client.ask(do="subscribe", channel="a")
    ((end, _),) = client.ask(do="list")
    assert end["end"] == "bad-request" and client.session.is_over


def test_a_slow_consumer_finds_whole_frames_and_the_reason(channels):
    client = Client(channels)
    client.ask(do="subscribe", channel="a")
    for _ in range(8):
        channels.publish("a", b"x" * LONGEST)
    client.session.pump()
    client.take(100)
    client.session.end_slow(10)
    *messages, (end, _) = client.read()
    assert len(messages) == 1 and len(messages[0][1]) == LONGEST
    assert end["end"] == "slow" and "slow consumer" in end["message"] and client.session.is_over


def test_who_does_not_read_answers_is_asked_for_nothing_more(channels):
    client = Client(channels)
    channels.publish("a", b"x" * LONGEST)
    for _ in range(20):
        client.send(do="history", channel="a")
    assert not client.session.wants_input and client.session.outbox.size < HIGH + 2 * LONGEST
    assert len([header for header, _ in client.read() if "ok" in header]) == 20
