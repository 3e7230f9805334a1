"""Writes docs/reference/settings.md from the settings' own objects (`make docs`).

`page` makes the text and is all that the architecture tests need: they compare it with the committed page, so a
setting cannot change without its documentation. What an option means is said once, in fairlead/settings/options.py, and
what a setting of the engine means, in the engine's table; nothing is added here but the frame around it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from fairlead.settings.engine_table import ENGINE_SETTINGS, EngineSetting
from fairlead.settings.options import DIRECTIVES, GROUPS, SETTINGS, Setting

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"

HEAD = """\
# Settings

<!-- Made by `make docs` from python/fairlead/settings/options.py. Change the text there. -->

The same names work on the command line (`--name value` or `--name=value`), in INI, YAML and JSON files, and, as
`FAIRLEAD_NAME` in capitals with underscores, in the environment. They act in the order in which they stand and the last
one wins; those that may be repeated accumulate. The environment alone can start a server. `fairlead --show-config`
prints what is set and where it came from, and all that would keep a server from starting.

Names and defaults are uWSGI's wherever uWSGI has them. A flag takes no value on the command line; in a file `false`,
`off`, `no` or `0` clears it, and `true`, `on`, `yes` or `1` sets it. An option whose value may be left out takes the
next word if that is a number.
"""


ENGINE_HEAD = """\
## The engine's settings

The engine has these settings under names of its own; programs in C set them by these names (`fl_settings_set_number`
and its kin, where times are milliseconds). The options above feed them; one without an option is at its default under
`fairlead`, or follows from how it runs.

| Setting | Value | Default | Option | Meaning | Reason of the default |
|---|---|---|---|---|---|"""

UNITS = {
    "flag": "on or off",
    "count": "a number",
    "bytes": "bytes",
    "duration": "seconds",
    "text": "a text",
    "texts": "texts",
    "pairs": "names with values",
}


def page() -> str:
    """The page, with its last line end."""
    groups: list[tuple[str, list[Setting]]] = []
    titles = {first: title for title, first in GROUPS}
    for about in SETTINGS:
        if about.field in titles:
            groups.append((titles[about.field], []))
        groups[-1][1].append(about)
    groups.append(("Configuration", list(DIRECTIVES)))
    lines = [HEAD]
    for title, members in groups:
        lines += [f"## {title}", "", "| Option | Value | Default | |", "|---|---|---|---|"]
        lines += [_row(about) for about in members]
        lines.append("")
    lines += [ENGINE_HEAD, *(_engine_row(name, about) for name, about in ENGINE_SETTINGS.items()), ""]
    return "\n".join(lines)


def _engine_row(name: str, about: EngineSetting) -> str:
    fed_by = ", ".join(f"`--{one.name}`" for one in SETTINGS if one.engine == name)
    value = ", ".join(f"`{word}`" for word in about.words) or UNITS[about.kind]
    if about.most and about.most < 2**53:
        value += f", {_short(about.least)} to {_short(about.most)}"
    cells = (f"`{name}`", value, _engine_default(about), fed_by, about.meaning, about.reason)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _engine_default(about: EngineSetting) -> str:
    if about.default is None:
        return "unset"
    if isinstance(about.default, bool):
        return "on" if about.default else "off"
    if isinstance(about.default, list):
        return "none"
    return about.default if isinstance(about.default, str) else _short(about.default)


def _short(number: float) -> str:
    """All digits, and none that say nothing."""
    return f"{number:.3f}".rstrip("0").rstrip(".")


def _row(about: Setting) -> str:
    value = "" if about.is_flag else f"`{about.kind.metavar}`"
    if about.bare is not None:
        value += f", or none, which means `{about.bare}`"
    notes = []
    if about.many:
        notes.append("May be repeated.")
    others = [f"`-{about.short}`"] if about.short else []
    others += [f"`--{name}`" for name in about.aliases]
    if others:
        notes.append(f"Also {', '.join(others)}.")
    text = about.help[0].upper() + about.help[1:]
    cells = (f"`--{about.name}`", value, _default(about), " ".join([f"{text}.", *notes]))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(about: Setting) -> str:
    if about.default_text:
        return about.default_text
    if about.is_flag:
        return "on" if about.default else "off"
    if about.default in (None, (), ""):
        return "none"
    return f"{about.default:g}" if isinstance(about.default, float) else str(about.default)


def _write() -> Iterator[str]:
    text = page()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
        yield f"{PAGE.relative_to(PAGE.parent.parent.parent)} is new"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in _write())
