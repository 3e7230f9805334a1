"""How an application is called. One file for each kind of application, over the contract of all; nothing here knows a
concurrency model."""

from typing import Any

from fairlead.apps.application_kind import why_not_callable
from fairlead.apps.contract import Caller, Find, Setup
from fairlead.apps.wsgi import WsgiCaller
from fairlead.settings.options import Settings

__all__ = ["caller_for", "why_not_callable"]


def caller_for(find: Find, setup: Setup, settings: Settings) -> Caller[Any]:
    """What calls the worker's applications: all of them have the interface of WSGI."""
    return WsgiCaller(find, setup, settings)
