"""The applications of tests/libraries in Chromium: Socket.IO's own client, the frameworks' sites, a chat over Redis."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from support.libraries import SITES, SOCKETIO, SOCKETIO_CLIENT, SOCKETIO_DRIVERS, start_library
from support.redis_server import RedisServer
from support.server import TIMEOUT_S, Server


@pytest.fixture
def serve_library() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(folder: str, *options: str, **how: dict[str, str]) -> Server:
        servers.append(start_library(folder, *options, **how))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def wait_for_text(browser: webdriver.Chrome, expected: str, selector: str = "pre") -> None:
    def is_there(_: object) -> bool:
        return expected in browser.find_element(By.CSS_SELECTOR, selector).text

    # An element can go with its page between being found and being read.
    going = [NoSuchElementException, StaleElementReferenceException]
    try:
        WebDriverWait(browser, TIMEOUT_S, poll_frequency=0.05, ignored_exceptions=going).until(is_there)
    except TimeoutException:
        found = browser.find_element(By.CSS_SELECTOR, selector).text
        raise AssertionError(f"{expected!r} is not in {selector}: {found!r}") from None


def type_into(browser: webdriver.Chrome, name: str, words: str) -> None:
    browser.find_element(By.NAME, name).send_keys(words, Keys.ENTER)


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Errors on the console since the last look."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


# -- Socket.IO


@pytest.mark.parametrize(
    ("app", "driver"), list(itertools.product(SOCKETIO, SOCKETIO_DRIVERS)), ids=lambda value: str(value)
)
def test_socket_io_in_two_windows(browser, serve_library, app, driver):
    assert SOCKETIO_CLIENT.exists(), f"{SOCKETIO_CLIENT} is missing: make setup"
    server = serve_library(".", *SOCKETIO[app], environ={"DRIVER": driver, "CLIENT_JS": str(SOCKETIO_CLIENT)})
    complaints(browser)
    enter(browser, server)
    first = browser.current_window_handle
    browser.switch_to.new_window("window")
    enter(browser, server)

    type_into(browser, "words", "größer than you")
    wait_for_text(browser, "said: größer than you")
    emit(browser, '"say", "lounge", new Uint8Array([0, 1, 255]).buffer')
    wait_for_text(browser, "said: bytes 0 1 255")
    emit(browser, '"echo", new Uint8Array([7, 254]).buffer')
    wait_for_text(browser, "echoed: bytes 7 254")
    asked = 'socket.emitWithAck("ask", "Are you there?").then(arguments[0])'
    assert browser.execute_async_script(asked) == "Are you there? Yes!"
    browser.close()

    browser.switch_to.window(first)
    wait_for_text(browser, "said: größer than you")
    wait_for_text(browser, "said: bytes 0 1 255")
    wait_for_text(browser, "somebody left: ")
    emit(browser, '"hang up"')
    wait_for_text(browser, "disconnected: io server disconnect")
    assert complaints(browser) == []


def enter(browser: webdriver.Chrome, server: Server) -> None:
    browser.get(server.url("/", "http"))
    wait_for_text(browser, "you are in lounge")
    wait_for_text(browser, "upgraded to websocket")


def emit(browser: webdriver.Chrome, arguments: str) -> None:
    browser.execute_script(f"socket.emit({arguments})")


# -- the frameworks' sites


@pytest.mark.parametrize("site", SITES)
def test_a_site_knows_in_its_sockets_who_has_logged_in(browser, serve_library, site):
    folder, *options = SITES[site]
    server = serve_library(folder, *options, "--threads", "20")
    complaints(browser)
    browser.get(server.url("/", "http"))
    browser.delete_all_cookies()  # those of 127.0.0.1, whatever its port: of earlier tests
    browser.get(server.url("/", "http"))
    for view in ("/ws/uwsgi", "/ws/fairlead"):
        wait_for_text(browser, "Welcome stranger, you like nothing", f'[data-socket="{view}"]')
    browser.find_element(By.NAME, "name").send_keys("Ada")
    type_into(browser, "colour", "green")
    wait_for_text(browser, "Hello Ada", "h1")
    for view in ("/ws/uwsgi", "/ws/fairlead"):
        wait_for_text(browser, "Welcome Ada, you like green", f'[data-socket="{view}"]')
    type_into(browser, "words", "hello")
    for view in ("/ws/uwsgi", "/ws/fairlead"):
        wait_for_text(browser, "Ada: hello", f'[data-socket="{view}"]')
    assert complaints(browser) == []


# -- the chat over Redis


def test_two_windows_chat_over_redis(browser, serve_library):
    with RedisServer() as redis:
        options = ("--wsgi-file", "redis_suspend.py", "--async", "100", "--greenlet")
        server = serve_library(".", *options, environ={"REDIS_SOCKET": redis.socket})
        complaints(browser)
        browser.get(server.url("/lounge?Ada", "http"))
        wait_for_text(browser, "you are in lounge")
        first = browser.current_window_handle
        browser.switch_to.new_window("window")
        browser.get(server.url("/lounge?Grace", "http"))
        wait_for_text(browser, "you are in lounge")
        browser.find_element(By.TAG_NAME, "input").send_keys("hello Ada", Keys.ENTER)
        wait_for_text(browser, "Grace: hello Ada")
        browser.close()

        browser.switch_to.window(first)
        wait_for_text(browser, "Grace: hello Ada")
        wait_for_text(browser, "Grace left")
        assert complaints(browser) == []
        server.stop()
