"""The documentation names what exists: commands, files, links, settings, public names."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from repository import ROOT, files, hold, name, text

PUBLIC_NAMES = ROOT / "tests" / "architecture" / "public_names.txt"


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", text(ROOT / "Makefile"), re.MULTILINE))


def code_of(page: str) -> str:
    """What a page shows as code, inline or in blocks."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page, re.DOTALL))


def test_readme_names_the_two_commands():
    hold(
        "README shows `make run` and `make test`, and the Makefile has both",
        "whoever comes first must get from a clone to a running server without a question",
        (
            f"make {target}"
            for target in ("run", "test")
            if f"make {target}" not in text(ROOT / "README.md") or target not in make_targets()
        ),
    )


def test_every_make_command_in_the_documentation_exists():
    found = []
    for path in files(".md"):
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", code_of(text(path))):
            if target not in make_targets():
                found.append(f"{name(path)}: make {target}")
    hold("a `make` command that a page shows is a target of the Makefile", "a page that lies is worse than none", found)


def test_every_link_leads_somewhere():
    found = []
    for path in files(".md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", text(path)):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, section = target.partition("#")
            page = (path.parent / file).resolve() if file else path
            if not page.exists() or (section and section not in anchors(page)):
                found.append(f"{name(path)}: {target}")
    hold(
        "a relative link leads to a file of this repository, and to a heading of it",
        "a broken link sends the reader away",
        found,
    )


@cache
def anchors(page: Path) -> set[str]:
    """What a link to a place in this page may name, as GitHub makes it of the headings."""
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_lies_in_the_folder_of_its_kind():
    folders = {"start", "howto", "explain", "reference", "decisions"}
    hold(
        f"docs/ has README.md and the folders {', '.join(sorted(folders))}",
        "who learns, who has a task, who wants to understand and who looks something up are four readers",
        (
            name(path)
            for path in files()
            if path.is_relative_to(ROOT / "docs")
            and path != ROOT / "docs" / "README.md"
            and path.relative_to(ROOT / "docs").parts[0] not in folders
        ),
    )


def test_every_page_is_found_from_the_index():
    index = text(ROOT / "docs" / "README.md") + text(ROOT / "docs" / "decisions" / "README.md")
    hold(
        "docs/README.md, or the index of decisions, links to every page of docs/",
        "a page that nothing leads to is not read, and then not kept true",
        (name(path) for path in (ROOT / "docs").glob("*/*.md") if f"{path.name})" not in index),
    )


def test_every_file_that_the_architecture_names_exists():
    pages = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = []
    for page in pages:
        for path in re.findall(
            r"`((?:crates|bindings|python|tests|benches|examples|docs|fuzz|tools)/[\w./-]*)`", text(page)
        ):
            if not (ROOT / path).exists():
                found.append(f"{name(page)}: {path}")
    hold("a path that a page names exists", "the pages are the map; a map of last year's streets misleads", found)


def test_pages_name_the_versions_that_are_needed():
    rust = re.search(r'^rust-version = "([\d.]+)"', text(ROOT / "Cargo.toml"), re.MULTILINE)[1]
    python = re.search(r'^requires-python = ">=([\d.]+)"', text(ROOT / "pyproject.toml"), re.MULTILINE)[1]
    needed = {"Rust": rust, "Python": python}
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs/start/install.md", ROOT / "benches/README.md"]
    hold(
        "a page that says which Rust or Python is needed says what Cargo.toml and pyproject.toml want",
        "who installs by the page must not find out from a compiler",
        (
            f"{name(page)}: {tool} {version}, but {needed[tool]} is needed"
            for page in pages
            for tool, version in re.findall(r"(Rust|Python) (\d\.\d+)(?:\+| or\s+newer)", text(page))
            if version != needed[tool]
        ),
    )


