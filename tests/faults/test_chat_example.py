"""The chat example among bad peers and killed processes.

Nobody is disturbed by one who vanishes or never reads, the count of people is right over all processes, and who comes
back misses nothing.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from faults.machine import get
from support.channel_member import is_heartbeat
from support.raw_client import CLOSE, RawClient
from support.server import Server

CHAT = Path(__file__).parents[2] / "examples" / "chat.py"

#: Of 2 KiB: more than the kernel's buffers (some MiB) and --channels-backlog (1 MiB) hold for who does not read.
LINES = 10_000


class Person:
    """Somebody in a room: the name and the process it was given, and the offset of the newest line it has heard."""

    def __init__(self, client: RawClient, name: str) -> None:
        self.client = client
        self.name = name
        self.offset = 0
        welcome = json.loads(client.read_data().payload)
        assert welcome["kind"] == "welcome" and welcome["name"] == name, welcome
        self.process = welcome["process"]

    def say(self, text: str, number: str = "1") -> None:
        self.client.send_text(f"{number} {text}")

    def hear(self) -> dict[str, object]:
        """The next line; it is the one behind the newest."""
        while is_heartbeat(payload := self.client.read_data().payload):
            pass
        head, _, line = payload.decode().partition("\n")
        assert head[0] == "\x1e", head
        if head.startswith("\x1ejoined "):
            offset, missed = head.split()[1:3]
            assert missed == "0"
            self.offset = int(offset)
            return self.hear()
        offset = head[1:].split()[0]
        assert int(offset) == self.offset + 1, "no line is missing"
        self.offset += 1
        return json.loads(line)

    def hear_until(self, **wanted: object) -> list[dict[str, object]]:
        """All lines up to the one that has these values."""
        lines = [self.hear()]
        while not wanted.items() <= lines[-1].items():
            lines.append(self.hear())
        return lines


Join = Callable[..., Person]


@pytest.fixture
def join(upgrade: Callable[..., RawClient]) -> Join:
    """`join(server, name)`, to the room `lobby` or another; `gets` is the name that is expected."""

    def enter(server: Server, name: str, *, gets: str = "", **query: object) -> Person:
        return Person(upgrade(server, f"/?{urlencode({'name': name, **query})}"), gets or name)

    return enter


def join_on_another(join: Join, server: Server, name: str, processes: set[int]) -> Person:
    """Somebody whom a process serves that is none of these."""
    for attempt in range(50):
        person = join(server, f"{name}{attempt}")
        if person.process not in processes:
            return person
    raise AssertionError(f"50 connections are served by {processes}")


def texts(lines: list[dict[str, object]]) -> list[object]:
    return [line["text"] for line in lines if line["kind"] == "said"]


def test_somebody_who_vanishes_leaves_the_room(start, join):
    server = start(CHAT)
    ada, gone = join(server, "Ada"), join(server, "Gone")
    ada.hear_until(kind="joined", name="Gone", people=2)
    gone.client.abort()
    ada.hear_until(kind="left", name="Gone", people=1)


def test_a_name_that_somebody_has_gets_a_number_and_is_free_again_later(start, join):
    server = start(CHAT, "--processes", "2")
    ada = join(server, "Ada")
    second = join(server, "Ada", gets="Ada 2")
    join(server, "Ada", gets="Ada 3")
    join(server, "Ada", room="kitchen")
    second.client.abort()
    ada.hear_until(kind="left", name="Ada 2")
    # The name goes with the connection, in the turn behind the line.
    names = set()
    while "Ada 2" not in names:
        client = RawClient.upgrade(server, "/?name=Ada")
        names.add(json.loads(client.read_data().payload)["name"])
        client.close()


def test_rooms_are_apart(start, join):
    server = start(CHAT)
    ada, grace = join(server, "Ada", room="kitchen"), join(server, "Grace", room="cellar")
    ada.say("in the kitchen")
    grace.say("in the cellar")
    assert texts(ada.hear_until(kind="said")) == ["in the kitchen"]
    assert texts(grace.hear_until(kind="said")) == ["in the cellar"]
    assert texts(join(server, "Late", room="kitchen").hear_until(kind="joined", name="Late", people=2)) == [
        "in the kitchen"
    ]


def test_who_comes_in_hears_the_last_fifty_lines(start, join):
    server = start(CHAT, "--processes", "2")
    ada = join(server, "Ada")
    for number in range(60):
        ada.say(f"line {number}", str(number))
    ada.hear_until(text="line 59")
    late = join(server, "Late")
    assert texts(late.hear_until(kind="joined", name="Late")) == [f"line {number}" for number in range(10, 60)]


def test_all_processes_hear_the_same_and_count_the_same(start, join):
    server = start(CHAT, "--processes", "2")
    ada = join(server, "Ada")
    grace = join_on_another(join, server, "Grace", {ada.process})
    for speaker, text in ((ada, "from here"), (grace, "from there")):
        speaker.say(text)
        lines = [person.hear_until(text=text)[-1] for person in (ada, grace)]
        assert lines[0] == lines[1]
        assert ada.offset == grace.offset
    status, body = get(server, "/channels.js")
    assert status == 200 and b"export class ChannelSocket" in body


def test_after_a_killed_process_its_people_come_back_and_miss_nothing(start, join):
    server = start(CHAT, "--processes", "2")
    ada = join(server, "Ada")
    grace = join_on_another(join, server, "Grace", {ada.process})
    ada.say("before")
    grace.hear_until(text="before")
    os.kill(grace.process, signal.SIGKILL)
    grace.client.read_rest()
    for number in range(20):
        ada.say(f"meanwhile {number}", str(number))
    ada.hear_until(text="meanwhile 19")
    back = join(server, "Grace", since=grace.offset)
    back.offset = grace.offset
    assert texts(back.hear_until(text="meanwhile 19")) == [f"meanwhile {number}" for number in range(20)]
    back.hear_until(kind="returned", name="Grace")
    back.say("here again")
    assert ada.hear_until(text="here again")[-1]["people"] == back.hear_until(text="here again")[-1]["people"]


def test_people_of_a_killed_process_are_not_counted_for_ever(start, join):
    server = start(CHAT, "--processes", "2")
    ada = join(server, "Ada")
    grace = join_on_another(join, server, "Grace", {ada.process})
    # Ada, Grace, and those before Grace whom Ada's process serves. Who joins counts whom it finds, so not every line is
    # right.
    everybody = 2 + int(grace.name.removeprefix("Grace"))
    ada.hear_until(people=everybody)
    os.kill(grace.process, signal.SIGKILL)
    # Nobody comes back and nobody says a word: one who is there finds the count wrong.
    ada.hear_until(kind="counted", people=everybody - 1)


def test_somebody_who_does_not_read_is_dropped_and_nobody_misses_a_line(start, join, upgrade):
    server = start(CHAT, "--socket-timeout", "1")
    ada, loud = join(server, "Ada"), join(server, "Loud")
    deaf = upgrade(server, "/?name=Deaf")  # and reads nothing from now on
    ada.hear_until(kind="joined", name="Deaf", people=3)
    heard = []
    for sent in range(0, LINES, 50):
        for number in range(sent, sent + 50):
            loud.say(f"{number} " + "x" * 1900, str(number))
        # Both read along, and are not slow.
        for person in (loud, ada):
            lines = person.hear_until(id=str(sent + 49))
        heard += [int(str(line["id"])) for line in lines if line["kind"] == "said"]
        if "left" in {line["kind"] for line in lines}:
            break
    else:
        ada.hear_until(kind="left", name="Deaf", people=2)
    assert heard == list(range(len(heard))), "Ada heard every line, in order"
    while (found := deaf.read_data()).opcode != CLOSE:
        pass
    assert found.payload[2:].startswith(b"slow consumer"), "and is told why"
