"""Says at the start that Socket.IO has chosen a driver whose greenlets nobody will run.

python-engineio takes the first driver that can be imported: eventlet's if that is installed, then gevent's for uWSGI,
for there is a module `uwsgi` here too. Both need their hub to run, and under another concurrency model it does not: the
library's greenlets never get a turn, no event arrives, and nothing says why. What the application has imported tells.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from typing import Protocol

from fairlead.settings.options import Settings

__all__ = ["DriverWatch", "idle_driver"]

#: The drivers with a hub of their own, and whose it is.
_HUBS = {
    "engineio.async_drivers.eventlet": "eventlet",
    "engineio.async_drivers.gevent_uwsgi": "gevent",
    "engineio.async_drivers.gevent": "gevent",
}


class Log(Protocol):
    def warning(self, text: str) -> None: ...


class DriverWatch:
    """Looks whether there is such a driver, and says so once."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._is_told = False

    def look(self) -> None:
        """To be called when the application is loaded, and now and then: it may import more with its first request."""
        text = "" if self._is_told else idle_driver(self._settings)
        if text:
            self._is_told = True
            self._log.warning(text)


def idle_driver(settings: Settings, modules: Container[str] = sys.modules) -> str:
    """A sentence about the driver that the application has imported and whose hub this worker does not run; "" if there
    is none."""
    for module, hub in _HUBS.items():
        if module in modules and hub != settings.runner:
            driver = module.rpartition(".")[2]
            remedy = f"--gevent {settings.slots}" + (" and async_mode='gevent_uwsgi'" if hub != "gevent" else "")
            if settings.runner != "gevent":
                threads = "" if settings.runner == "threads" else " --threads N and"
                remedy += f", or{threads} async_mode='threading' (long polling only)"
            return (
                f"Socket.IO has chosen its driver {driver!r}, which needs {hub}'s hub, and nobody runs that under "
                f"{settings.runner}: its events will not arrive; use {remedy}"
            )
    return ""
