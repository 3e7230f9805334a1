"""Makes of what `make coverage` has recorded a list of lines (JSON) and a table (text).

Input: the folder of data, one subfolder for each group, in it the engine's counters (*.profraw) and the package's lines
(line_recorder.py). What is a line of code, llvm-cov decides for Rust, from the instrumented binaries, and coverage.py
for Python. Code that only tests compile is left out: the list is about what users run. compare.py reads the list, long
after the sources have changed, so each line of code stands in it with its text.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import coverage

ROOT = Path(__file__).resolve().parents[2]

#: The group of `cargo test`; the others are pytest's.
RUST_TESTS = "rust"

#: For each file (named from the root of the repository) and each of its lines of code: runs by group. The package's
#: lines have no numbers, so there 1 means "at least once".
Lines = dict[str, dict[int, dict[str, int]]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--llvm", type=Path, required=True, help="the folder of llvm-profdata and llvm-cov")
    arguments.add_argument("--package", type=Path, required=True, help="the installed package that was run")
    arguments.add_argument("--pytest-object", action="append", required=True, help="a binary that pytest's groups ran")
    arguments.add_argument("--cargo-messages", type=Path, required=True, help="cargo's JSON, which names test binaries")
    arguments.add_argument("--list", type=Path, required=True, help="where the JSON goes")
    arguments.add_argument("--table", type=Path, required=True, help="where the table goes; it is printed as well")
    given = arguments.parse_args()

    groups = sorted(path.name for path in given.data.iterdir() if path.is_dir())
    lines: Lines = {}
    for group in groups:
        objects = test_binaries(given.cargo_messages) if group == RUST_TESTS else given.pytest_object
        add_rust(lines, group, engine_counts(given.data, group, given.llvm, objects))
    package = given.package.resolve()
    for file in sorted(package.rglob("*.py")):
        add_python(lines, file, package, given.data, groups)

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    files = {}
    for name in sorted(lines):
        text = (ROOT / name).read_text(encoding="utf-8").splitlines()
        files[name] = [
            {"line": number, "text": text[number - 1].strip(), "runs": runs}
            for number, runs in sorted(lines[name].items())
        ]
    result = {"commit": commit.stdout.strip(), "groups": groups, "files": files}
    given.list.write_text(json.dumps(result, separators=(",", ":")).replace('{"line"', '\n{"line"') + "\n")
    table = "".join(f"{row}\n" for row in rows(result))
    given.table.write_text(table)
    sys.stdout.write(table)


# -- Rust


def test_binaries(messages: Path) -> list[str]:
    """What `cargo test --no-run --message-format json` has made."""
    found = [json.loads(line) for line in messages.read_text().splitlines() if line.startswith("{")]
    return [message["executable"] for message in found if message.get("executable")]


def engine_counts(data: Path, group: str, llvm: Path, objects: Iterable[str]) -> Iterator[tuple[Path, int, int]]:
    """File, line and runs of every line of code in these binaries."""
    merged = data / f"{group}.profdata"
    raw = sorted(str(path) for path in (data / group).glob("*.profraw"))
    if raw:
        subprocess.run([llvm / "llvm-profdata", "merge", "--sparse", *raw, "-o", merged], check=True)
        first, *more = objects
        command = [llvm / "llvm-cov", "export", "--format", "lcov", "--instr-profile", merged, first]
        for path in more:
            command += ["--object", path]
        exported = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        file = Path()
        for record in exported.stdout.splitlines():
            kind, _, value = record.partition(":")
            if kind == "SF":
                file = Path(value)
            elif kind == "DA":
                number, count, *_ = value.split(",")
                yield file, int(number), int(count)


def add_rust(lines: Lines, group: str, counts: Iterable[tuple[Path, int, int]]) -> None:
    """The lines of code of the engine and its bindings, with this group's runs."""
    only_tests: dict[Path, set[int]] = {}
    for file, number, count in counts:
        if not file.is_relative_to(ROOT) or not re.match(r"(crates|bindings)/\w+/src/", str(file.relative_to(ROOT))):
            continue
        if file not in only_tests:
            only_tests[file] = lines_for_tests(file)
        if number not in only_tests[file]:
            runs = lines.setdefault(str(file.relative_to(ROOT)), {}).setdefault(number, {})
            if count:
                runs[group] = runs.get(group, 0) + count


