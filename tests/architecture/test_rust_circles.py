"""Modules of a crate have floors: what stands higher may use what stands lower, never round in a circle.

`rust_modules.py` reads the graph; the cases below the rule show, on small crates made for them, that it sees all.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from repository import ROOT, hold, name, text
from rust_modules import circles, edges, roots

CRATES = sorted(
    name(source.parent)
    for pattern in ("crates/*/src", "bindings/*/src", "benches/load/src")
    for source in ROOT.glob(pattern)
)


def found_in(crate: str) -> list[str]:
    return [f"{name(root)}: {way}" for root in roots(ROOT / crate / "src") for way in circles(edges(root))]


@pytest.mark.parametrize("crate", CRATES)
def test_no_module_of_a_crate_uses_itself_in_a_circle(crate):
    hold(
        f"the imports of {crate} go round in no circle, neither among modules nor among the folders beside each other",
        "what goes in a circle can be read, tested and changed only as one piece; turn one of the edges round (a trait "
        "or plain data on the lower floor, or hand down what is needed)",
        found_in(crate),
    )


def floors(root: Path) -> list[list[str]]:
    """The floors that a crate's documentation lists under `# Floors`, the lowest first; nothing if it lists none."""
    said = re.search(r"^//! # Floors\n(.*?)(?=^//! #|^[^/])", text(root), re.DOTALL | re.MULTILINE)
    items = re.split(r"^//! \d+\. ", said[1] if said else "", flags=re.MULTILINE)[1:]
    # Names stand outside brackets; what they are stands inside.
    return [re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", item)) for item in items]


WITH_FLOORS = [root for crate in CRATES for root in roots(ROOT / crate / "src") if floors(root)]


def test_the_front_lists_its_floors():
    hold(
        "crates/front/src/lib.rs lists its floors under `# Floors`",
        "a reader learns there what may be changed without looking at what",
        () if ROOT / "crates/front/src/lib.rs" in WITH_FLOORS else ("there is no list",),
    )


@pytest.mark.parametrize("root", WITH_FLOORS, ids=name)
def test_the_list_of_floors_is_what_the_modules_do(root):
    floor = {module: number for number, modules in enumerate(floors(root), 1) for module in modules}
    modules = {edge[0] for one in edges(root) for edge in (one.source, one.target) if edge}
    wrong = [f"{module} has no floor in the list" for module in modules - set(floor)]
    wrong += [f"{module} is in the list and does not exist" for module in set(floor) - modules]
    for edge in edges(root):
        if edge.source and edge.target and edge.source[0] != edge.target[0]:
            source, target = edge.source[0], edge.target[0]
            if floor.get(source, 0) <= floor.get(target, 0):
                wrong.append(f"{'::'.join(edge.source)} line {edge.line} uses {'::'.join(edge.target)}")
    hold(
        f"each module named in {name(root)}, under `# Floors`, uses modules of lower floors only",
        "a list that is not true is worse than none",
        wrong,
    )


def made(folder: Path, **sources: str) -> list[str]:
    """The circles of a crate with these files; `__` in a name stands for a slash."""
    for path, source in sources.items():
        file = folder / f"{path.replace('__', '/')}.rs"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    return circles(edges(folder / "lib.rs"))


LOWER = "pub struct Low;\n"


@pytest.mark.parametrize(
    "low",
    [
        "use crate::high::High;",
        "use crate::{other::Other, high::{self, High}};",
        "use super::high::High as Renamed;",
        "use super::{high::*};",
        "use crate::High;",
        "fn f() { crate::high::go(); }",
        "fn f() -> super::high::High { todo!() }",
        "mod inner { use super::super::high::High; }",
        "const A: char = '\"'; use crate::high::High; const B: char = '\"';",
    ],
)
def test_a_circle_is_found_however_it_is_written(tmp_path, low):
    ways = made(
        tmp_path,
        lib="mod low; mod high; mod other; pub use high::High;",
        low=f"{LOWER}{low}\n",
        high="use crate::low::Low;\npub struct High;\npub fn go() {}\n",
        other="pub struct Other;",
    )
    assert len(ways) == 1
    assert ways[0].startswith("high → low → high (high line 1 names low; low line 2 names high")


@pytest.mark.parametrize(
    "low",
    [
        "// use crate::high::High;",
        "/* use crate::high::High; */",
        'const TEXT: &str = "crate::high::High";',
        'const TEXT: &str = r#" " crate::high::High"#;',
        "#[cfg(test)]\nmod tests { use super::*; use crate::high::High; }",
        "#[cfg(test)]\nuse crate::high::High;",
        "#[cfg(test)]\nmod tests;",
        "use crate::Other;",
        "use outside::high::High;",
    ],
)
def test_what_is_no_code_or_a_test_or_only_passed_on_makes_no_circle(tmp_path, low):
    ways = made(
        tmp_path,
        lib="mod low; mod high; mod other; pub use high::High; pub use other::Other;",
        low=f"{LOWER}{low}\n",
        low__tests="use crate::high::High;",
        high="use crate::low::Low;\npub struct High;\n",
        other="pub struct Other;",
    )
    assert ways == []


def test_a_folder_and_its_parts_must_not_use_each_other(tmp_path):
    ways = made(
        tmp_path,
        lib="mod folder;",
        folder__mod="mod part;\npub use part::Part;\npub struct Whole(part::Piece);\n",
        folder__part="use super::Whole;\npub struct Part(Whole);\npub struct Piece;\n",
    )
    assert ways == [
        "folder → folder::part → folder (folder line 3 names folder::part; folder::part line 1 names folder)"
    ]


def test_two_folders_must_not_use_each_other_through_different_parts(tmp_path):
    ways = made(
        tmp_path,
        lib="mod left; mod right;",
        left__mod="mod up;\nmod down;\n",
        left__up="use crate::right::Middle;\n",
        left__down="pub struct Down;\n",
        right__mod="use crate::left::down::Down;\npub struct Middle;\n",
    )
    assert ways == ["left → right → left (left::up line 1 names right; right line 1 names left::down)"]


def test_what_a_folder_passes_on_counts_as_its_part_s(tmp_path):
    ways = made(
        tmp_path,
        lib="mod folder; mod other;",
        folder__mod="mod high;\nmod low;\npub use low::Low;\nuse high::High;\n",
        folder__high="use super::Low;\npub struct High;\n",
        folder__low="pub struct Low;\n",
        other="use crate::folder::Low;\n",
    )
    assert ways == []
