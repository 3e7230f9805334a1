"""The tables of docs/reference/close-codes.md and docs/howto/troubleshooting.md: each end of a WebSocket is made here.

Each end says which code its client sees and which lines the pages promise for it. Two tests count that no row of the
tables is left: a code that Fairlead sends, or a line of the log that a page explains, has to be made.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from documentation.pages import pattern, text_of
from support.raw_client import CLOSE, PING, TEXT, RawClient, frame
from support.server import Server

APP = """
import os, signal
from fairlead import channels, websocket


def application(environ, start_response):
    with websocket(environ) as ws:
        ws.join("news", slow_consumer="close")
        for message in ws:
            if message == "return":
                break
            elif message == "raise":
                raise RuntimeError("as the page says")
            elif message == "own code":
                ws.close(4001, "sign in again")
            elif message == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            elif message == "publish":
                for _ in range(500):
                    channels.publish("news", b"x" * 60000)
    return []
"""


class End(NamedTuple):
    """What is done, the code that the client reads (None: no Close comes), and what the log says, in a page's words."""

    do: Callable[[Server, RawClient], object]
    code: int | None
    says: tuple[str, ...]


def say(text: str) -> Callable[[Server, RawClient], object]:
    return lambda server, client: client.send_text(text)


def not_read(server: Server, client: RawClient) -> None:
    """Nothing is read before the server has given up."""
    since = server.mark()
    client.send_text("publish")
    server.wait_for_line("closed with 1013", since)


def octets(data: bytes) -> Callable[[Server, RawClient], object]:
    return lambda server, client: client.send_bytes(data)


def to_master(number: int) -> Callable[[Server, RawClient], object]:
    return lambda server, client: server.signal(number)


ENDS = {
    "the application returns": End(say("return"), 1000, ("session: … closed 1000 by app",)),
    "the client closes": End(
        lambda server, client: client.send_close(1000), 1000, ("session: … closed 1000 by client",)
    ),
    "a frame without a mask": End(
        octets(b"\x81\x05hello"), 1002, ("closed with 1002: …", "session: … closed 1002 … by server: violation")
    ),
    "a text that is no UTF-8": End(octets(frame(TEXT, b"\xff")), 1007, ("closed with 1007: …",)),
    "pings without end": End(octets(frame(PING) * 501), 1008, ("closed with 1008: …",)),
    "a message that is too large": End(
        octets(frame(TEXT, b"x" * 1_100_000)[:1000]),
        1009,
        ("closed with 1009: message of … bytes, at most … are allowed",),
    ),
    "the application raises": End(say("raise"), 1011, ("session: … closed 1011 by app",)),
    "a slow consumer": End(not_read, 1013, ("closed with 1013: slow consumer…",)),
    "a code of the application's": End(say("own code"), 4001, ("session: … closed 4001 … by app",)),
    "no answer to a ping": End(
        lambda server, client: None,
        None,
        ("dropped: no sign of life came after a ping", "session: … dropped by server: ping time-out"),
    ),
    "a client that vanishes": End(lambda server, client: client.abort(), None, ("session: … lost by client: …",)),
    "a worker that is killed": End(say("die"), None, ("was killed by signal 9 (SIGKILL); starting another",)),
    "a reload": End(to_master(signal.SIGHUP), 1012, ("session: … closed 1012 by server: reload",)),
    # The last one: it ends the server of all.
    "a stop": End(to_master(signal.SIGTERM), 1001, ("session: … closed 1001 by server: stop",)),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    app = tmp_path_factory.mktemp("ends") / "app.py"
    app.write_text(APP)
    options = ("--websockets-ping-freq", "1", "--websockets-pong-tolerance", "1", "--channels-backlog", "64")
    # A line of the log comes when the connection has gone, and the client here does not answer the Close.
    options += ("--websockets-close-timeout", "1")
    with Server.start(app, "--async", "20", "--greenlet", *options) as server:
        yield server


@pytest.mark.parametrize("name", ENDS)
def test_an_end_has_the_code_and_the_lines_of_the_pages(server: Server, name: str) -> None:
    end = ENDS[name]
    since = server.mark()
    with RawClient.upgrade(server) as client:
        client.send_text("hello")
        end.do(server, client)
        if end.code is not None:
            while (found := client.read_frame()).opcode != CLOSE:
                pass
            assert int.from_bytes(found.payload[:2], "big") == end.code
        for line in end.says:
            server.wait_for_line(pattern(line), since)


def test_each_code_that_the_page_gives_to_fairlead_is_made_here() -> None:
    rows = re.findall(r"^\| (\d+) \| Fairlead \|", text_of("reference/close-codes.md"), re.MULTILINE)
    assert {int(code) for code in rows} == {end.code for end in ENDS.values() if end.code and end.code < 3000}


def test_each_line_of_the_log_that_the_page_explains_is_made_here() -> None:
    _, _, section = text_of("howto/troubleshooting.md").partition("## Why was I disconnected?")
    shown = re.findall(r"^\| `(.+?)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert len(shown) > 8
    assert set(shown) - {line for end in ENDS.values() for line in end.says} == set()


def test_the_page_has_each_code_that_the_engine_names() -> None:
    source = (Path(__file__).parents[2] / "crates/websocket/src/close_code.rs").read_text()
    named = set(re.findall(r"CloseCode = CloseCode\((\d+)\)", source))
    told = set(re.findall(r"\b[1-4]\d{3}\b", text_of("reference/close-codes.md")))
    assert named - told - {str(code) for code in (*range(1000, 1004), *range(1007, 1015))} == set()
