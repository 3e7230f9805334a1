"""What holds for every file: it says what it is, stays readable, and can be read on anyone's machine."""

from __future__ import annotations

import ast
import re

from repository import ROOT, files, hold, lines_with, name, rust_code, text

#: A file longer than this says in its header why it stays whole.
LONG = 500

#: Names that say nothing: whatever is put there could be anywhere.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "shared", "base", "stuff"}

#: Folders that only one machine has.
PRIVATE = r"/(?:work|workspace|builds?|root)/|/home/(?!www|user\b|you\b)\w+|/Users/\w"


def header(path) -> str:
    """The documentation with which a file opens; "" if it opens without."""
    if path.suffix in {".py", ".pyi"}:
        return ast.get_docstring(ast.parse(text(path))) or ""
    lines = []
    for line in text(path).splitlines():
        if line.startswith("//!"):
            lines.append(line[3:].strip())
        elif lines or (line.strip() and not line.startswith(("#![", "#!/"))):
            break
    return "\n".join(lines)


def sources():
    return [path for path in files(".py", ".rs", ".pyi") if text(path).strip()]


def test_every_source_opens_with_what_it_is():
    hold(
        "each source file opens with a documentation comment",
        "a reader must learn what lives in a file, what must not, and why, before the first line of code",
        (name(path) for path in sources() if not header(path)),
    )


def test_a_long_file_says_why_it_stays_whole():
    hold(
        f"a file of more than {LONG} lines says in its header why it stays whole (in these words)",
        "length is a sign that two things live in one file; where it is not, say so once and nobody has to ask again",
        (
            f"{name(path)}: {len(text(path).splitlines())} lines"
            for path in sources()
            if len(text(path).splitlines()) > LONG and not re.search(r"\bstays\s+whole\b", header(path))
        ),
    )


def test_no_module_has_a_name_that_says_nothing():
    hold(
        f"no source file or folder is called {', '.join(sorted(EMPTY_NAMES))}",
        "such a module collects what nobody placed; name it by the noun of what it does",
        (
            name(path)
            for path in sources()
            if EMPTY_NAMES & {part.lower() for part in (*path.relative_to(ROOT).parts[1:-1], path.stem)}
        ),
    )


def test_nothing_private_to_a_machine_is_written_down():
    text_files = files(".py", ".pyi", ".rs", ".toml", ".md", ".txt", ".in", ".sh", ".html", ".h", ".c", ".yml", ".json")
    found = []
    for path in [*text_files, ROOT / "Makefile", ROOT / ".ci" / "run"]:
        if path.name != "test_files.py":
            found += lines_with(path, PRIVATE, text(path))
    hold(
        "no file names a folder of one machine",
        "whoever clones this repository has another one",
        found,
    )


def test_tests_never_sleep():
    found = []
    for path in files(".py"):
        # An app that a test serves may block on purpose: that it does is what is tested.
        if path.is_relative_to(ROOT / "tests") and "apps" not in path.parts and "architecture" not in path.parts:
            found += lines_with(path, r"\btime\.sleep\(|\bfrom time import .*\bsleep\b", text(path))
    for path in files(".rs"):
        if "tests" in path.parts:
            found += lines_with(path, r"thread::sleep\b|time::sleep\b", rust_code(path))
    hold(
        "tests do not sleep",
        "a sleep is either too short on a slow machine or too long on a fast one; wait for the thing itself, and let "
        "time be a parameter",
        found,
    )


def test_a_find_of_the_fuzzer_has_a_name():
    hold(
        "what a fuzzer found is committed as fuzz/seeds/<target>/<what it shows>, not under the fuzzer's name for it",
        "no test replays a file that lies elsewhere, so the bug that it shows stays",
        (
            name(path)
            for path in files()
            if path.is_relative_to(ROOT / "fuzz")
            and re.match(r"(crash|leak|oom|slow-unit|timeout)-[0-9a-f]{8,}", path.name)
        ),
    )
