"""What other people's Rust crates may come in: deny.toml's rules, read from Cargo's own listing of the tree.

`make deny` checks the same file with cargo-deny, which takes minutes to build. These tests need cargo alone and no
network, so the rules hold with every `make test`. They cover licences, homes (`wrappers`) and sources.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from repository import ROOT, hold, toml


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    """All packages that a build for Linux takes, with their licences and who wants them."""
    command = [
        "cargo",
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def taken(metadata) -> dict[str, dict[str, Any]]:
    """The packages by id; what is listed for other platforms only is left out."""
    nodes = {node["id"] for node in metadata["resolve"]["nodes"]}
    return {package["id"]: package for package in metadata["packages"] if package["id"] in nodes}


def allows(allowed: set[str], expression: str) -> bool:
    """Whether the licences suffice for an SPDX expression: one side of each OR, both of each AND."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    words = []
    while tokens:
        token = tokens.pop(0)
        if token in {"(", ")"}:
            words.append(token)
        elif token in {"AND", "OR"}:
            words.append(token.lower())
        else:
            name = token
            if tokens[:1] == ["WITH"]:
                name, tokens = f"{token} WITH {tokens[1]}", tokens[2:]
            words.append(str(name in allowed))
    return bool(eval(" ".join(words), {"__builtins__": {}}))  # only True, False, and, or, and parentheses


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("MIT OR Apache-2.0", True),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0", False),
        ("(MIT OR GPL-3.0) AND Zlib", False),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", True),
    ],
)
def test_licence_expressions_are_read_as_spdx_means_them(expression, verdict):
    assert allows({"MIT", "Apache-2.0 WITH LLVM-exception"}, expression) is verdict


def test_every_crate_has_a_licence_that_is_allowed(taken):
    allowed = set(toml("deny.toml")["licenses"]["allow"])
    hold(
        f"licences are among {sorted(allowed)}",
        "whoever builds on Fairlead gets no further duties than a notice",
        (
            f"{package['name']} {package['version']}: {package['license']}"
            for package in taken.values()
            if not allows(allowed, package["license"] or "none")
        ),
    )


def test_crates_with_a_home_are_wanted_by_nobody_else(metadata, taken):
    wanted_by: dict[str, set[str]] = {}
    for node in metadata["resolve"]["nodes"]:
        for other in node["dependencies"]:
            wanted_by.setdefault(taken[other]["name"], set()).add(taken[node["id"]]["name"])
    found = []
    for ban in toml("deny.toml")["bans"]["deny"]:
        extra = wanted_by.get(ban["crate"], set()) - set(ban.get("wrappers", ()))
        found += [f"{ban['crate']} is wanted by {one}" for one in extra]
    hold(
        "a crate in [bans] of deny.toml comes in by its wrappers only", "deny.toml gives the reason beside each", found
    )


def test_every_crate_comes_from_the_registry(taken):
    hold(
        "crates are ours or crates.io's",
        "a git revision can vanish, and another registry is another party to trust",
        (
            f"{package['name']}: {package['source']}"
            for package in taken.values()
            if package["source"] and package["source"] != "registry+https://github.com/rust-lang/crates.io-index"
        ),
    )
