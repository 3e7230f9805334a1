"""Chromium over TLS: pages by HTTP/2, and WebSockets inside the same connection (RFC 8441) or on one of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.conftest import begin
from browser.test_pages import text, wait_for
from selenium import webdriver
from support.certificates import Pair
from support.server import TIMEOUT_S

#: Node's `WebSocket` is undici's; `make setup` fetches it.
UNDICI = Path(__file__).parents[2] / ".build/npm/node_modules/undici"


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser that takes any certificate."""
    driver = begin(tmp_path_factory.mktemp("profile"), "--ignore-certificate-errors")
    yield driver
    driver.quit()


@pytest.mark.parametrize(
    ("more", "page", "socket"), [((), "h2", "HTTP/2"), (("--disable-http2",), "http/1.1", "HTTP/1.1")]
)
def test_a_page_and_its_websocket_come_over_tls(lenient, start, pair: Pair, more, page, socket):
    server = start("secure_page.py", *more, listen=("--https", f"127.0.0.1:0,{pair.https}"))
    lenient.get(server.url("/", "https"))
    wait_for(lenient, lambda: "closed:" in text(lenient, "pre"), "the end of the WebSocket")
    assert text(lenient, "pre").splitlines() == [
        f"page: {page}",
        "subprotocol: chat.v1",
        f"socket: {socket} https",
        "echo: 300000",
        "closed: 3456 enough",
    ]


@pytest.mark.parametrize("more", [(), ("--disable-http2",)], ids=["http2", "http1"])
def test_a_page_that_closes_while_it_is_sent_to_sees_its_own_close(lenient, start, pair: Pair, more):
    server = start("secure_page.py", *more, listen=("--https", f"127.0.0.1:0,{pair.https}"))
    lenient.get(server.url("/closing", "https"))
    wait_for(lenient, lambda: "done" in text(lenient, "pre"), "the ends of all WebSockets")
    assert text(lenient, "pre").splitlines() == ["3456  true"] * 8 + ["done"]


def test_node_s_websocket_works_over_http_2(start, pair: Pair):
    """It sends a key that RFC 8441 has no use for, and insists on the answer."""
    server = start("secure_page.py", listen=("--https", f"127.0.0.1:0,{pair.https}"))
    script = Path(__file__).with_name("undici_client.js")
    command = ["node", "--no-warnings", str(script), str(UNDICI), server.url("/ws", "wss")]
    node = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert node.stdout.splitlines() == [
        "open chat.v1",
        "message socket: HTTP/2 https",
        "message hello",
        "close 3456 enough true",
    ], node.stderr
