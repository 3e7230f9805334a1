"""The only way to the native engine: the names that every implementation of it supplies.

CPython gets them from the extension module; another implementation (PyPy, over the C ABI) will supply the same names
here. Nothing else in the package imports the extension.
"""

from fairlead._engine import (
    Answered,
    Channels,
    CurrentSession,
    Engine,
    Head,
    Hub,
    Request,
    Routes,
    Session,
    StaticFiles,
    Subscription,
    Tls,
    __version__,
    ancestors,
)

__all__ = [
    "Answered",
    "Channels",
    "CurrentSession",
    "Engine",
    "Head",
    "Hub",
    "Request",
    "Routes",
    "Session",
    "StaticFiles",
    "Subscription",
    "Tls",
    "__version__",
    "ancestors",
]
