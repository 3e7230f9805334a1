"""What comes over the control socket is an event with the types of its keys, or is refused: rows of nonsense, and a
generator that bends good messages. Nothing that a worker can write ends the master."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from fairlead.control_protocol import EVENTS, BadMessage, event_of, line
from fairlead.logs import Log
from fairlead.master.master import Master
from fairlead.master.reload import Watch
from fairlead.os_threads import LONGEST_SLEEP_S
from fairlead.settings.options import Settings
from fairlead.settings.sources import read_sources

GOOD: list[dict[str, Any]] = [
    {"event": "ready"},
    {"event": "failed", "message": "no module"},
    {
        "event": "stats", "requests": 3, "exceptions": 0, "tx": 9, "running_time": 4, "running": 1, "rss": 5, "vsz": 6,
        "avg_rt": 7,
        "apps": [{"mountpoint": "/", "chdir": "/", "startup_time": 1, "callable": 2, "requests": 3, "exceptions": 0}],
    },
    {"event": "statistics", "ticket": 4, "statistics": {"requests": 3, "apps": []}},
    {"event": "harakiri", "in_s": 2.5, "overdue": None},
    {"event": "harakiri", "in_s": 0.0, "overdue": "127.0.0.1 /"},
    {"event": "certificates", "at": [0, 5], "refused": ""},
    {"event": "modules", "files": ["/srv/app.py"]},
    {"event": "request", "action": "none of ours"},
]  # fmt: skip

#: Numbers as texts, because `json` writes none of them.
NASTY = [
    "null", "true", "-1", "1e400", "-Infinity", "Infinity", "NaN", "1e308", "0.5", "9" * 4000, "9" * 5000, str(2**64),
    '""', '"x"', '"\\u0000"', '"\\ud800"', '"a\\nb"', "[]", "{}", "[[]]", "[null]", '[{"requests":"x"}]', '{"apps":3}',
    "[" * 100_000, "[" * 400 + "]" * 400, '{"a":' * 90_000, '["\\u0000", "\\ud800"]', "[-1, 2]", "[1e999, 2]",
]  # fmt: skip


def bent(random: random.Random) -> bytes:
    """A line as a confused or hostile worker may send it."""
    message = dict(random.choice(GOOD))
    kind = random.randrange(4)
    if kind == 0:
        data = bytearray(line(message)[:-1])
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        return bytes(data).replace(b"\n", b" ")
    if kind == 1:
        return random.choice(NASTY).encode()
    keys = [*EVENTS[message["event"]], "event"]
    fields = {key: json.dumps(value) for key, value in message.items()}
    for _ in range(random.randint(1, 3)):
        fields[random.choice(keys) if kind == 2 else random.choice(["in_s", "files", "ticket", "x"])] = random.choice(
            NASTY
        )
    return ("{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in fields.items()) + "}").encode()


def parsed(text: bytes) -> dict[str, Any] | None:
    try:
        return event_of(text)
    except BadMessage as error:
        assert "\n" not in str(error) and len(str(error)) < 200
        return None


@pytest.mark.parametrize("message", GOOD, ids=lambda one: one["event"])
def test_a_good_message_is_taken_as_it_is(message):
    event = parsed(line(message)[:-1])
    assert event is not None and event.items() >= message.items()
    assert set(event) == {"event", *EVENTS[message["event"]]}


def test_an_event_that_is_not_known_is_ignored_and_so_are_keys():
    assert event_of(b'{"event":"tomorrow","x":1}') is None
    assert event_of(b'{"event":"ready","x":1}') == {"event": "ready", "answers_pings": False}


@pytest.mark.parametrize(
    "text, why",
    [
        ("no", "it is no JSON"),
        ("\udcff", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ('{"event":"harakiri","in_s":' + "9" * 5000 + "}", "it is no JSON"),
        ("[1]", "it is no JSON object"),
        ("{}", "it has no event"),
        ('{"event":["ready"]}', "it has no event"),
        ('{"event":"harakiri","in_s":1e400}', "'in_s' of 'harakiri' is not a number of seconds"),
        ('{"event":"harakiri","in_s":NaN}', "'in_s' of 'harakiri' is not a number of seconds"),
        ('{"event":"harakiri","in_s":' + "9" * 400 + "}", "'in_s' of 'harakiri' is not a number of seconds"),
        ('{"event":"harakiri","in_s":"soon"}', "'in_s' of 'harakiri' is not a number of seconds"),
        ('{"event":"harakiri","overdue":5}', "'overdue' of 'harakiri' is not a text"),
        ('{"event":"stats","requests":18446744073709551616}', "'requests' of 'stats' is not a number from 0 to 2**64"),
        ('{"event":"stats","apps":[1]}', "'apps' of 'stats' is not a list of applications"),
        ('{"event":"modules","files":5}', "'files' of 'modules' is not a list of paths"),
        ('{"event":"statistics","ticket":[]}', "'ticket' of 'statistics' is not a number from 0 to 2**64"),
        ('{"event":"certificates","at":5}', "'at' of 'certificates' is not an offset and a length"),
    ],
    ids=lambda one: one[:40],
)
def test_nonsense_is_refused_with_the_reason(text, why):
    with pytest.raises(BadMessage) as caught:
        event_of(text.encode("utf-8", "surrogateescape"))
    assert str(caught.value) == why


class Worker:
    """A worker of the master's that is no process."""

    worker_id, pid, label, cell, is_ready = 1, 7, "worker 1 (pid 7)", None, True

    def __init__(self) -> None:
        self.stats: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        line(message)
        self.sent.append(message)

    def kill(self) -> None:
        pass


def test_nothing_that_a_worker_writes_ends_the_master(tmp_path):
    seed = 11
    rng = random.Random(seed)
    options = ["--http", "127.0.0.1:0", "--wsgi-file", "app.py", "--py-autoreload", "1", "--processes", "2"]
    with open(tmp_path / "log", "wb") as log:
        master = Master(Settings.of(read_sources(options, {}).given), Log(log.fileno()))
        master._modules = Watch((), 1.0, 0.0)
        worker = Worker()
        master._serving[1] = worker  # type: ignore[assignment]
        for number in range(4000):
            text = bent(rng)
            event = parsed(text)
            if event is None or event["event"] == "request":
                continue
            try:
                master._on_message(worker, event)  # type: ignore[arg-type]
                wait_s = master._wait_s()
                assert wait_s is None or 0 <= wait_s <= LONGEST_SLEEP_S
                json.dumps(master._statistics.rows(master._serving, [worker]))  # type: ignore[list-item]
            except Exception as error:  # the smallest way to see it again
                raise AssertionError(f"seed {seed}, line {number}: {text[:200]!r}") from error
        master._statistics.ended(worker)  # type: ignore[arg-type]
        json.dumps(master._statistics.rows({}, []))
