"""What the architecture tests know of this repository: its files, its Rust without comments, its Python imports.

Standard library only, and nothing of Fairlead is imported: these tests must run, and be right, when the package itself
is broken. `hold` is how each of them ends: a rule that is broken is printed with its reason and every place.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "fairlead"

#: What a checkout may hold besides the repository's own files, for copies that git does not know.
_MADE = {".git", ".venv", ".build", "target", "node_modules", "__pycache__", "corpus", "artifacts"}


def hold(rule: str, reason: str, found: Iterable[str]) -> None:
    """Fails with the rule, its reason and every place that breaks it."""
    __tracebackhide__ = True
    places = sorted(found)
    assert not places, "\n".join(["", f"RULE: {rule}", f"WHY:  {reason}", *(f"  - {place}" for place in places)])


@cache
def files(*suffixes: str) -> tuple[Path, ...]:
    """The repository's own files with these suffixes, those included that are new and not committed yet."""
    answer = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if answer.returncode == 0:
        paths = {ROOT / name for name in answer.stdout.split("\0") if name}
    else:
        paths = {
            path
            for path in ROOT.rglob("*")
            if not _MADE.intersection(path.relative_to(ROOT).parts) and not path.name.endswith(".so")
        }
    return tuple(sorted(path for path in paths if path.is_file() and path.name.endswith(suffixes or "")))


def name(path: Path) -> str:
    """The path as people write it."""
    return str(path.relative_to(ROOT))


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def toml(path: str) -> dict[str, Any]:
    return tomllib.loads(text(ROOT / path))


@cache
def rust_code(path: Path) -> str:
    """Rust without comments and without what stands between quotes; lines keep their numbers."""
    without = re.sub(r'//[^\n]*|"(?:[^"\\\n]|\\.)*"', "", text(path))
    return re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), without, flags=re.DOTALL)


def lines_with(path: Path, pattern: str, code: str) -> Iterator[str]:
    """`file:line: text` for each line of `code` in which the pattern is found."""
    for number, line in enumerate(code.splitlines(), 1):
        if re.search(pattern, line):
            yield f"{name(path)}:{number}: {line.strip()}"


def module_of(path: Path) -> str:
    """`fairlead.runners.threads` for its file; a package is named like its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def package_modules() -> dict[str, Path]:
    """Every module of the package."""
    return {module_of(path): path for path in files(".py") if path.is_relative_to(PACKAGE)}


@cache
def imports(path: Path) -> tuple[tuple[int, str, str], ...]:
    """All imports of a Python file, wherever they stand: line, module, and the name taken from it, or ""."""
    found = []
    for node in ast.walk(ast.parse(text(path), name(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parts = module_of(path).split(".")
                depth = len(parts) - node.level + (path.name == "__init__.py")
                module = ".".join([*parts[:depth], *([module] if module else [])])
            found += [(node.lineno, module, alias.name) for alias in node.names]
    return tuple(found)
