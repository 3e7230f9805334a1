"""What `fairlead --help` and `fairlead --show-config` print, generated from the settings' own objects."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from fairlead.settings.options import BY_NAME, DIRECTIVES, GROUPS, SETTINGS, Setting, Settings
from fairlead.settings.sources import Reading


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
