"""The browser's side of channels, python/fairlead/static/channels.js, in Chromium: the tests of channels_client.js.

They bring a socket and a clock of their own, so nothing here waits for time to pass. What the module does with a server
is seen in test_channel_pages.py.
"""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairlead import channels
from selenium import webdriver

TESTS = Path(__file__).with_name("channels_client.js")
NAMES = re.findall(r'^  "(.+)"\(\) \{$', TESTS.read_text(encoding="utf-8"), re.MULTILINE)

RUN = """
const [name, done] = arguments;
import("/tests.js").then(({ run, names }) => {
  if (name === null) return done(names);
  run(name);
  done("passed");
}).catch((error) => done(String(error.stack)));
"""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """The address of a server with an empty page, the tests and the module."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("name", NAMES)
def test_in_a_browser(browser: webdriver.Chrome, pages: str, name: str) -> None:
    browser.get(pages)
    assert browser.execute_async_script(RUN, name) == "passed"


def test_all_of_them_were_run(browser: webdriver.Chrome, pages: str) -> None:
    browser.get(pages)
    assert browser.execute_async_script(RUN, None) == NAMES
    assert len(NAMES) > 20


class Pages(http.server.BaseHTTPRequestHandler):
    """Three files."""

    def do_GET(self) -> None:
        file = {"/tests.js": TESTS, "/channels.js": Path(channels.CLIENT_JS)}.get(self.path)
        body = file.read_bytes() if file else b"<!doctype html><title>tests</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if file else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
