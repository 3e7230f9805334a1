"""The pages of the examples that use channels, in Chromium: windows on two processes, one of which is killed.

Every wait is for something on a page.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from documentation.pages import commands
from faults.machine import wait_until
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from support.server import TIMEOUT_S, Server
from support.silent_proxy import SilentProxy

EXAMPLES = Path(__file__).parents[2] / "examples"
CHAT, CURSORS = EXAMPLES / "chat.py", EXAMPLES / "cursors.py"


def wait_for(browser: webdriver.Chrome, condition: Callable[[], object], what: str) -> None:
    WebDriverWait(browser, TIMEOUT_S, poll_frequency=0.05).until(lambda _: condition(), what)


def text(browser: webdriver.Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


def wait_for_text(browser: webdriver.Chrome, selector: str, expected: str) -> None:
    wait_for(browser, lambda: expected in text(browser, selector), f"{expected!r} in {selector}")


def say(browser: webdriver.Chrome, words: str) -> None:
    browser.find_element(By.TAG_NAME, "input").send_keys(words, Keys.ENTER)


def join(browser: webdriver.Chrome, server: Server, name: str, path: str = "/") -> None:
    browser.get(server.url(path, "http"))
    say(browser, name)
    wait_for_text(browser, "#lines", f"You joined as {name}")


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Errors on the console since the last look, but for those of a connection that was lost or refused."""
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return [message for message in severe if "WebSocket connection to" not in message]


def process(browser: webdriver.Chrome) -> int:
    """The process that serves this window, as its application says."""
    found = "return document.body.dataset.process"
    wait_for(browser, lambda: browser.execute_script(found), "the application says its process")
    return int(browser.execute_script(found))


def until_on_another(browser: webdriver.Chrome, enter: Callable[[int], None], processes: set[int]) -> None:
    """Enter again and again, until this window is served by none of these."""
    for attempt in range(50):
        enter(attempt)
        if process(browser) not in processes:
            return
    raise AssertionError(f"50 connections are served by {processes}")


def said(browser: webdriver.Chrome) -> list[str]:
    """What is shown as said, from the first line to the last."""
    return browser.execute_script("return [...document.querySelectorAll('.said span')].map((one) => one.textContent)")


# -- the chat


def test_two_windows_chat(browser, start):
    server = start(CHAT)
    complaints(browser)
    join(browser, server, "Ada")
    assert text(browser, "#state") == "only you"
    ada = browser.current_window_handle
    browser.switch_to.new_window("window")
    grace = browser.current_window_handle
    join(browser, server, "Grace")
    assert text(browser, "#state") == "2 people"
    assert "Ada joined" in text(browser, "#lines"), "what was before is shown"
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
    server = start(CHAT)
    join(browser, server, "Ada")
    browser.switch_to.new_window("window")
    browser.get(server.url("/", "http"))
    say(browser, "Ada")
    wait_for_text(browser, "#lines", "You joined as Ada 2")


def test_rooms_are_apart(browser, start):
    server = start(CHAT, "--processes", "2")
    join(browser, server, "Ada", "/?room=k%C3%BCche")
    assert text(browser, "#room") == "küche"
    say(browser, "in the kitchen")
    wait_for_text(browser, ".said.mine", "in the kitchen")
    browser.switch_to.new_window("window")
    join(browser, server, "Ada")
    assert said(browser) == []
    assert text(browser, "#state") == "only you"


def test_the_chat_page_comes_back_after_a_restart(browser, start):
    server = start(CHAT)
    join(browser, server, "Ada")
    server.signal(signal.SIGTERM)
    wait_for_text(browser, "#lines", "Disconnected (1001).")
    wait_for_text(browser, "#state", "reconnecting")
    assert browser.find_element(By.ID, "go").get_property("disabled")
    assert server.wait_for_end() == 0
    start(CHAT, listen=("--http", server.host_header))
    wait_for_text(browser, "#lines", "You are back")
    # The new instance has no memory of the old one, and the page does not hide that.
    wait_for_text(browser, "#lines", "Lines may be missing here.")
    wait_for_text(browser, "#state", "only you")
    say(browser, "back again")
    wait_for_text(browser, ".said.mine", "back again")


