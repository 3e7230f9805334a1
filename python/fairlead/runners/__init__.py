"""Concurrency models, one file each; a model is imported only when it is chosen.

Siblings never import each other, and none knows what an application is: a runner is handed a callable for one task.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from fairlead.errors import LoadError
from fairlead.runners.contract import RunnerFactory

__all__ = ["find"]

#: The name of each model: the module of its runner, the class in it, and the extra that installs its library.
_RUNNERS = {
    "asyncio": ("asyncio", "AsyncioRunner", None),
    "generators": ("greenlets", "Generators", None),
    "gevent": ("gevent", "GeventRunner", "gevent"),
    "greenlets": ("greenlets", "Greenlets", None),
    "threads": ("threads", "Threads", None),
}


def find(name: str, settings: Any) -> RunnerFactory:
    """The runner class called `name`, as in `Settings.runner`, prepared for an application that is not loaded yet.
    Raises LoadError when its library is missing."""
    module_name, class_name, extra = _RUNNERS[name]
    try:
        module = import_module(f"fairlead.runners.{module_name}")
    except ImportError as error:
        remedy = f"pip install 'fairlead[{extra}]'" if extra else "pip install fairlead again"
        raise LoadError(f"the {name} model needs a library that is not installed ({error}); {remedy}.") from None
    factory = cast("RunnerFactory", getattr(module, class_name))
    prepare = getattr(factory, "prepare", None)
    if prepare is not None:
        prepare(settings)
    return factory
