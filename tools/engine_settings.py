"""Writes what is made from the engine's table of settings (`make generate`): Python's copy of the table, the types of
the extension's values, and the names in the C header.

The table itself (crates/engine/src/settings/table.rs) is read by running the engine's example `settings`, which prints
it as JSON; nothing is parsed here but that. The functions that make the texts take the rows, so that a test can compare
the committed files with the table of the extension that it runs on.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = "crates/engine/src/settings/table.rs"
MODULE = ROOT / "python" / "fairlead" / "settings" / "engine_table.py"
TYPES = ROOT / "python" / "fairlead" / "_engine.pyi"
HEADER = ROOT / "bindings" / "c" / "include" / "fairlead.h"

#: What stands around the parts of files that are otherwise written by hand.
TYPES_MARKS = (f"    # Made by `make generate` from {TABLE}. Change the text there.\n", "    # Until here.\n")
HEADER_MARKS = (f" * Made by `make generate` from {TABLE}. Change the text there. */\n", "/* Until here. */\n")

MODULE_HEAD = f'''"""The engine's table of settings, for the options that feed it.

Made by `make generate` from {TABLE}; change the text there. The master and the command line
read this copy, because they know no engine. Times are seconds, sizes bytes; a default of None means that nothing is
chosen.
"""

# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from typing import Any, NamedTuple


class EngineSetting(NamedTuple):
    """One row: `kind` is "flag", "count", "bytes", "duration", "text", "choice", "texts" or "pairs"; `least` and `most`
    are the range of a number, `words` those of a choice."""

    kind: str
    default: Any
    least: float
    most: float
    words: tuple[str, ...]
    meaning: str
    reason: str


ENGINE_SETTINGS: dict[str, EngineSetting] = {{
'''

PYTHON_TYPES = {
    "flag": "bool",
    "count": "int",
    "bytes": "int",
    "duration": "float",
    "text": "str",
    "choice": "str",
    "texts": "list[str]",
    "pairs": "list[tuple[str, str]]",
}
C_KINDS = {
    "flag": "Flag (0 or 1)",
    "count": "Number",
    "bytes": "Bytes",
    "duration": "Milliseconds",
    "text": "Text",
    "choice": "Text",
    "texts": "Texts",
    "pairs": "Pairs",
}


def read_table() -> list[dict[str, Any]]:
    """The rows, as `settings_table()` of the extension has them."""
    command = ["cargo", "run", "--quiet", "--locked", "--package", "fairlead-engine", "--example", "settings"]
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(answer.stdout)
    for row in rows:
        if row["kind"] == "duration":
            row["least"], row["most"] = row["least"] / 1000, row["most"] / 1000
            row["default"] = None if row["default"] is None else float(row["default"])
    return rows


def module(rows: list[dict[str, Any]]) -> str:
    """Python's copy of the table."""
    lines = [MODULE_HEAD]
    for row in rows:
        lines += [
            f"    {_text(row['name'])}: EngineSetting(\n",
            f"        kind={_text(row['kind'])},\n",
            f"        default={_literal(row['default'])},\n",
            f"        least={_number(row['least'])},\n",
            f"        most={_number(row['most'])},\n",
            f"        words={_words(row['words'])},\n",
            f"        meaning={_text(row['meaning'])},\n",
            f"        reason={_text(row['reason'])},\n",
            "    ),\n",
        ]
    return "".join([*lines, "}\n"])


def types(rows: list[dict[str, Any]]) -> str:
    """The keys of `EngineValues`."""
    lines = []
    for row in rows:
        optional = " | None" if row["default"] is None else ""
        lines.append(f"    {row['name']}: {PYTHON_TYPES[row['kind']]}{optional}\n")
    return "".join(lines)


def header(rows: list[dict[str, Any]]) -> str:
    """The names for C, and the words of those that have some."""
    lines = ["\n"]
    for row in rows:
        facts = [C_KINDS[row["kind"]]]
        if row["kind"] in ("count", "bytes", "duration"):
            scale = 1000 if row["kind"] == "duration" else 1
            facts.append(f"from {row['least'] * scale:.0f} to {row['most'] * scale:.0f}")
            if row["default"] is not None:
                facts.append(f"{row['default'] * scale:.0f} by default")
        elif row["kind"] == "flag":
            facts.append(f"{int(row['default'])} by default")
        elif row["kind"] == "choice":
            facts.append(f'"{row["default"]}" by default')
        comment = f"{', '.join(facts)}. {row['meaning']} {row['reason']}".replace("`", "").replace("*/", "* /")
        lines.append(textwrap.fill(comment, 116, initial_indent="/* ", subsequent_indent=" * ") + " */\n")
        lines.append(f'#define FL_SETTING_{row["name"].upper()} "{row["name"]}"\n')
        for word in row["words"]:
            constant = f"FL_{row['name']}_{word}".upper().replace("-", "_")
            lines.append(f'#define {constant} "{word}"\n')
    return "".join([*lines, "\n"])


def part(text: str, marks: tuple[str, str]) -> str:
    """What stands between the marks."""
    return text.partition(marks[0])[2].partition(marks[1])[0]


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _literal(value: Any) -> str:
    return _text(value) if isinstance(value, str) else repr(value)


def _number(value: float | None) -> str:
    """For kinds without a range, one that is not looked at."""
    return repr(float(value or 0))


def _words(words: list[str]) -> str:
    return f"({', '.join(map(_text, words))}{',' if len(words) == 1 else ''})"


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)} is new\n")


def _replace(path: Path, marks: tuple[str, str], new: str) -> None:
    text = path.read_text(encoding="utf-8")
    pattern = re.escape(marks[0]) + ".*?" + re.escape(marks[1])
    if not re.search(pattern, text, re.DOTALL):
        sys.exit(f"{path.relative_to(ROOT)} has lost the marks around what is made")
    _write(path, re.sub(pattern, lambda _: marks[0] + new + marks[1], text, count=1, flags=re.DOTALL))


if __name__ == "__main__":
    table = read_table()
    _write(MODULE, module(table))
    _replace(TYPES, TYPES_MARKS, types(table))
    _replace(HEADER, HEADER_MARKS, header(table))
