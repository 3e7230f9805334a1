"""The driver's seat: an app that computes without a pause delays no pong and no ping, whatever the host."""

from __future__ import annotations

import select
import time

from faults.machine import BEHAVIOURS, echo
from support.raw_client import CLOSE, PING, PONG, TEXT

BUSY_S = 2.0


def test_pings_are_answered_at_once_while_an_app_computes_for_seconds(start, upgrade):
    server = start(BEHAVIOURS)
    quiet, busy = upgrade(server, "/echo"), upgrade(server, "/busy")
    echo(quiet)
    busy.send_text(str(BUSY_S))
    delays = {"another connection": [], "the busy connection": []}
    began = time.monotonic()
    while time.monotonic() < began + BUSY_S * 0.75:
        for name, client in (("another connection", quiet), ("the busy connection", busy)):
            sent = time.monotonic()
            client.send(PING, b"still there?")
            while (frame := client.read_frame()).opcode != PONG or not frame.payload:
                assert frame.opcode == PONG, frame
            delays[name].append(time.monotonic() - sent)
        select.select([quiet.socket], [], [], 0.01)  # spreads the pings; 500 at once would be a flood
    assert busy.read_data() == (TEXT, b"done", True)
    assert time.monotonic() - began > BUSY_S * 0.9, "the app was not busy at all"
    for name, times in delays.items():
        times.sort()
        assert len(times) > 20, f"{name}: only {len(times)} pings came back in {BUSY_S} s"
        assert times[len(times) // 2] < 0.03, f"{name}: half of the pongs took more than {times[len(times) // 2]} s"
        assert times[len(times) * 9 // 10] < 0.15, f"{name}: the slowest pongs took {times[-5:]}"
    echo(quiet)


def test_silent_peers_are_pinged_while_an_app_computes(start, upgrade):
    server = start(BEHAVIOURS, "--websockets-ping-freq", "0.5", "--websockets-pong-freq", "0")
    quiet, busy = upgrade(server, "/echo"), upgrade(server, "/busy")
    echo(quiet)
    began = time.monotonic()
    busy.send_text(str(BUSY_S))
    pings = []
    while len(pings) < 2:
        frame = quiet.read_frame()
        assert frame.opcode == PING, frame
        pings.append(time.monotonic() - began)
        quiet.send(PONG, frame.payload)
    assert pings[-1] < BUSY_S, f"pings came after {pings} s, so they waited for the app"


def test_a_close_is_answered_while_an_app_computes(start, upgrade):
    server = start(BEHAVIOURS)
    quiet, busy = upgrade(server, "/echo"), upgrade(server, "/busy")
    echo(quiet)
    began = time.monotonic()
    busy.send_text(str(BUSY_S))
    quiet.send_close(1000)
    assert quiet.read_frame().opcode == CLOSE
    assert time.monotonic() - began < BUSY_S * 0.9
