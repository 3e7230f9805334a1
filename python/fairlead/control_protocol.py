"""What master and worker say to each other: JSON lines over a UNIX stream socket pair, and what a line may hold.

The worker inherits one end, whose number is in `FAIRLEAD_CONTROL_FD`; nothing else ties it to Python, so it can be
another program. The ends are master/worker_process.py and worker/control.py. A line is a frame: whatever a text has in
it, JSON writes no line feed. The master trusts nothing that comes from a worker, because an application can write to
the socket as well: `event_of` is the border, and what has passed it has the types of `EVENTS`. Both ends ignore events,
commands and keys that they do not know.

Master → worker: one line `{"settings", "engine", "listeners", "locks_fd", "channels_fd", "scoreboard",
"certificates", "worker_id", "master_pid", "generation", "is_a_reload"}`, where `engine` has the settings by the names
of the engine's table, for workers of other languages, and `scoreboard` is `{"fd", "cell"}`, or null for a worker
without siblings (master/scoreboard.py), and `certificates` is null without TLS (master/certificates.py); then
`{"command": "stop", "reason": "reload"|"stop", "deadline_s"}`, which may come again with less time, `{"command":
"ping"}`, which a "pong" answers (master/heartbeat.py), `{"command": "harakiri"}`, `{"command": "certificates",
"latest"}`, `{"command": "ticket_keys"}` (look at them again: they go over no socket), `{"command": "log", "path",
"file"}` (master/log_file.py), and `{"command": "answer", "ticket", …}`; others are to be ignored. End of file: the
master is gone, leave.

Worker → master: `{"event": "loading"}` before it loads the application, `{"event": "ready", "answers_pings"}`,
`{"event": "failed", "message"}` (then it exits), `{"event": "pong"}`, `{"event": "stats", …}` (statistics.py),
`{"event": "statistics", "statistics", "ticket"}`, which asks for those of all workers, `{"event": "harakiri", "in_s",
"overdue"}` (master/harakiri.py), `{"event": "certificates", "at", "refused"}`, `{"event": "modules", "files": […]}`,
`{"event": "request", "action": "reload"|"stop"|"replace"}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fairlead.statistics import APP_NUMBERS, APP_TEXTS, NUMBERS

__all__ = ["CONTROL_FD", "LONGEST_LINE", "MOST_UNSENT", "BadMessage", "event_of", "line"]

#: The variable that tells the worker the number of its control socket.
CONTROL_FD = "FAIRLEAD_CONTROL_FD"

#: A longer line, in bytes, is no message of ours: the longest, a list of module files, has some 100 KB in large apps.
LONGEST_LINE = 4 * 1024 * 1024

#: Bytes that wait at either end because the other does not read: some thousand messages. What comes then is dropped.
MOST_UNSENT = 1024 * 1024

#: Statistics are written as JSON again, and summed: 64 bits, far below where Python refuses to print a number.
_MOST = 2**64
#: Three hundred years: the sum with any clock is a moment.
_LONGEST_S = 1e10


class BadMessage(ValueError):
    """What came is no message of this protocol; the text says why."""


def line(message: Mapping[str, Any]) -> bytes:
    """The message as it goes over the socket, its end included."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def event_of(text: bytes) -> dict[str, Any] | None:
    """A worker's line, without its end: an event with all its keys, each of its type; None for an event that is not
    known. Raises BadMessage."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):  # ValueError: no JSON, no UTF-8, or a number of thousands of digits
        raise BadMessage("it is no JSON") from None
    if not isinstance(message, dict):
        raise BadMessage("it is no JSON object")
    name = message.get("event")
    if not isinstance(name, str):
        raise BadMessage("it has no event")
    if name not in EVENTS:
        return None
    return {"event": name, **_checked(message, EVENTS[name], name)}


_Check = Callable[[Any], bool]


def _checked(message: Mapping[str, Any], keys: Mapping[str, tuple[Any, str, _Check]], name: str) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for key, (usual, needs, fits) in keys.items():
        value = message.get(key, usual)
        if value is not usual and not fits(value):
            raise BadMessage(f"{key!r} of {name!r} is not {needs}")
        checked[key] = value
    return checked


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _is_duration(value: Any) -> bool:
    # False for infinity and for what is no number at all.
    return type(value) in (int, float) and 0 <= value <= _LONGEST_S


def _is_place(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_list_of_paths(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(path, str) for path in value)


def _are_statistics(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_is_number(value.get(name, 0)) for name in NUMBERS)
        and _are_apps(value.get("apps", []))
    )


def _are_apps(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(app, dict)
        and all(_is_number(app.get(name, 0)) for name in APP_NUMBERS)
        and all(isinstance(app.get(name, ""), str) for name in APP_TEXTS)
        for app in value
    )


_NUMBER = (0, "a number from 0 to 2**64", _is_number)

#: Of each event its keys: what stands for one that is missing, what it has to be, and whether it is.
EVENTS: Mapping[str, Mapping[str, tuple[Any, str, _Check]]] = {
    "loading": {},
    "ready": {"answers_pings": (False, "true or false", _is_flag)},
    "pong": {},
    "failed": {"message": ("the worker gave no reason.", "a text", _is_text)},
    "stats": {**dict.fromkeys(NUMBERS, _NUMBER), "apps": ((), "a list of applications", _are_apps)},
    "statistics": {
        "statistics": (None, "statistics", _are_statistics),
        "ticket": _NUMBER,
    },
    "harakiri": {
        "in_s": (None, "a number of seconds", _is_duration),
        "overdue": (None, "a text", _is_text),
    },
    "certificates": {"at": (None, "an offset and a length", _is_place), "refused": ("", "a text", _is_text)},
    "modules": {"files": ((), "a list of paths", _is_list_of_paths)},
    "request": {"action": ("", "a text", _is_text)},
}
