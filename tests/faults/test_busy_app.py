"""Who drives the loop: an app that computes without a pause delays no pong and no ping, whatever the runner."""

from __future__ import annotations

import re
import select
import time

import pytest
from faults.machine import BEHAVIOURS, echo
from support.raw_client import CLOSE, PING, PONG, TEXT
from support.runners import every_runner

pytestmark = [every_runner, pytest.mark.alone]

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


@pytest.mark.parametrize("path", ["/busy", "/blocking"])
def test_the_log_names_the_request_that_blocked_its_worker_and_says_how_long(start, upgrade, runner, path):
    server = start(BEHAVIOURS)
    quiet, busy = upgrade(server, "/echo"), upgrade(server, path)
    echo(quiet)
    began = time.monotonic()
    busy.send_text(str(BUSY_S))
    quiet.send_text("is anybody there?")
    assert busy.read_data() == (TEXT, b"done", True)
    took = time.monotonic() - began
    quiet.read_data()
    if runner.name == "threads":
        busy.close_in_order()
        busy.close()
        quiet.close()
        server.stop()  # to its last line
        assert not [line for line in server.lines if "blocked" in line], "a thread blocks nobody but itself"
        return
    line = server.wait_for_line(r"(\S+) (\S+): the application blocked its worker for ([\d.]+) s at (.*); other")
    peer, label, seconds, place = line.groups()
    host_name, port = busy.socket.getsockname()
    assert (peer, label) == (f"{host_name}:{port}", path)
    assert BUSY_S * 0.8 < float(seconds) < took * 1.2, f"it took {took} s"
    file = re.escape(str(BEHAVIOURS))
    assert re.fullmatch(rf"{file}:\d+ \(application\), in {file}:\d+ \({path[1:]}\)", place), place


def test_a_short_wait_is_no_reason_for_a_line(start, upgrade):
    server = start(BEHAVIOURS)
    busy = upgrade(server, "/busy")
    for _ in range(3):
        busy.send_text("0.3")
        assert busy.read_data() == (TEXT, b"done", True)
    busy.close_in_order()
    busy.close()
    server.stop()  # to its last line
    assert not [line for line in server.lines if "blocked" in line]
