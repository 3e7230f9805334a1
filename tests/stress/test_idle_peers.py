"""A thousand connections whose app never receives: all are pinged, the dead ones found, the living ones kept."""

from __future__ import annotations

import pytest
from faults.machine import BEHAVIOURS, echo, get
from stress.crowd import Crowd
from support.runners import every_read_path

pytestmark = [every_read_path, pytest.mark.alone]

COUNT, DEAD = 1000, 400


def test_a_thousand_peers_of_apps_that_never_receive_are_pinged_and_the_dead_ones_dropped(runner, start, upgrade):
    server = start(
        BEHAVIOURS,
        *runner.with_slots(COUNT + 20),
        "--listen", "2000",
        "--websockets-ping-freq", "1",
        "--websockets-pong-tolerance", "2",
        "--reload-mercy", "0",
        "--disable-logging", "--disable-session-logging",
    )  # fmt: skip
    with Crowd(server, "/park", COUNT, DEAD) as crowd:
        dead, living = crowd.members[:DEAD], crowd.members[DEAD:]
        crowd.watch_until(lambda: all(member.is_open for member in crowd.members), "all handshakes", 30)
        crowd.watch_until(lambda: all(member.pings for member in crowd.members), "all peers are pinged", 10)
        crowd.watch_until(lambda: all(m.closed_after_s is not None for m in dead), "the dead are dropped", 10)
        crowd.watch_until(lambda: all(member.pings >= 4 for member in living), "the living are pinged on", 20)
        assert [m for m in living if m.closed_after_s is not None] == [], "living peers were dropped"
        assert max(member.pings for member in dead) <= 2, "one ping at a time goes into silence"
        echo(upgrade(server, "/echo"))
        assert get(server, "/hello") == (200, b"hello")
        told = server.wait_for_lines(r"127\.0\.0\.1:\d+ /park: dropped: no sign of life came after a ping", DEAD)
        assert len(told) == DEAD, "one line for each, and none for the living"
