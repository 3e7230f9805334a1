"""The `fairlead` command: read the settings, check them against this machine, run the master.

No option is known here by name except those that print something; parsing is settings_sources.py. The first word
`publish` or `channels` is a command for a running instance (channels_commands.py); everything else starts one. The
invariant: a bad option, file, module or callable ends in one sentence on standard error and status 2, and
whatever can be told without running the app's code is told before any worker starts. `--help` is generated
from the settings' own objects.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from fairlead.channels_commands import COMMANDS
from fairlead.errors import FairleadError, LoadError, SettingsError
from fairlead.loading import compile_source, packages_of, python_folders, read_source, split_callable
from fairlead.logs import Log
from fairlead.master import Master
from fairlead.settings import BY_NAME, DIRECTIVES, GROUPS, SETTINGS, VERSION, Setting, Settings
from fairlead.settings_sources import Reading, read_sources

#: The exit status of a start that the operator has to mend; uWSGI uses 1, which a crash of Python has as
#: well.
BAD_START = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (without the program's name); returns the exit status: 0, or 2 for a bad
    start."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except FairleadError as error:
        print(f"fairlead: {error}", file=sys.stderr)
        return BAD_START
    except BrokenPipeError:  # `fairlead --help | head`: nobody reads the rest, so Python shall not flush it either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _run(arguments: Sequence[str]) -> int:
    if not arguments:
        print("usage: fairlead --http :8080 --wsgi-file app.py   (--help lists all options)", file=sys.stderr)
        return BAD_START
    if arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
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
    return Master(settings, log).run()


# -- what can be checked without running anything


def check_machine(settings: Settings) -> None:
    """Check folders, files, modules and packages the settings name. Raises SettingsError or LoadError.

    Addresses are not tried here: the master binds them before it starts a worker, and says so as well.
    """
    if settings.chdir and not os.path.isdir(settings.chdir):  # --chdir2 may be made by the app itself
        raise SettingsError(f"--chdir {settings.chdir}: there is no such folder; check the path.")
    if settings.host == "greenlets" and importlib.util.find_spec("greenlet") is None:
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


# -- what is printed


def help_text(width: int) -> str:
    """All options in groups, generated from their objects."""
    lines = [
        "usage: fairlead [OPTION]... [app.py | module:callable | config.ini]",
        "",
        "  fairlead --http :8080 --wsgi-file app.py --async 1000 --greenlet",
        "",
        "Options have uWSGI's names; they act in order, the last one wins, and those marked * accumulate.",
        "The same names work in configuration files and, as FAIRLEAD_<OPTION>, in the environment.",
        "",
        "  fairlead publish --to SOCKET CHANNEL MESSAGE   and   fairlead channels --to SOCKET [--watch]",
        "",
        "talk to a running instance with --channels-socket SOCKET; each has a --help of its own.",
    ]
    first = {name: title for title, name in GROUPS}
    for about in SETTINGS:
        if about.field in first:
            lines += ["", first[about.field]]
        lines += _help_lines(about, width)
    lines += ["", "Configuration"]
    for about in DIRECTIVES:
        lines += _help_lines(about, width)
    return "\n".join(lines)


def _help_lines(about: Setting, width: int) -> Iterable[str]:
    names = ([f"-{about.short}"] if about.short else []) + [f"--{name}" for name in (about.name, *about.aliases)]
    value = about.kind.metavar
    shown = ", ".join(names) + (f"[={value}]" if about.bare is not None else f" {value}" if value else "")
    default = about.default_text or (_shown(about.default) if about.default not in (None, (), "", False) else "")
    text = about.help + (f" (default: {default})" if default else "")
    wrapped = textwrap.wrap(text, max(40, width - 34))
    head = f"  {shown}{' *' if about.many else ''}"
    if len(head) < 33:
        yield f"{head:<34}{wrapped[0]}"
        wrapped = wrapped[1:]
    else:
        yield from textwrap.wrap(head, width, subsequent_indent=" " * 6, break_on_hyphens=False)
    yield from (f"{'':34}{line}" for line in wrapped)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def config_text(reading: Reading, settings: Settings) -> str:
    """What is set, as an INI file that gives the same settings, with the source of each value above it; then
    what is left at its default, as comments."""
    lines = ["[uwsgi]"]
    where = ""
    for given in reading.given:
        if given.where != where:
            where = given.where
            lines.append(f"; {where}")
        # The values are expanded already; a percent sign that is left is meant as such.
        value = None if given.value is None else given.value.replace("%", "%%")
        lines.append(given.name if value is None else f"{given.name} = {value}")
    set_fields = {BY_NAME[given.name].field for given in reading.given if given.name in BY_NAME}
    lines.append("; defaults")
    for about in SETTINGS:
        if about.field not in set_fields:
            default = getattr(settings, about.field)
            shown = about.default_text or ("" if default in (None, (), "") else _shown(default).lower())
            lines.append(f"; {about.name} = {shown}".rstrip())
    return "\n".join(lines)
