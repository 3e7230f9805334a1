"""Bringing the application into the worker: folder, environment and module path first, then the code itself.

Runs in a worker only (the master never imports an app); calling what was loaded is apps/. The
invariant: every way in which an operator's or an application's text can fail here ends in `LoadError`, one
sentence with the place and the way out, and the original exception as its cause. `uwsgi` must be in
`sys.modules` before any call (compat §1.1).

The few functions that only *look* for code, without running it, also serve cli/serve.py, which checks before any
worker is started.
"""

from __future__ import annotations

import glob
import importlib
import importlib.util
import os
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fairlead.errors import FairleadError, LoadError, hint_for, text_of
from fairlead.settings.options import Settings

#: The folder of all modules that are ours.
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

#: A WSGI callable.
Application = Callable[..., Any]


@dataclass(frozen=True)
class Loaded:
    """What was loaded. `mounts` maps a path without its last slash to an application; "" is the root's."""

    mounts: Mapping[str, Application]
    #: The source files of all modules in the process that are neither Python's nor ours, for --py-autoreload.
    files: tuple[str, ...]

    @property
    def application(self) -> Application | None:
        """The application of the root; None when there are only mounts below it."""
        return self.mounts.get("")

    def find(self, path: str) -> tuple[str, Application] | None:
        """The longest mount that holds `path` (a PATH_INFO), and its application; None when no mount does."""
        point = path.rstrip("/")
        while point not in self.mounts:
            if not point:
                return None
            point = point.rpartition("/")[0]
        return point, self.mounts[point]


def load_application(settings: Settings) -> Loaded:
    """Prepare the process, run --import, load the application and the mounts. Raises LoadError.

    The order is uWSGI's (compat §4.2): --env, --chdir, module path, --import, app, --chdir2.
    """
    prepare_process(settings)
    for name in settings.imports:
        if _is_file(name):
            _run_file(name, f"--import {name}")
        else:
            _import(name, f"--import {name}")
    mounts: dict[str, Application] = {}
    if settings.wsgi_file:
        mounts.update(_from_file(settings.wsgi_file, settings.callable, f"--wsgi-file {settings.wsgi_file}"))
    elif settings.module:
        mounts.update(_from_module(settings.module, settings.callable, f"--module {settings.module}"))
    for path, app in settings.mount:
        load = _from_file if _is_file(app) else _from_module
        found = load(app, "", f"--mount {path or '/'}={app}")
        mounts[path] = next(iter(found.values()))
    if settings.chdir2:
        _chdir(settings.chdir2, "--chdir2")
    return Loaded(mounts, loaded_files())


def prepare_process(settings: Settings) -> None:
    """Environment, folder and `sys.path`, as the application is to find them. Raises LoadError."""
    os.environ.update(settings.env)
    if settings.chdir:
        _chdir(settings.chdir, "--chdir")
    if settings.virtualenv:
        _enter_virtualenv(settings.virtualenv)
    # uWSGI puts "." in front and then each --pythonpath before it, so the last one given comes first
    # (compat §4.2).
    for folder in (os.getcwd(), *python_folders(settings, os.getcwd())):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)


def python_folders(settings: Settings, base: str) -> list[str]:
    """The folders of --pythonpath in the order given, globs resolved, relative ones taken from `base`."""
    folders: list[str] = []
    for pattern in settings.pythonpath:
        place = os.path.normpath(os.path.join(base, pattern))
        folders += sorted(glob.glob(place)) or [place]
    return folders


def packages_of(virtualenv: str) -> str:
    """The site-packages folder of a virtual environment made for this Python. Raises LoadError."""
    if not os.path.isdir(virtualenv):
        raise LoadError(f"--virtualenv {virtualenv}: there is no such folder; create it with python -m venv.")
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    folder = sysconfig.get_path("purelib", scheme, {"base": virtualenv, "platbase": virtualenv})
    if not os.path.isdir(folder):
        present = sorted(os.path.basename(path) for path in glob.glob(os.path.join(virtualenv, "lib", "py*")))
        made_for = f"it is made for {', '.join(present)}" if present else "it is no virtual environment"
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise LoadError(f"--virtualenv {virtualenv}: {made_for}, but this is Python {version}; create it anew.")
    return folder


