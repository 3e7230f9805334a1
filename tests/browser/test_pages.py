"""The examples' pages in Chromium: what a newcomer sees first.

Every wait is for something on the page or in the log.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from support.server import TIMEOUT_S, Server

EXAMPLES = Path(__file__).parents[2] / "examples"


def wait_for(browser: webdriver.Chrome, condition: Callable[[], object], what: str) -> None:
    WebDriverWait(browser, TIMEOUT_S, poll_frequency=0.05).until(lambda _: condition(), what)


def text(browser: webdriver.Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


def wait_for_text(browser: webdriver.Chrome, selector: str, expected: str) -> None:
    wait_for(browser, lambda: expected in text(browser, selector), f"{expected!r} in {selector}")


def say(browser: webdriver.Chrome, words: str) -> None:
    browser.find_element(By.TAG_NAME, "input").send_keys(words, Keys.ENTER)


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Errors on the console since the last look."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


# -- the echo page


def test_the_echo_page_echoes(browser, start):
    server = start(EXAMPLES / "echo.py")
    complaints(browser)
    browser.get(server.url("/", "http"))
    wait_for_text(browser, "pre", "connected")
    for words in ("hello there", "größer ≥ 日本語", "<b>bold</b>"):
        say(browser, words)
        wait_for_text(browser, "pre", f"echo: {words}")
    assert complaints(browser) == []


def test_the_echo_page_sees_1001_when_the_server_stops(browser, start):
    server = start(EXAMPLES / "echo.py")
    browser.get(server.url("/", "http"))
    wait_for_text(browser, "pre", "connected")
    server.signal(signal.SIGTERM)
    wait_for_text(browser, "pre", "closed with 1001")
    assert server.wait_for_end() == 0


def test_the_echo_page_sees_1012_when_the_server_reloads(browser, start):
    server = start(EXAMPLES / "echo.py")
    browser.get(server.url("/", "http"))
    wait_for_text(browser, "pre", "connected")
    server.signal(signal.SIGHUP)
    wait_for_text(browser, "pre", "closed with 1012")


# -- which pages may connect

CONNECT = """
const [url, done] = arguments, socket = new WebSocket(url);
socket.onopen = () => { socket.send("from elsewhere"); };
socket.onmessage = (event) => { done("echoed " + event.data); };
socket.onclose = (event) => done("closed with " + event.code);
"""


def connect_from_another_page(browser: webdriver.Chrome, page: Server, target: Server) -> str:
    browser.get(page.url("/", "http"))
    return browser.execute_async_script(CONNECT, target.url("/"))


def test_a_page_of_another_origin_is_refused_and_the_log_says_what_to_do(browser, start):
    page, target = start(EXAMPLES / "echo.py"), start(EXAMPLES / "echo.py")
    assert connect_from_another_page(browser, page, target) == "closed with 1006"
    line = target.wait_for_line(r"127\.0\.0\.1.*--websockets-origin")
    assert f"http://{page.host_header}" in line.string, "the log names the origin to allow"


@pytest.mark.parametrize("everybody", [False, True])
def test_a_page_of_another_origin_connects_when_it_is_allowed(browser, start, everybody):
    page = start(EXAMPLES / "echo.py")
    origin = "*" if everybody else page.url("", "http")
    target = start(EXAMPLES / "echo.py", "--websockets-origin", origin)
    assert connect_from_another_page(browser, page, target) == "echoed from elsewhere"
