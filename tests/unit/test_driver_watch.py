"""Which drivers of Socket.IO stand still under which concurrency model."""

from __future__ import annotations

import pytest
from fairlead.settings.options import Given, Settings
from fairlead.worker.driver_watch import idle_driver

DRIVERS = "engineio.async_drivers."


def told(driver: str, *options: tuple[str, str | None]) -> str:
    given = [("http", ":1"), ("wsgi-file", "a.py"), *options]
    return idle_driver(Settings.of(Given(*one, "test") for one in given), {f"{DRIVERS}{driver}", "gevent", "uwsgi"})


@pytest.mark.parametrize("driver", ["gevent_uwsgi", "gevent", "eventlet"])
@pytest.mark.parametrize("option", ["threads", "async", "asyncio"])
def test_a_driver_with_a_hub_stands_still_under_another_model(driver: str, option: str) -> None:
    text = told(driver, (option, "9"))
    assert text.startswith(f"Socket.IO has chosen its driver {driver!r}, which needs ") and "--gevent 9" in text
    assert "async_mode='threading'" in text


def test_under_gevent_only_eventlet_s_does() -> None:
    assert told("gevent_uwsgi", ("gevent", "9")) == told("gevent", ("gevent", "9")) == ""
    assert told("eventlet", ("gevent", "9")).endswith("use --gevent 9 and async_mode='gevent_uwsgi'")


def test_drivers_without_a_hub_and_programs_without_socket_io_are_fine() -> None:
    assert told("threading", ("threads", "9")) == told("asgi", ("asyncio", "9")) == ""
