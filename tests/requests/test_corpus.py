"""HTTP requests as data: bytes in, and what must come of them; README.md says how a case is written.

Every case is sent to each kind of listener, and octet by octet as well, because where a segment ends must not
matter. A refused request may not reach the app, nor may anything behind it: that would be the smuggled one.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import read_answer
from support.certificates import Pair, connect
from support.raw_client import RawClient
from support.server import Server

HERE = Path(__file__).parent
VALID = sorted((HERE / "valid").glob("*.http"))
INVALID = sorted((HERE / "invalid").glob("*.http"))

#: The parser is the same behind every listener, so where a segment may end is tried with one of them.
LISTENERS = pytest.mark.parametrize(
    ("listener", "is_chopped"),
    [("--http", False), ("--http", True), ("--http-socket", False), ("--https", False)],
    ids=["http", "http octets", "http_socket", "https"],
)


@pytest.fixture
def server(serve: Callable[..., Server], listener: str, pair: Pair) -> Server:
    return serve("mirror.py", listen=(listener, "127.0.0.1:0" + (f",{pair.https}" if listener == "--https" else "")))


@pytest.fixture
def dial(server: Server, listener: str, trusting: ssl.SSLContext) -> Callable[[], RawClient]:
    """Makes a client of the listener."""
    return lambda: RawClient(connect(server, trusting) if listener == "--https" else server.connect())


def load(path: Path) -> tuple[bytes, Any]:
    text = path.read_text("ascii").replace("\n", "")
    text = re.sub(r"%\(fill (\d+)\)", lambda found: "x" * int(found[1]), text)
    text = re.sub(r"%\(lines (\d+)\)", lambda found: "".join(f"X-{n}: v\\r\\n" for n in range(int(found[1]))), text)
    data = text.encode("ascii").decode("unicode_escape").encode("latin-1")
    return data, json.loads(path.with_suffix(".json").read_text())


def send(client: RawClient, data: bytes, is_chopped: bool) -> None:
    # A refusal may come before the last byte; then the rest meets a closed connection.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        if is_chopped and len(data) < 4000:
            client.send_octets(data)
        else:
            client.send_bytes(data)


@LISTENERS
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_request_is_seen_by_the_app_as_it_was_meant(
    dial: Callable[[], RawClient], path: Path, is_chopped: bool
) -> None:
    data, expected = load(path)
    with dial() as client:
        send(client, data, is_chopped)
        for one in expected:
            method = one.get("method", "GET")
            answer = read_answer(client, method)
            assert answer.status == one.get("status", 200), answer
            if method == "HEAD" or "environ" not in one:
                continue
            seen = json.loads(answer.body)
            found = {key: seen["environ"].get(key) for key in one["environ"]}
            assert found == one["environ"]
            assert seen["body"] == one.get("body", "")
        if expected[-1].get("end") == "close":
            client.read_end()
        elif expected[-1].get("end") == "open":
            client.send_bytes(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
            assert json.loads(read_answer(client).body)["environ"]["PATH_INFO"] == "/after"


@LISTENERS
@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_request_is_refused_and_nothing_behind_it_is_served(
    server: Server, dial: Callable[[], RawClient], path: Path, is_chopped: bool
) -> None:
    data, expected = load(path)
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" if expected["close"] else b""
    since = server.mark()
    with dial() as client:
        send(client, data + smuggled, is_chopped)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(client.socket, socket.SHUT_WR)  # one of TLS would forget its keys
        rest = client.read_rest()
    statuses = [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", rest)]
    if expected.get("may_be_silent") and not rest:
        pass
    elif expected["status"]:
        assert statuses and statuses[0] in expected["status"], rest[:500]
        assert len(statuses) == 1, rest[:500]
    else:
        assert not rest
    if not expected.get("reaches_app"):
        assert b"X-Mirror" not in rest and b"x-mirror" not in rest, rest[:500]
        # The log is behind, so a later request is waited for before it is searched.
        with dial() as client:
            client.send_bytes(b"GET /marker HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(client).status == 200
        server.wait_for_line("mirror: GET '/marker'", since)
        seen = [line for line in server.lines[since:] if line.startswith("mirror: ")]
        assert not [line for line in seen if "/marker" not in line and "/after" not in line], seen


def test_the_corpus_is_large_and_paired() -> None:
    assert len(VALID) + len(INVALID) >= 60
    for path in (*VALID, *INVALID):
        assert path.with_suffix(".json").exists(), path
