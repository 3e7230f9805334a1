"""Concurrency models, one file each; a model is imported only when it is chosen.

Siblings never import each other, and none knows what an application is: a host is handed a callable for one unit.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from fairlead.hosts.contract import HostFactory

__all__ = ["find"]

_MODULES = {"greenlets": "Greenlets", "threads": "Threads"}


def find(name: str) -> HostFactory:
    """The host class called `name`, as in `Settings.host`. Raises ImportError when its library is missing."""
    module = import_module(f"fairlead.hosts.{name}")
    return cast("HostFactory", getattr(module, _MODULES[name]))
