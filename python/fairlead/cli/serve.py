"""`fairlead OPTION...`: read the settings, check them against this machine, run the master.

No option is known here by name except those that print something; parsing is settings/sources.py, and what is printed
is help.py. The invariant: a bad option, file, module or callable is an error of one sentence, and whatever can be told
without running the app's code is told before any worker starts.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence

from fairlead.cli.help import config_text, help_text
from fairlead.errors import LoadError, SettingsError
from fairlead.logs import Log
from fairlead.master.master import Master
from fairlead.settings.options import VERSION, Settings
from fairlead.settings.sources import read_sources
from fairlead.worker.loading import compile_source, packages_of, python_folders, read_source, split_callable


def serve(arguments: Sequence[str]) -> int:
    """Start an instance and serve until it is stopped, or print what was asked for; returns the exit status.

    Raises SettingsError, MasterError or LoadError for a start that the operator has to mend.
    """
    reading = read_sources(arguments, os.environ)
    if "help" in reading.asked:
        print(help_text(shutil.get_terminal_size((100, 24)).columns))
        return 0
    if "version" in reading.asked:
        print(f"fairlead {VERSION}")
        return 0
    settings = Settings.of(reading.given, reading.magic)
    if "show-config" in reading.asked:
        print(config_text(reading, settings))
        return 0
    check_machine(settings)
    log = Log()
    for sentence in (*reading.warnings, *settings.remarks):
        log.warning(sentence)
    try:
        return Master(settings, log).run()
    finally:
        log.finish()


def check_machine(settings: Settings) -> None:
    """Check folders, files, modules and packages the settings name. Raises SettingsError or LoadError.

    Addresses are not tried here: the master binds them before it starts a worker, and says so as well.
    """
    if settings.chdir and not os.path.isdir(settings.chdir):  # --chdir2 may be made by the app itself
        raise SettingsError(f"--chdir {settings.chdir}: there is no such folder; check the path.")
    if settings.runner == "greenlets" and importlib.util.find_spec("greenlet") is None:
        raise SettingsError("--greenlet needs the package greenlet; pip install greenlet.")
    packages = packages_of(os.path.join(settings.chdir, settings.virtualenv)) if settings.virtualenv else ""
    targets = [("wsgi-file", settings.wsgi_file, True), ("module", settings.module, False)]
    targets += [(f"mount {path or '/'}=", app, _names_a_file(settings, app)) for path, app in settings.mount]
    for option, target, is_file in targets:
        what = f"--{option}{'' if option.endswith('=') else ' '}{target}"
        if target and is_file:
            path = os.path.join(settings.chdir, target)
            compile_source(read_source(path, what), path, what)
        elif target:
            _check_module(settings, split_callable(target)[0], what, packages)


def _names_a_file(settings: Settings, app: str) -> bool:
    return app.endswith((".py", ".wsgi")) or os.path.isfile(os.path.join(settings.chdir, app))


def _check_module(settings: Settings, name: str, what: str, packages: str) -> None:
    """Find a module the way the worker will, but import nothing, not even its parent packages."""
    here = os.path.abspath(settings.chdir or ".")
    path = [*reversed(python_folders(settings, here)), here, *([packages] if packages else []), *sys.path[1:]]
    found = None
    for depth, _ in enumerate(name.split("."), 1):
        part = ".".join(name.split(".")[:depth])
        found = importlib.machinery.PathFinder.find_spec(part, path)
        if found is None and depth == 1:
            found = _found_otherwise(part)
        if found is None:
            if packages:  # an editable install in there may have its own way to find it: the worker will tell
                return
            raise LoadError(
                f"{what}: there is no module {part!r} in {here} or on the module path; check the name, "
                "--chdir, --pythonpath or --virtualenv."
            )
        locations = found.submodule_search_locations
        path = list(locations) if locations is not None else []
    if found is not None and found.origin and found.origin.endswith(".py"):
        compile_source(read_source(found.origin, what), found.origin, what)


def _found_otherwise(name: str) -> importlib.machinery.ModuleSpec | None:
    """Built-in modules, and the finders that editable installs bring along."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: importlib.machinery.ModuleSpec | None = find(name, None) if find else None
        if spec is not None:
            return spec
    return None
