"""Writes docs/reference/settings.md from the settings' own objects (`make docs`).

`page` makes the text and is all that the architecture tests need: they compare it with the committed page, so a
setting cannot change without its documentation. What an option means is said once, in fairlead/settings/options.py;
nothing is added here but the frame around it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from fairlead.settings.options import DIRECTIVES, GROUPS, SETTINGS, Setting

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"

HEAD = """\
# Settings

<!-- Made by `make docs` from python/fairlead/settings/options.py. Change the text there. -->

The same names work on the command line (`--name value` or `--name=value`), in INI, YAML and JSON files, and, as
`FAIRLEAD_NAME` in capitals with underscores, in the environment. They act in the order in which they stand and the last
one wins; those that may be repeated accumulate. `fairlead --show-config` prints what is set and where it came from.

Names and defaults are uWSGI's wherever uWSGI has them. A flag takes no value on the command line; `false`, `off`, `no`
or `0` in a file clears it.
"""


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
    return "\n".join(lines)


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