def test_the_chat_page_notices_that_its_path_is_dead_and_shows_nobody_her_own_leaving(browser, start):
    server = start(
        CHAT, "--channels-heartbeat", "0.5", "--websockets-ping-freq", "1", "--websockets-pong-tolerance", "1"
    )
    complaints(browser)
    join(browser, server, "Grace")
    grace = browser.current_window_handle
    browser.switch_to.new_window("window")
    anna = browser.current_window_handle
    with SilentProxy(server.address) as proxy:
        browser.get(f"http://{proxy.address}/")
        say(browser, "Anna")
        wait_for_text(browser, "#lines", "You joined as Anna")
        # Longer than a silence may last, which is 2.25 s: nothing is said, and the connection stays.
        browser.execute_async_script("setTimeout(arguments[0], 3000)")
        assert "Disconnected" not in text(browser, "#lines")
        proxy.fall_silent()
        browser.switch_to.window(grace)
        say(browser, "into the void")
        browser.switch_to.window(anna)
        wait_for_text(browser, "#lines", "Disconnected (1006).")
        wait_for_text(browser, "#lines", "You are back")
        assert said(browser) == ["into the void"], "it was missed, and is here"
        # The server finds by its pings that the first connection is dead, and tells the room.
        browser.switch_to.window(grace)
        wait_for_text(browser, "#lines", "Anna left")
        say(browser, "after that")
        browser.switch_to.window(anna)
        wait_for(browser, lambda: said(browser) == ["into the void", "after that"], "what is said behind her leaving")
        assert "left" not in text(browser, "#lines")
        assert complaints(browser) == []


def test_two_windows_on_two_processes_lose_and_double_nothing_though_one_is_killed(browser, start):
    server = start(CHAT, "--processes", "2")
    complaints(browser)
    join(browser, server, "Ada")
    ada, ada_process = browser.current_window_handle, process(browser)
    browser.switch_to.new_window("window")
    grace = browser.current_window_handle
    until_on_another(browser, lambda attempt: join(browser, server, f"Grace{attempt}"), {ada_process})
    wait_for_text(browser, "#state", "2 people")
    say(browser, "before, from there")
    wait_for_text(browser, ".said.mine", "before, from there")

    os.kill(process(browser), signal.SIGKILL)
    browser.switch_to.window(ada)
    for number in range(5):
        say(browser, f"meanwhile {number}")
    browser.switch_to.window(grace)
    wait_for_text(browser, "#lines", "You are back")
    wait_for_text(browser, "#state", "2 people")
    say(browser, "after, from there")
    browser.switch_to.window(ada)
    say(browser, "after, from here")

    texts = [
        "before, from there",
        *(f"meanwhile {number}" for number in range(5)),
        "after, from there",
        "after, from here",
    ]
    for window in (ada, grace):
        browser.switch_to.window(window)
        wait_for(browser, lambda: len(said(browser)) >= len(texts), "all lines")
        # What both say at once may come in either order, but in the same one for both.
        assert sorted(said(browser)) == sorted(texts)
        assert said(browser)[:6] == texts[:6]
        assert "missing" not in text(browser, "#lines")
        assert text(browser, "#state") == "2 people"
    assert complaints(browser) == []


def test_what_was_on_its_way_when_the_process_died_is_said_again(browser, start):
    server = start(CHAT, "--processes", "2")
    join(browser, server, "Ada")
    serving = process(browser)
    os.kill(serving, signal.SIGSTOP)  # so that the line comes no further than its socket
    say(browser, "on its way")
    os.kill(serving, signal.SIGKILL)
    wait_for_text(browser, "#lines", "You are back")
    wait_for_text(browser, ".said.mine", "on its way")
    say(browser, "the next one")
    wait_for(browser, lambda: "the next one" in said(browser), "the next line")
    assert said(browser) == ["on its way", "the next one"]


