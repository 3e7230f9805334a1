"""What the kernel's books say about the server's processes, for tests that measure or kill.

Linux only, as the server is for now. `wait_until` is for conditions that nothing announces: it looks again and again
and has an end; where a log line or a frame tells, tests wait for that instead.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.raw_client import RawClient
from support.server import TIMEOUT_S, Server

APPS = Path(__file__).with_name("apps")
BEHAVIOURS = APPS / "behaviours.py"


def private_mib(pid: int) -> float:
    """Resident memory that is the process's own, in MiB: pages of mapped files do not count."""
    return _status(pid, "RssAnon") / 1024


def peak_mib(pid: int) -> float:
    """The most resident memory the process ever had, in MiB."""
    return _status(pid, "VmHWM") / 1024


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


#: Never set: a pause between two looks at something that tells nobody when it changes.
_PAUSE = threading.Event()


def is_running(pid: int) -> bool:
    """A zombie does not run: its parent only has not looked yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Looks until `condition` holds, and fails with `what` it was about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        _PAUSE.wait(0.01)  # between two looks; the condition ends the wait, not the time


def get(server: Server, path: str) -> tuple[int, bytes]:
    """One plain HTTP request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection(*server.address, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def books(server: Server) -> dict[str, Any]:
    """What apps/behaviours.py says about what is left of its tasks."""
    status, body = get(server, "/books")
    assert status == 200, body
    return json.loads(body)


def echo(client: RawClient, text: bytes = b"are you there?") -> None:
    """There and back: the connection, its task and its worker work."""
    client.send_text(text)
    assert client.read_data().payload == text
