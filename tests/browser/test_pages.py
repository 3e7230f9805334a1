"""The examples' pages in Chromium: what a newcomer sees first.

Every wait is for something on the page or in the log. Both hosts serve the same pages.
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


def join(browser: webdriver.Chrome, server: Server, name: str) -> None:
    browser.get(server.url("/", "http"))
    say(browser, name)
    wait_for_text(browser, "#lines", f"You joined as {name}")


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


# -- the chat


def test_two_windows_chat(browser, start):
    server = start(EXAMPLES / "chat.py")
    complaints(browser)
    join(browser, server, "Ada")
    assert text(browser, "#state") == "only you"
    ada = browser.current_window_handle
    browser.switch_to.new_window("window")
    grace = browser.current_window_handle
    join(browser, server, "Grace")
    assert text(browser, "#state") == "2 people"
    say(browser, "hello Ada")
    wait_for_text(browser, ".said.mine", "hello Ada")

    browser.switch_to.window(ada)
    wait_for_text(browser, "#lines", "Grace joined")
    wait_for_text(browser, ".said:not(.mine)", "hello Ada")
    say(browser, "<img src=x onerror=alert(1)><b>not bold</b>")

    browser.switch_to.window(grace)
    wait_for_text(browser, "#lines", "<img src=x onerror=alert(1)><b>not bold</b>")
    assert browser.find_elements(By.CSS_SELECTOR, "#lines img") == []
    browser.close()

    browser.switch_to.window(ada)
    wait_for_text(browser, "#lines", "Grace left")
    wait_for_text(browser, "#state", "only you")
    assert complaints(browser) == []


def test_the_same_name_twice_gets_a_number(browser, start):
    server = start(EXAMPLES / "chat.py")
    join(browser, server, "Ada")
    browser.switch_to.new_window("window")
    browser.get(server.url("/", "http"))
    say(browser, "Ada")
    wait_for_text(browser, "#lines", "You joined as Ada 2")


def test_the_chat_page_comes_back_after_a_restart(browser, start):
    server = start(EXAMPLES / "chat.py")
    join(browser, server, "Ada")
    server.signal(signal.SIGTERM)
    wait_for_text(browser, "#lines", "Disconnected (1001).")
    wait_for_text(browser, "#state", "reconnecting")
    assert browser.find_element(By.ID, "go").get_property("disabled")
    assert server.wait_for_end() == 0
    start(EXAMPLES / "chat.py", listen=("--http", server.host_header))
    wait_for(browser, lambda: text(browser, "#lines").count("You joined as Ada") == 2, "Ada is back")
    wait_for_text(browser, "#state", "only you")
    say(browser, "back again")
    wait_for_text(browser, ".said.mine", "back again")
