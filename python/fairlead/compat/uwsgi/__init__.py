"""The `uwsgi` module: uWSGI's API for applications, over Fairlead's public names (compat §1).

`make` builds the module; the worker registers it in `sys.modules` before any user code runs, and it is never installed.
Names, types, texts and after-close behaviour are uWSGI's; what goes over the wire is RFC 6455. Names of subsystems that
Fairlead does not have are absent, so that `hasattr` tells the truth (compat §8).

The calls stand in the files beside this one, a kind in each; contract.py says what the worker has to supply.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fairlead.compat.uwsgi import bodies
from fairlead.compat.uwsgi.arguments import RequestContext
from fairlead.compat.uwsgi.channels import channel_calls
from fairlead.compat.uwsgi.connections import connection_calls
from fairlead.compat.uwsgi.contract import Process, Services
from fairlead.compat.uwsgi.control import control_calls
from fairlead.compat.uwsgi.information import VERSION, attribute_of_a_request, facts, information_calls
from fairlead.compat.uwsgi.websockets import websocket_calls

__all__ = ["VERSION", "Process", "RequestContext", "Services", "make"]


def make(process: Process) -> ModuleType:
    """Build the module for this process."""
    module = ModuleType("uwsgi", "uWSGI's API, by Fairlead")
    names: dict[str, Any] = {"RequestContext": RequestContext}
    names.update(facts(process))
    for calls in (websocket_calls, channel_calls, connection_calls, information_calls, control_calls):
        names.update(calls(process))
    names.update(process.async_calls.names())
    names.update(bodies.names())
    for name, value in names.items():
        if isinstance(value, type(make)):
            value.__module__ = "uwsgi"
        setattr(module, name, value)
    # PEP 562: asked only for names that the module has not.
    setattr(module, "__getattr__", attribute_of_a_request(process))  # noqa: B010
    return module
