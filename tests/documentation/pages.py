"""What a page of documentation shows as code, in the order in which it stands: files, commands and what they print.

A `python` or `ini` block whose first line is a comment with a file's name is that file. A line of a `sh` block that
begins with `fairlead` is a command; the block `text` right behind it shows lines that the command logs, `…` standing
for anything. The pages need no marks that their readers would see. In a table, a row whose first two cells are nothing
but code, options and an answer, is a start that is refused. A block whose first line is a comment with a path is a file
of another program.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"[#;] ([\w.-]+\.\w+)\n")
_CONFIGURATION = re.compile(r"# (/[\w./-]+)\n")
_REFUSED = re.compile(r"^\| `(--[^`]*)` \| `([^`]*)` \|", re.MULTILINE)


class Command(NamedTuple):
    """One command of a page: where it stands, its words, the files that the page has shown so far, and the lines that
    it logs (none: it serves an echo)."""

    where: str
    words: tuple[str, ...]
    files: dict[str, str]
    logs: tuple[str, ...]


class Refusal(NamedTuple):
    """Options of a page that cannot be, and the answer."""

    where: str
    options: tuple[str, ...]
    answer: str


def commands(page: str) -> list[Command]:
    """All commands of a page of `docs/`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    files: dict[str, str] = {}
    found = []
    for at, block in enumerate(blocks):
        kind, body = block.groups()
        named = _FILE.match(body)
        if kind in ("python", "ini") and named:
            files[named[1]] = body
        if kind != "sh":
            continue
        follows = blocks[at + 1] if at + 1 < len(blocks) else None
        is_log = follows and follows[1] == "text" and not text[block.end() : follows.start()].strip()
        logs = tuple(follows[2].splitlines()) if follows and is_log else ()
        for number, line in enumerate(body.splitlines(), text.count("\n", 0, block.start()) + 2):
            words = shlex.split(line, comments=True)
            if words and words[0] == "fairlead":
                found.append(Command(f"{page}:{number}", tuple(words[1:]), dict(files), logs))
    return found


def refusals(page: str) -> list[Refusal]:
    """All rows of a page's tables that show options and what is wrong with them."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [
        Refusal(f"{page}:{text.count(chr(10), 0, row.start()) + 1}", tuple(shlex.split(row[1])), row[2])
        for row in _REFUSED.finditer(text)
    ]


def configurations(page: str) -> dict[str, str]:
    """The files of other programs that a page of `docs/` shows, by their paths."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    bodies = (block[2] for block in _BLOCK.finditer(text))
    return {named[1]: body for body in bodies if (named := _CONFIGURATION.match(body))}


def pattern(line: str) -> str:
    """A shown line as a regular expression."""
    return ".*".join(re.escape(part) for part in line.strip().split("…"))
