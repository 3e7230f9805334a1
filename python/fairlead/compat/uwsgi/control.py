"""The calls of the module `uwsgi` that change something: the log, locks, the process, the instance (compat §1.5).

`route` is absent: rules of routes are the engine's and run before and after the application, never inside of it.
`add_var` keeps its variables with the request and checks them as uWSGI does; no rule reads them.
"""

from __future__ import annotations

from typing import Any

from fairlead.compat.uwsgi.arguments import Text, integer, native, octets, public, task_of
from fairlead.compat.uwsgi.contract import Process

__all__ = ["control_calls"]


def control_calls(process: Process) -> dict[str, Any]:
    """The functions by name."""
    services = process.services

    def log(message: str, /) -> bool:
        services.log(native("log", message))
        return True

    def log_this_request() -> None:
        task_of(process).is_logged = True

    def set_logvar(key: Text, value: Text, /) -> None:
        task = task_of(process)
        if task.log_variables is None:
            task.log_variables = {}
        task.log_variables[octets(key)] = octets(value)

    def get_logvar(key: Text, /) -> bytes | None:
        return (task_of(process).log_variables or {}).get(octets(key))

    def add_var(key: Text, value: Text, /) -> bool:
        task = task_of(process)
        variables = task.variables or {}
        name, content = octets(key), octets(value)
        # Each takes two lengths of two bytes in uWSGI's block, and a name is never empty (compat §6.1).
        size = sum(4 + len(one) + len(its) for one, its in {**variables, name: content}.items())
        if not name or size > process.buffer_size:
            raise ValueError("unable to add request var, check your buffer size")
        task.variables = {**variables, name: content}
        return True

    def reload() -> bool | None:
        return True if services.ask_master("reload") else None

    def stop() -> bool | None:
        return True if services.ask_master("stop") else None

    def lock(number: int = 0, /) -> None:
        services.lock(_lock_number(number))

    def unlock(number: int = 0, /) -> None:
        services.unlock(_lock_number(number))

    def is_locked(number: int = 0, /) -> bool:
        return services.is_locked(_lock_number(number))

    def accepting(flag: int = 1, /) -> None:
        # The one reader of this flag in uWSGI is the chain reload. Here no worker is replaced before its successor is
        # ready, so there is nobody to tell.
        integer(flag)

    def setprocname(name: str, /) -> None:
        services.rename_process(native("setprocname", name))

    def set_user_harakiri(seconds: int, /) -> None:
        services.set_deadline(task_of(process), integer(seconds))

    def set_warning_message(message: str, /) -> bool:
        services.warn(f"the application warns: {native('set_warning_message', message)}")
        return True

    def _lock_number(number: Any) -> int:
        found = integer(number)
        if not 0 <= found < process.locks:
            raise ValueError("Invalid lock number")
        return found

    return public(locals())
