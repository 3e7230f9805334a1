"""Writes bindings/python/README.md, what a package index shows of the package, from README.md (`make docs`).

An index shows the page alone, so every link that leads to a file here is made one to the source's home, which
pyproject.toml names. `page` makes the text; a test compares it with the committed page.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "bindings" / "python" / "README.md"

NOTE = "<!-- Made by `make docs` from README.md. Change the text there. -->"


def page() -> str:
    """The page, with its last line end."""
    source = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    def absolute(link: re.Match[str]) -> str:
        kind = "tree" if (ROOT / link[1].partition("#")[0]).is_dir() else "blob"
        return f"]({source}/{kind}/main/{link[1]})"

    title, _, rest = re.sub(r"\]\((?![a-z]+:)([^)\s]+)\)", absolute, text).partition("\n")
    return f"{title}\n\n{NOTE}\n{rest}"


if __name__ == "__main__":
    text = page()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{PAGE.relative_to(ROOT)} is new\n")