def read_source(path: str, what: str) -> bytes:
    """The text of a Python file. Raises LoadError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        folder = os.path.dirname(os.path.abspath(path))
        raise LoadError(f"{what}: there is no such file in {folder}; check the path, or --chdir.") from None
    except OSError as error:
        raise LoadError(f"{what} cannot be read: {(error.strerror or '').lower()}; check it.") from None


def compile_source(source: bytes, path: str, what: str) -> Any:
    """The code object of a Python file; nothing of it is run. Raises LoadError with file and line."""
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise LoadError(f"{what} cannot be loaded: {describe(error, path)}.") from error


def split_callable(target: str) -> tuple[str, str]:
    """`module[:callable]` in two."""
    name, _, attribute = target.partition(":")
    return name, attribute


def describe(error: BaseException, near: str = "") -> str:
    """`SyntaxError: invalid syntax (app.py line 3)`: type, text, the hint if there is one, and the place.

    The place is the innermost line of the file `near`, else of any file.
    """
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename or near} line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", _PACKAGE))
    ]
    own = [frame for frame in frames if near and os.path.abspath(frame.filename) == os.path.abspath(near)]
    place = own[-1] if own else frames[-1] if frames else None
    # Our own errors are sentences already.
    parts = str(error) if isinstance(error, FairleadError) else " ".join(text_of(error).split())
    if place is not None:
        parts += f" ({place.filename} line {place.lineno})"
    hint = hint_for(error)
    return f"{parts}; {hint}" if hint else parts


# -- details


def _is_file(name: str) -> bool:
    return name.endswith((".py", ".wsgi")) or os.path.isfile(name)


def _chdir(folder: str, option: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise LoadError(f"{option} {folder}: {(error.strerror or '').lower()}; check the path.") from None


def _enter_virtualenv(virtualenv: str) -> None:
    """Put the environment's packages in front of this interpreter's own ones, behind the standard library."""
    folder = packages_of(virtualenv)
    before = list(sys.path)
    site.addsitedir(folder)  # runs its .pth files, so that editable installs work
    added = [path for path in sys.path if path not in before] or [folder]
    rest = [path for path in sys.path if path not in added]
    own = (number for number, path in enumerate(rest) if path.endswith(("site-packages", "dist-packages")))
    at = next(own, len(rest))
    sys.path[:] = rest[:at] + added + rest[at:]
    sys.prefix = os.path.abspath(virtualenv)
    os.environ["VIRTUAL_ENV"] = sys.prefix


def _from_file(path: str, name: str, what: str) -> dict[str, Application]:
    return _applications_in(_run_file(path, what), name, what)


def _from_module(target: str, name: str, what: str) -> dict[str, Application]:
    module_name, attribute = split_callable(target)
    return _applications_in(_import(module_name, what), attribute or name, what)


def _run_file(path: str, what: str) -> ModuleType:
    """Run a file as the module `uwsgi_file_<name>`, registered first so that pickling and imports of itself
    work."""
    name = "uwsgi_file_" + re.sub(r"[./]", "_", path)
    code = compile_source(read_source(path, what), path, what)
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
    module = importlib.util.module_from_spec(spec) if spec else ModuleType(name)
    module.__file__ = os.path.abspath(path)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        raise LoadError(f"{what} cannot be loaded: {describe(error, path)}.") from error
    return module


def _import(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (name == missing or name.startswith(f"{missing}.")):
            raise LoadError(
                f"{what}: there is no module {missing!r} in {os.getcwd()} or on the module path; check the "
                "name, --chdir, --pythonpath or --virtualenv."
            ) from error
        raise LoadError(f"{what} cannot be loaded: {describe(error)}.") from error
    except BaseException as error:
        raise LoadError(f"{what} cannot be loaded: {describe(error)}.") from error


def _applications_in(module: ModuleType, name: str, what: str) -> dict[str, Application]:
    """The applications of a module by mount point: a dict `uwsgi.applications` or `applications` when no
    callable is named, else the callable (compat §1.1, §4.2)."""
    if not name:
        for holder in (sys.modules.get("uwsgi"), module):
            table = getattr(holder, "applications", None)
            if isinstance(table, dict) and table:
                return {str(point).rstrip("/"): _callable_of(module, app, what) for point, app in table.items()}
    return {"": _callable_of(module, name or "application", what)}


def _callable_of(module: ModuleType, wanted: object, what: str) -> Application:
    """`wanted` itself when it is callable, else the attribute of that name; `factory()` is called."""
    if callable(wanted):
        return wanted
    name = str(wanted)
    is_factory = name.endswith("()")
    found: Any = module
    for part in name[:-2].split(".") if is_factory else name.split("."):
        found = getattr(found, part, None)
    if found is None:
        near = [key for key in ("app", "wsgi") if callable(getattr(module, key, None))]
        hint = f"add --callable {near[0]}" if near else "define it, or name another with --callable"
        raise LoadError(f"{what} has no callable {name!r}; {hint}.")
    if is_factory:
        try:
            found = found()
        except BaseException as error:
            raise LoadError(f"{what}: {name} failed: {describe(error)}.") from error
    if not callable(found):
        raise LoadError(f"{what}: {name} is {type(found).__name__}, not a callable; name another with --callable.")
    application: Application = found
    return application


def files_of_failure(error: BaseException, settings: Settings) -> list[str]:
    """The files of which a change may mend what could not be loaded: of the application, of what it had imported, and
    of what has failed, which is no module any more. One that is not there yet counts when it comes."""
    files = set(loaded_files())
    targets = [settings.wsgi_file, *settings.imports, *(app for _, app in settings.mount)]
    files.update(os.path.abspath(target) for target in targets if target and _is_file(target))
    seen: BaseException | None = error
    while seen is not None:
        files.update(
            os.path.abspath(frame.filename)
            for frame in traceback.extract_tb(seen.__traceback__)
            if not frame.filename.startswith(("<", _PACKAGE))
        )
        if isinstance(seen, SyntaxError) and seen.filename:
            files.add(os.path.abspath(seen.filename))
        if isinstance(seen, ModuleNotFoundError) and seen.name:
            path = os.path.abspath(seen.name.replace(".", os.sep))
            files.update((f"{path}.py", os.path.join(path, "__init__.py")))
        seen = seen.__cause__ or seen.__context__
    return sorted(file for file in files if not _is_of_the_library(file))


def loaded_files() -> tuple[str, ...]:
    """The source files of the modules loaded so far, without the standard library and Fairlead itself."""
    files = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.endswith((".py", ".wsgi")):
            continue
        path = os.path.abspath(path)
        if not _is_of_the_library(path) and not path.startswith(_PACKAGE + os.sep):
            files.add(path)
    return tuple(sorted(files))


def _is_of_the_library(path: str) -> bool:
    library = sysconfig.get_path("stdlib") + os.sep
    packages = sysconfig.get_path("purelib") + os.sep  # inside the library, and so is Fairlead where it is installed
    return path.startswith(library) and not path.startswith(packages)