def test_a_line_that_was_said_again_is_shown_once(browser, start, upgrade):
    server = start(CHAT)
    join(browser, server, "Ada")
    grace = upgrade(server, "/?name=Grace&id=g")
    for line in ("g-1 hello", "g-1 hello", "g-2 hello"):
        grace.send_text(line)
    grace.send_text("g-3 that was all")
    wait_for(browser, lambda: "that was all" in said(browser), "the last line")
    assert said(browser) == ["hello", "hello", "that was all"]


# -- the page of docs/howto/channels.md


def test_the_page_that_the_documentation_shows_resumes_after_a_kill(browser, start, upgrade, tmp_path):
    app = tmp_path / "news.py"
    app.write_text(next(one for one in commands("howto/channels.md") if app.name in one.words).files[app.name])
    server = start(app, "--processes", "2")
    complaints(browser)
    browser.get(server.url("/", "http"))
    # Until the page has joined, what is said is not for it.
    said_first = itertools.count()
    reporter = upgrade(server)

    def page_hears() -> bool:
        reporter.send_text(f"ready {next(said_first)}")
        return "ready" in text(browser, "ul")

    wait_for(browser, page_hears, "the page has joined")
    workers = server.worker_pids()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(set(server.worker_pids()) - set(workers)) == 2, "two new workers")
    reporter = upgrade(server)
    for number in range(3):
        reporter.send_text(f"news {number}")
    wait_for_text(browser, "ul", "news 2")
    items = browser.execute_script("return [...document.querySelectorAll('li')].map((one) => one.textContent)")
    assert items[-3:] == [f"news {number}" for number in range(3)]
    assert "missing" not in text(browser, "ul")
    assert len(set(items)) == len(items)
    assert complaints(browser) == []


# -- the cursors

#: The brightest of the pixels around a point of the canvas, which is transparent where nothing is drawn.
BRIGHTEST = """
const [x, y] = arguments, canvas = document.querySelector("canvas");
const { data } = canvas.getContext("2d").getImageData(x * canvas.width - 3, y * canvas.height - 3, 6, 6);
return data.reduce((most, value, at) => at % 4 === 3 ? most : Math.max(most, value), 0);
"""


def point(browser: webdriver.Chrome, x: float, y: float) -> None:
    """Move the pointer there, in parts of the window."""
    width, height = browser.execute_script("return [innerWidth, innerHeight]")
    actions = ActionChains(browser, duration=20)
    actions.w3c_actions.pointer_action.move_to_location(round(x * width), round(y * height))
    actions.perform()


def play(browser: webdriver.Chrome, server: Server) -> None:
    browser.get(server.url("/", "http"))
    wait_for_text(browser, "output", "moving here")


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
def test_a_window_draws_what_another_one_on_another_process_moves(browser, start, killed):
    server = start(CURSORS, "--processes", "2")
    complaints(browser)
    play(browser, server)
    first, first_process = browser.current_window_handle, process(browser)
    browser.switch_to.new_window("window")
    until_on_another(browser, lambda _: play(browser, server), {first_process})
    second = browser.current_window_handle
    if killed:
        os.kill(first_process, signal.SIGKILL)
        browser.switch_to.window(first)
        wait_for(browser, lambda: process(browser) != first_process, "the first window is back")
        wait_for_text(browser, "output", "moving here")

    for x, y in ((0.25, 0.75), (0.8, 0.4)):
        browser.switch_to.window(second)
        assert browser.execute_script(BRIGHTEST, x, y) < 60, "nothing is drawn there yet"
        browser.switch_to.window(first)
        point(browser, x, y)
        browser.switch_to.window(second)
        wait_for(browser, lambda x=x, y=y: browser.execute_script(BRIGHTEST, x, y) > 150, f"something at {x}, {y}")
    wait_for_text(browser, "output", "1 moving here")

    browser.switch_to.window(first)
    browser.close()
    browser.switch_to.window(second)
    wait_for_text(browser, "output", "0 moving here")
    assert complaints(browser) == []