def lines_for_tests(file: Path) -> set[int]:
    """The lines under `#[cfg(test)]`, and all lines of a file that such an attribute takes in.

    It reads the layout, not the language: rustfmt puts the brace that closes an item under the item's first letter.
    """
    text = file.read_text(encoding="utf-8").splitlines()
    source = Path(*file.parts[: len(file.parts) - file.parts[::-1].index("src")])
    if any(is_module_for_tests(folder_or_file, source) for folder_or_file in (file, *file.parents)):
        return set(range(1, len(text) + 1))
    found = set()
    for start, line in enumerate(text):
        if is_attribute_for_tests(line):
            indent = line[: len(line) - len(line.lstrip())]
            end = start + 1
            while text[end].lstrip().startswith("#["):
                end += 1
            if not re.search(r"[;,]$|\{.*\}$", text[end]):
                while not re.match(rf"{indent}[}}\])]", text[end]):
                    end += 1
            found |= set(range(start + 1, end + 2))
    return found


def is_attribute_for_tests(line: str) -> bool:
    return re.match(r"\s*#\[cfg\(.*\btest\b", line) is not None and "not(test" not in line


def is_module_for_tests(path: Path, source: Path) -> bool:
    """Whether the module that this file or folder holds is declared under `#[cfg(test)]`."""
    if not path.is_relative_to(source) or path == source:
        return False
    parent = path.parent
    for declares in (parent / "mod.rs", parent / "lib.rs", parent.with_suffix(".rs")):
        if declares.is_file() and declares != path:
            text = declares.read_text(encoding="utf-8")
            module = rf"(?:pub(?:\(\w+\))? )?mod {path.stem};"
            for attribute in re.finditer(rf"^ *(#\[cfg.*)\n(?: *#\[.*\n)* *{module}", text, re.MULTILINE):
                if is_attribute_for_tests(attribute[1]):
                    return True
    return False


# -- Python


def add_python(lines: Lines, file: Path, package: Path, data: Path, groups: Iterable[str]) -> None:
    """The statements of one module of the package, with the groups that ran them."""
    name = file.relative_to(package)
    source = ROOT / "python" / "fairlead" / name
    if source.read_bytes() != file.read_bytes():
        raise SystemExit(f"{source.relative_to(ROOT)} is not what was run: it has changed since `make coverage` began")
    statements = lines.setdefault(str(source.relative_to(ROOT)), {})
    for group in groups:
        record = data / group / "lines" / str(name).replace("/", "+")
        noted = record.read_bytes() if record.exists() else b""
        measured = coverage.Coverage(data_file=None, config_file=False, include=[str(package / "*")])
        measured.get_data().add_lines({str(file): [number for number, byte in enumerate(noted) if byte]})
        _, code, _, missing, _ = measured.analysis2(str(file))
        for number in code:
            runs = statements.setdefault(number, {})
            if number not in missing:
                runs[group] = 1
    if not statements:
        del lines[str(source.relative_to(ROOT))]


# -- the table


def rows(result: dict[str, Any]) -> Iterator[str]:
    """A row for each file, then one for each crate and for the package, then one for each language."""
    yield f"Lines of code, and those that a test runs, at {result['commit']}"
    yield ""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    alone: dict[str, int] = defaultdict(int)
    for name, lines in result["files"].items():
        covered = [line["runs"] for line in lines if line["runs"]]
        yield row(name, len(lines), len(covered))
        part = re.match(r"(?:crates|bindings|python)/\w+", name)
        for whole in (part[0] if part else name, "all Rust" if name.endswith(".rs") else "all Python"):
            sums[whole][0] += len(lines)
            sums[whole][1] += len(covered)
        for runs in covered:
            if len(runs) == 1:
                alone[next(iter(runs))] += 1
    yield ""
    for whole in sorted(sums, key=lambda name: (name.startswith("all"), name)):
        yield row(whole, *sums[whole])
    yield ""
    for group in result["groups"]:
        yield f"{'run by no group but ' + group:60}{alone[group]:8}"


def row(name: str, count: int, covered: int) -> str:
    return f"{name:60}{count:8}{covered:8}{100 * covered / count:8.1f} %"


if __name__ == "__main__":
    main()