def test_decision_records_are_numbered_without_gaps_and_have_their_parts():
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    found = [name(page) for number, page in enumerate(pages, 1) if not page.name.startswith(f"{number:04}-")]
    for page in pages:
        parts = set(re.findall(r"^## (.+)$", text(page), re.MULTILINE))
        found += [
            f"{name(page)} has no {part}"
            for part in ("Context", "Choice", "Price", "When to revisit")
            if part not in parts
        ]
    index = text(ROOT / "docs" / "decisions" / "README.md")
    for page in pages:
        status = re.search(r"^# .+\n\nStatus: (accepted|overturned)\b", text(page))
        if not status:
            found.append(f"{name(page)} does not say below its title whether it is accepted or overturned")
        elif not re.search(rf"\({re.escape(page.name)}\) \| .+ \| {status[1]} \|$", index, re.MULTILINE):
            found.append(f"{name(page)} is not in the index as {status[1]}")
    hold(
        "a decision record has a number of its own and says status, context, choice, price and when to revisit",
        "a choice that is costly to undo is made once and understood often",
        found,
    )


def test_every_citation_of_uwsgi_s_contract_leads_to_a_section():
    page = text(ROOT / "docs" / "reference" / "uwsgi-compatibility.md")
    sections = dict(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? .+\n((?:(?!#{2,3} ).*\n)*)", page, re.MULTILINE))
    rows = {number: set(re.findall(r"^\| (\d+) \|", body, re.MULTILINE)) for number, body in sections.items()}
    found = []
    for path in files(".rs", ".py", ".pyi", ".c", ".h", ".js", ".md"):
        for match in re.finditer(r"\bcompat((?:(?:,| and|, and)? §[\d.]*\d)+)(?:, row (\d+))?", text(path)):
            cited = re.findall(r"[\d.]+", match[1])
            found += [f"{name(path)}: {match[0]}" for number in cited if number not in sections]
            if match[2] and cited[-1] in rows and match[2] not in rows[cited[-1]]:
                found.append(f"{name(path)}: {match[0]}")
        found += [
            f"{name(path)}: {match[0]}…" for match in re.finditer(r"\b[Ss]pec(?:ification)?[\s#:/!]+§", text(path))
        ]
    hold(
        "a citation `compat §N.M` names a section of docs/reference/uwsgi-compatibility.md, and has this spelling",
        "a citation of a page that the reader has not explains nothing",
        found,
    )


def test_every_setting_has_a_help_text():
    settings = pytest.importorskip("fairlead.settings.options", reason="needs the built package")
    hold(
        "each setting says what it does",
        "--help and the reference page are made of these texts",
        (f"--{about.name}" for about in (*settings.SETTINGS, *settings.DIRECTIVES) if len(about.help.strip()) < 10),
    )


def test_the_page_of_settings_is_that_of_the_settings():
    answer = subprocess.run(
        [sys.executable, "-c", "import settings_page as s, sys; sys.stdout.buffer.write(s.page().encode())"],
        cwd=ROOT / "tools",
        capture_output=True,
    )
    assert answer.returncode == 0, answer.stderr.decode()
    committed = (ROOT / "docs/reference/settings.md").read_bytes()
    wanted = answer.stdout.decode().splitlines()
    hold(
        "docs/reference/settings.md is what the settings say (run `make docs`)",
        "a setting that changes without its page is found out by the operator, at night",
        (f"missing: {line}" for line in wanted if line not in committed.decode().splitlines()),
    )
    assert answer.stdout == committed, "docs/reference/settings.md holds lines that no setting has; run `make docs`"


def test_the_public_names_are_those_on_the_list():
    listed = {line for line in text(PUBLIC_NAMES).splitlines() if line and not line.startswith("#")}
    present = public_names()
    hold(
        f"the public names are those in {name(PUBLIC_NAMES)}",
        "a public name is a promise; it comes and goes by decision, never by accident. Change the list with the code",
        [f"not on the list: {one}" for one in present - listed]
        + [f"gone from the code: {one}" for one in listed - present],
    )


def public_names() -> set[str]:
    """Every public name of the package, and of the C header once there is one."""
    from test_python_layers import public_names as of_the_package

    names = {f"python fairlead.{one}" for one in of_the_package()}
    header = ROOT / "bindings" / "c" / "include" / "fairlead.h"
    if header.exists():
        # The names of the settings are those of the engine's table, which makes that part of the header.
        by_hand = re.sub(r"Made by `make generate`.*?/\* Until here", "", text(header), flags=re.DOTALL)
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", by_hand, flags=re.DOTALL)
        names |= {f"c {one}" for one in re.findall(r"\b((?:fl|FL)_\w+)\b", code)}
    return names
