"""The chat example among bad peers: one who vanishes and one who never reads do not disturb the others."""

from __future__ import annotations

import json
from pathlib import Path

from support.raw_client import RawClient

CHAT = Path(__file__).parents[2] / "examples" / "chat.py"


def join(client: RawClient, name: str) -> RawClient:
    client.send_text(name)
    assert hear(client) == {"kind": "welcome", "name": name}
    return client


def hear(client: RawClient) -> dict[str, object]:
    return json.loads(client.read_data().payload)


def hear_until(client: RawClient, **wanted: object) -> list[dict[str, object]]:
    """All lines up to the one that has these values."""
    lines = [hear(client)]
    while not wanted.items() <= lines[-1].items():
        lines.append(hear(client))
    return lines


def test_somebody_who_vanishes_leaves_the_room(start, upgrade):
    server = start(CHAT)
    ada = join(upgrade(server), "Ada")
    gone = join(upgrade(server), "Gone")
    hear_until(ada, kind="joined", name="Gone", people=2)
    gone.abort()
    hear_until(ada, kind="left", name="Gone", people=1)


def test_somebody_who_does_not_read_is_dropped_and_nobody_misses_a_line(start, upgrade):
    server = start(CHAT, "--socket-timeout", "1")
    ada, loud = join(upgrade(server), "Ada"), join(upgrade(server), "Loud")
    upgrade(server).send_text("Deaf")  # and reads nothing from now on
    hear_until(ada, kind="joined", name="Deaf", people=3)
    heard, sent, is_deaf_here = [], 0, True
    while is_deaf_here:
        assert sent < 100_000, "the deaf peer is still in the room"
        for number in range(sent, sent + 50):
            loud.send_text(f"{number} " + "x" * 1900)
        sent += 50
        for client in (loud, ada):
            lines: list[dict[str, object]] = []
            while not any(str(line.get("text", "")).startswith(f"{sent - 1} ") for line in lines[-1:]):
                lines.append(hear(client))
        heard += [int(str(line["text"]).split()[0]) for line in lines if line["kind"] == "said"]
        is_deaf_here = not any(line["kind"] == "left" for line in lines)
    assert heard == list(range(sent)), "Ada heard every line, in order"
    server.wait_for_line(r"127\.0\.0\.1:\d+ /: dropped: ")
