"""What a page of documentation shows as code, in the order in which it stands: files, commands and what they print.

A `python` or `ini` block whose first line is a comment with a file's name is that file. A line of a `sh` block that
begins with `fairlead` is a command; the block `text` right behind it shows lines that the command logs, `…` standing
for anything. The pages need no marks that their readers would see. In a table, a row whose first two cells are nothing
but code, options and an answer, is a start that is refused. A block whose first line is a comment with a path is a file
of another program. `lines` has everything for a shell, whatever program it starts, of every page.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"[#;] (\w[\w./-]*\.\w+)\n")
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


class Line(NamedTuple):
    """One line of a page that its reader types into a shell, and the page's files up to there."""

    where: str
    text: str
    files: dict[str, str]


def pages() -> list[str]:
    """Every page that shows commands to users: those of `docs/` without the decisions, the README, the examples."""
    docs = ROOT / "docs"
    found = [page for page in sorted(docs.rglob("*.md")) if "decisions" not in page.parts]
    found += [ROOT / "README.md", *sorted((ROOT / "examples").glob("*.py"))]
    return [os.path.relpath(page, docs) for page in found]


def text_of(page: str) -> str:
    """A page of `docs/`, or one beside it (`../README.md`); of an example what its docstring says."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return text if page.endswith(".md") else ast.get_docstring(ast.parse(text)) or ""


def lines(page: str) -> list[Line]:
    """All lines of a page for a shell: in its `sh` blocks, behind the `$` of its `console` blocks, or in an example's
    docstring."""
    text = text_of(page)
    if not page.endswith(".md"):
        shown = [(at, line.strip()) for at, line in enumerate(text.splitlines(), 1) if line.startswith("    fairlead ")]
        return [Line(f"{page}:{at}", line, {}) for at, line in shown]
    files: dict[str, str] = {}
    found = []
    for block in _BLOCK.finditer(text):
        kind, body = block.groups()
        if kind in ("python", "ini") and (named := _FILE.match(body)):
            files[named[1]] = body
        first = text.count("\n", 0, block.start()) + 2
        for number, line in enumerate(body.splitlines(), first):
            if kind == "console" and line.startswith("$ "):
                line = line.removeprefix("$ ")
            elif kind != "sh" or not line or line.startswith("#"):
                continue
            found.append(Line(f"{page}:{number}", line, dict(files)))
    return found


def configurations_of_ours(page: str) -> list[Line]:
    """The `ini` blocks of a page that begin a section `[uwsgi]`, with a name or without."""
    text = text_of(page)
    return [
        Line(f"{page}:{text.count(chr(10), 0, block.start()) + 1}", block[2], {})
        for block in _BLOCK.finditer(text)
        if block[1] == "ini" and re.search(r"^\[uwsgi\]$", block[2], re.MULTILINE)
    ]


def write(files: dict[str, str], folder: Path) -> None:
    """Put a page's files where its reader would."""
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(body, encoding="utf-8")


def spans(page: str) -> list[tuple[str, str]]:
    """What a page shows as code inside its sentences and tables: where, and the text."""
    text = text_of(page)
    prose = _ANY_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    return [
        (f"{page}:{prose.count(chr(10), 0, span.start()) + 1}", " ".join(span[1].split()))
        for span in re.finditer(r"`([^`]+)`", prose)
    ]


def commands(page: str) -> list[Command]:
    """All commands of a page of `docs/`."""
    text = text_of(page)
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
    text = text_of(page)
    return [
        Refusal(f"{page}:{text.count(chr(10), 0, row.start()) + 1}", tuple(shlex.split(row[1])), row[2])
        for row in _REFUSED.finditer(text)
    ]


def configurations(page: str) -> dict[str, str]:
    """The files of other programs that a page of `docs/` shows, by their paths."""
    text = text_of(page)
    bodies = (block[2] for block in _BLOCK.finditer(text))
    return {named[1]: body for body in bodies if (named := _CONFIGURATION.match(body))}


def pattern(line: str) -> str:
    """A shown line as a regular expression."""
    return ".*".join(re.escape(part) for part in line.strip().split("…"))
