"""How a worker that leaves spreads its closes, and how it names what it cuts."""

from __future__ import annotations

import pytest
from fairlead.apps.task import Task
from fairlead.errors import SettingsError
from fairlead.master.master import KILL_GRACE_S
from fairlead.settings.options import Given, Settings
from fairlead.worker.drain import cut, running_tasks, spread_over


def settings(*pairs: tuple[str, str]) -> Settings:
    always = [("wsgi-file", "a.py"), ("http", ":0")]
    return Settings.of(Given(name, value, "test") for name, value in [*always, *pairs])


@pytest.mark.parametrize(
    ("sessions", "wanted_s", "left_s", "spread_s"),
    [
        (0, None, 60.0, 0.0),
        (1, None, 60.0, 0.0005),
        (10_000, None, 60.0, 5.0),
        (1_000_000, None, 60.0, 30.0),
        (10_000, None, 4.0, 2.0),
        (10_000, 0.0, 60.0, 0.0),
        (2, 45.0, 60.0, 45.0),
        (2, 45.0, 8.0, 8.0),
        (10_000, None, -1.0, 0.0),
        (10_000, 5.0, -1.0, 0.0),
    ],
)
def test_closes_are_spread_by_their_number_within_the_time_that_is_left(sessions, wanted_s, left_s, spread_s):
    assert spread_over(sessions, wanted_s, left_s) == pytest.approx(spread_s)


def test_a_spread_that_leaves_the_last_no_time_is_refused():
    assert settings(("reload-spread", "59")).reload_spread_s == 59
    assert settings().reload_spread_s is None
    with pytest.raises(SettingsError) as refused:
        settings(("reload-spread", "60"))
    assert str(refused.value) == (
        "--reload-spread 60 leaves the last WebSockets no time before --worker-reload-mercy 60 cuts them; lower the "
        "one or raise the other (test)."
    )


def test_with_the_defaults_a_stop_fits_the_ten_seconds_of_a_container():
    assert settings().reload_mercy_s + KILL_GRACE_S <= 8


class Request:
    def __init__(self, label: str, is_complete: bool = False) -> None:
        self.label = label
        self.is_complete = is_complete


def test_only_requests_that_run_are_found():
    tasks = [
        Task(Request("b:2 /two"), None, 0, 0, 0.0),
        Task(Request("a:1 /one"), None, 0, 0, 0.0),
        Task(Request("c:3 /over", is_complete=True), None, 0, 0, 0.0),
        Task.__new__(Task),  # a thread has just begun to make it
    ]
    assert running_tasks() == ["a:1 /one", "b:2 /two"]
    del tasks


@pytest.mark.parametrize(
    ("tasks", "sessions", "peers", "text"),
    [
        (["a:1 /x"], 0, ["a:1"], "1 request that the application has not ended (a:1 /x)"),
        ([], 2, ["b:2"], "2 WebSockets that did not close; 1 client that had yet to take a response (b:2)"),
        (["a:1 /x", "b:2 /y"], 1, ["c:3", "b:2", "a:1", "[::1]:4"],
         "2 requests that the application has not ended (a:1 /x, b:2 /y); 1 WebSocket that did not close; "
         "2 clients that had yet to take a response ([::1]:4, c:3)"),
    ],
)  # fmt: skip
def test_what_is_cut_is_named(tasks, sessions, peers, text):
    assert cut(tasks, sessions, peers) == f"the time to leave is over; cut: {text}"


def test_where_nothing_is_cut_nothing_is_said():
    assert cut([], 0, []) == ""


def test_of_many_that_are_cut_the_number_is_told():
    line = cut([f"a:{number} /x" for number in range(1000)], 0, [f"b:{number}" for number in range(30)])
    assert "1000 requests that the application has not ended (a:0 /x, " in line and " and 980 more); 30 clients" in line
    assert line.endswith("and 10 more)")
