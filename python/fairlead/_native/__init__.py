"""The only way to the native engine: the names that every implementation of it supplies.

CPython gets them from the extension module; another implementation (PyPy, over the C ABI) will supply the same names
here. Nothing else in the package imports the extension.
"""

from typing import TYPE_CHECKING

from fairlead._engine import (
    Answered,
    Channels,
    CurrentSession,
    Engine,
    EngineSettings,
    Head,
    Hub,
    Listener,
    MasterWatch,
    Request,
    Routes,
    Session,
    StaticFiles,
    Subscription,
    TicketKeys,
    Tls,
    __version__,
    ancestors,
    note_fork,
    settings_table,
)

if TYPE_CHECKING:  # names of types alone
    from fairlead._engine import EngineValues as EngineValues
    from fairlead._engine import SessionEnd as SessionEnd

__all__ = [
    "Answered",
    "Channels",
    "CurrentSession",
    "Engine",
    "EngineSettings",
    "Head",
    "Hub",
    "Listener",
    "MasterWatch",
    "Request",
    "Routes",
    "Session",
    "StaticFiles",
    "Subscription",
    "TicketKeys",
    "Tls",
    "__version__",
    "ancestors",
    "note_fork",
    "settings_table",
]
