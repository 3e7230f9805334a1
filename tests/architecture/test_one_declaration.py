"""One declaration per setting: the engine's table, and what takes from it instead of saying it again.

What is compared here is text. That the committed files are made from the table is a unit test (tests/unit), and that a
new setting needs its row and the code that uses it alone is tried in a copy (tests/c_binding/test_a_new_setting.py).
"""

from __future__ import annotations

import ast
import re

import pytest
from repository import PACKAGE, ROOT, files, hold, lines_with, name, rust_code, text

TABLE = ROOT / "crates" / "engine" / "src" / "settings" / "table.rs"
OPTIONS = PACKAGE / "settings" / "options.py"
MADE = PACKAGE / "settings" / "engine_table.py"

#: A row: `name: kind => field = default, range;`.
ROW = re.compile(r"^        (\w+): ([^\n]+?) => (\w+) = ", re.MULTILINE)
#: A group: `name: Struct, |all| place => {`.
GROUP = re.compile(r"^    \w+: (\w+), \|all\| ", re.MULTILINE)

#: Who names a setting of the engine because it decides it by the way of running, and not by a default.
DECIDES = {"python/fairlead/worker/start.py": {"delivery"}}


def setting_names() -> list[str]:
    return [row[0] for row in ROW.findall(text(TABLE))]


def filled_structs() -> set[str]:
    return set(GROUP.findall(text(TABLE)))


def test_the_table_can_be_read_here():
    assert len(setting_names()) > 40 and "http_head_timeout" in setting_names()
    assert {"FrontSettings", "Limits", "Timing", "LoopLimits"} <= filled_structs()


def test_no_crate_has_defaults_of_its_own_for_what_the_table_fills():
    structs = "|".join(sorted(filled_structs() | {"SessionSettings", "WorkerSettings"}))
    hold(
        "a struct that the engine's table fills has no `Default` but the derived one, which is zero",
        "a default that stands twice differs one day, and nobody knows which of the two was meant",
        (
            line
            for path in files(".rs")
            if name(path).startswith(("crates/", "bindings/"))
            for line in lines_with(path, rf"impl Default for ({structs})\b", rust_code(path))
        ),
    )


@pytest.mark.parametrize("path", ["crates/front/src/settings.rs", "crates/websocket/src/limits.rs"])
def test_the_structs_that_the_table_fills_say_no_number(path):
    code = rust_code(ROOT / path).partition("#[cfg(test)]")[0]
    hold(
        "a struct of settings holds types and no values; only what follows from another setting is computed there",
        "the value of a setting and its reason stand once, in the engine's table",
        (
            line
            for line in lines_with(ROOT / path, r"\b(from_(secs|millis)|[0-9]+)\b", code)
            if "max_message / 32" not in line and "saturating_add(1024)" not in line
        ),
    )


def test_no_binding_names_a_setting():
    names = "|".join(setting_names())
    hold(
        "a binding passes settings by the names and kinds of the table and spells none of them",
        "a setting that a binding must name is a setting that somebody forgets in the next binding",
        (
            f"{name(path)}: {found}"
            for path in files(".rs")
            if name(path).startswith("bindings/")
            for found in re.findall(rf'"(?:{names})"', re.sub(r"//[^\n]*", "", text(path)))
        ),
    )


def test_the_package_names_an_engine_s_setting_where_an_option_feeds_it_only():
    names = set(setting_names())
    found = []
    for path in files(".py"):
        if not path.is_relative_to(PACKAGE) or path in (OPTIONS, MADE):
            continue
        for node in ast.walk(ast.parse(text(path))):
            # "slots" and "http2" are words of Python's own as well.
            if isinstance(node, ast.Constant) and node.value in names - {
                "slots",
                "http2",
                *DECIDES.get(name(path), ()),
            }:
                found.append(f"{name(path)}:{node.lineno}: {node.value!r}")
    hold(
        "a setting of the engine is named by the option that feeds it, in settings/options.py",
        "whoever looks for what an option does finds it beside the option",
        found,
    )


def test_an_option_that_feeds_the_engine_says_no_default_and_no_range():
    found = []
    tree = ast.parse(text(OPTIONS))
    (declared,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    for node in ast.walk(declared):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        keywords = {keyword.arg for keyword in node.keywords}
        if node.func.id != "feeds" and "engine" not in keywords:
            continue
        spelt = [
            inner.value
            for argument in [*node.args, *(one.value for one in node.keywords if one.arg != "unit")]
            for inner in ast.walk(argument)
            if isinstance(inner, ast.Constant) and isinstance(inner.value, (int, float))
        ]
        found += [f"{name(OPTIONS)}:{node.lineno}: {value}" for value in spelt]
    hold(
        "an option that feeds a setting of the engine takes default and range from the table",
        "the number stands once, so the command line and the C interface cannot disagree",
        found,
    )
