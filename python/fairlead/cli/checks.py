"""What can be told of settings before anything is started: files, folders, modules, packages, routes, certificates.

A start and `--show-config` ask the same, and get all that is wrong at once. Nothing here runs the application's code,
binds an address or writes a file; so what only that can tell (a port in use, the right to become another user) is told
by the master. Each check raises what the part of the server would raise that meets the mistake later.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fairlead._native import EngineSettings, Routes, StaticFiles
from fairlead.errors import FairleadError, LoadError, SettingsError
from fairlead.master.certificates import plain_of
from fairlead.master.listeners import check_queue, secure_addresses
from fairlead.master.privileges import Account
from fairlead.master.region_owner import check_processes, read_token
from fairlead.settings.options import ROUTE_TABLES, Settings
from fairlead.settings.tls import SecureAddress
from fairlead.worker.loading import compile_source, packages_of, python_folders, read_source, split_callable
from fairlead.worker.tls import tls_of

if TYPE_CHECKING:
    from fairlead._native import EngineValues

__all__ = ["problems_of"]


def problems_of(settings: Settings, *, compiles: bool = True) -> list[str]:
    """A sentence for all that this machine has not as the settings want it. With `compiles` the application's syntax is
    looked at as well."""
    problems: list[str] = []
    for check in _checks(settings, compiles):
        try:
            check()
        except SettingsError as error:
            problems += error.problems
        except FairleadError as error:
            problems.append(str(error))
        except ValueError as error:  # the engine's own word
            text = str(error)
            problems.append(text if text.endswith(".") else f"{text}.")
    return list(dict.fromkeys(settings.placed(problem) for problem in problems))


def _checks(settings: Settings, compiles: bool) -> Iterator[Callable[[], object]]:
    yield lambda: _check_packages(settings)
    yield lambda: _check_routes(settings)
    yield lambda: check_queue(settings.listen)
    yield lambda: check_processes(settings)
    yield lambda: Account.of(settings.uid, settings.gid)
    yield lambda: EngineSettings(cast("EngineValues", settings.engine_values()), [])
    yield lambda: _check_folder(settings)
    if settings.chdir and not os.path.isdir(settings.chdir):
        return  # all other paths start there
    if settings.virtualenv:
        yield lambda: packages_of(os.path.join(settings.chdir, settings.virtualenv))
    yield from _applications(settings, compiles)
    for path, folder in settings.static_map:
        place = os.path.join(settings.chdir, folder)
        yield partial(StaticFiles, [(path, place)], [], {})
    for kind, secure in secure_addresses(settings):
        yield partial(_check_certificates, settings, kind, secure)
    if settings.channels_http is not None and settings.channels_http_token_file:
        token = os.path.join(settings.chdir, settings.channels_http_token_file)
        yield lambda: read_token(token, Account.of(settings.uid, settings.gid))
    for option, file in (("logto", settings.logto), ("pidfile", settings.pidfile)):
        yield partial(_check_place, settings, option, file)


def _check_folder(settings: Settings) -> None:
    if settings.chdir and not os.path.isdir(settings.chdir):  # --chdir2 may be made by the app itself
        raise SettingsError(f"--chdir {settings.chdir}: there is no such folder; check the path.")


def _check_place(settings: Settings, option: str, file: str) -> None:
    folder = os.path.dirname(os.path.join(settings.chdir, file))
    if file and folder and not os.path.isdir(folder):
        raise SettingsError(f"--{option} {file}: there is no folder {folder}; create it.")


def _check_packages(settings: Settings) -> None:
    # Greenlets are a part of every installation; gevent and uvloop are extras.
    needs = [("greenlet", "greenlet", "greenlet", settings.runner == "greenlets")]
    needs += [("gevent", "gevent", "'fairlead[gevent]'", settings.runner == "gevent")]
    wants_uvloop = settings.runner == "asyncio" and settings.asyncio_loop == "uvloop"
    needs += [("asyncio-loop uvloop", "uvloop", "'fairlead[asyncio]'", wants_uvloop)]
    for option, package, requirement, is_needed in needs:
        if is_needed and importlib.util.find_spec(package) is None:
            raise SettingsError(f"--{option} needs the package {package}; pip install {requirement}.")


# -- the application


def _applications(settings: Settings, compiles: bool) -> Iterator[Callable[[], object]]:
    targets = [("wsgi-file ", settings.wsgi_file, True), ("module ", settings.module, False)]
    targets += [("import ", name, _names_a_file(settings, name)) for name in settings.imports]
    targets += [(f"mount {path or '/'}=", app, _names_a_file(settings, app)) for path, app in settings.mount]
    for option, target, is_file in targets:
        if target:
            yield partial(_check_file if is_file else _check_module, settings, target, f"--{option}{target}", compiles)


def _names_a_file(settings: Settings, app: str) -> bool:
    return app.endswith((".py", ".wsgi")) or os.path.isfile(os.path.join(settings.chdir, app))


def _check_file(settings: Settings, target: str, what: str, compiles: bool) -> None:
    path = os.path.join(settings.chdir, target)
    source = read_source(path, what)
    if compiles:
        compile_source(source, path, what)


def _check_module(settings: Settings, target: str, what: str, compiles: bool) -> None:
    """Find a module the way the worker will, but import nothing, not even its parent packages."""
    name = split_callable(target)[0]
    try:
        packages = packages_of(os.path.join(settings.chdir, settings.virtualenv)) if settings.virtualenv else ""
    except LoadError:  # said already, and the module may be in there
        return
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
    if compiles and found is not None and found.origin and found.origin.endswith(".py"):
        compile_source(read_source(found.origin, what), found.origin, what)


def _found_otherwise(name: str) -> importlib.machinery.ModuleSpec | None:
    """Built-in modules, and the finders that editable installs bring along."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: importlib.machinery.ModuleSpec | None = find(name, None) if find else None
        if spec is not None:
            return spec
    return None


# -- what the engine understands


def _check_routes(settings: Settings) -> None:
    """Each rule by itself, so that one mistake hides no other. What a rule may jump to are the labels behind it."""
    problems = []
    rules = [(given, (given.name, given.value or "")) for given in settings.given if _is_rule(given.name)]
    for number, (given, rule) in enumerate(rules):
        labels = [other for _, other in rules[number + 1 :] if other[0].endswith("route-label")]
        try:
            Routes([rule, *labels], 1)
        except ValueError as error:
            place = "" if given.where == "command line" else f" ({given.where})"
            problems.append(f"{str(error).rstrip('.')}{place}.")
    if problems:
        raise SettingsError(*problems)


def _is_rule(name: str) -> bool:
    return name == "route" or name in ROUTE_TABLES


def _check_certificates(settings: Settings, kind: str, secure: tuple[SecureAddress, ...]) -> None:
    def placed(path: str) -> str:
        return os.path.join(settings.chdir, path) if path else ""

    here = [
        replace(one, certificate=placed(one.certificate), key=placed(one.key), client_ca=placed(one.client_ca))
        for one in secure
    ]
    plain: dict[str, Any] = plain_of(kind, here, Account.of(settings.uid, settings.gid).open_to_read)
    tls_of(plain, refuses_expired=False)  # a start does not refuse it either, and warns
