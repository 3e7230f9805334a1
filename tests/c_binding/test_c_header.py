"""The header says what the library is: every function with its types, every struct field, every number, every symbol.

Both sides are read as text and brought to one form, that of Rust. The header is written by hand, so that it can be
read; this file is what keeps the hand honest. The names of the settings are made from the engine's table, and compared
with that in tests/unit.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from c_binding.conftest import BINDING, STRICT

HEADER = (BINDING / "include" / "fairlead.h").read_text()
DECLARED = re.sub(r"/\*.*?\*/", " ", HEADER, flags=re.DOTALL)
SOURCES = "\n".join(path.read_text() for path in sorted((BINDING / "src").rglob("*.rs")))

BASES = {"char": "c_char", "int": "c_int", "size_t": "usize", "uint32_t": "u32", "uint64_t": "u64"}
EXPORT = re.compile(
    r'(?P<doc>(?:///.*\n)*)#\[no_mangle\]\npub (?:unsafe )?extern "C" fn (?P<name>\w+)'
    r"\((?P<parameters>[^)]*)\)\s*(?:->\s*(?P<result>[^{]+?)\s*)?\{"
)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def rust_type(c_type: str) -> str:
    """`const char *const *` → `*const *const c_char`."""
    words = re.findall(r"\w+|\*", c_type)
    is_const = words[0] == "const"
    base = words[1] if is_const else words[0]
    rest = words[2 if is_const else 1 :]
    rust = BASES.get(base, base)
    for place, word in enumerate(rest):
        if word == "*":
            rust = ("*const " if is_const else "*mut ") + rust
            is_const = rest[place + 1 : place + 2] == ["const"]
    return rust


def rust_declaration(c_declaration: str) -> tuple[str, str]:
    """`const char *name` → (`name`, `*const c_char`)."""
    c_type, name = re.fullmatch(r"(.*?)(\w+)", squeezed(c_declaration)).groups()
    return name, rust_type(c_type)


def header_functions() -> dict[str, tuple[list[tuple[str, str]], str]]:
    functions = {}
    for result, name, parameters in re.findall(r"^([\w ]+?[ *]+)(fl_\w+)\(([^)]*)\);", DECLARED, re.MULTILINE):
        listed = [] if parameters.strip() == "void" else [rust_declaration(one) for one in parameters.split(",")]
        assert name not in functions, f"{name} is declared twice"
        functions[name] = (listed, rust_type(result))
    return functions


def source_functions() -> dict[str, tuple[list[tuple[str, str]], str]]:
    functions = {}
    for export in EXPORT.finditer(SOURCES):
        parts = [squeezed(part) for part in export["parameters"].split(",") if part.strip()]
        parameters = [tuple(part.split(": ", 1)) for part in parts]
        functions[export["name"]] = (parameters, squeezed(export["result"]))
    return functions


def header_structs() -> dict[str, list[tuple[str, str]]]:
    found = re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", DECLARED, re.DOTALL)
    return {name: [rust_declaration(one) for one in body.split(";") if one.strip()] for name, body in found}


def source_structs() -> dict[str, list[tuple[str, str]]]:
    """Those whose fields C may see; the opaque ones begin with their tag."""
    found = re.findall(r"#\[repr\(C\)\]\n(?:#.*\n)*pub struct (\w+) \{\n((?:.*\n)*?)\}", SOURCES)
    fields = {name: re.findall(r"^    (?:pub )?(\w+): (.+),$", body, re.MULTILINE) for name, body in found}
    return {name: listed for name, listed in fields.items() if listed[0] != ("tag", "Tag")}


def opaque_structs() -> set[str]:
    return set(re.findall(r"#\[repr\(C\)\]\npub struct (\w+) \{\n    tag: Tag,", SOURCES))


def test_every_function_has_the_same_types_on_both_sides():
    assert len(source_functions()) == SOURCES.count("#[no_mangle]"), "an export that this test cannot read"
    assert header_functions() == source_functions()


def test_every_struct_has_the_same_fields_on_both_sides():
    assert header_structs() == source_structs()


def test_every_handle_is_opaque():
    assert set(re.findall(r"typedef struct (\w+) \1;", DECLARED)) == opaque_structs()


def test_every_number_is_the_same_on_both_sides():
    numbers = {name: int(value) for name, value in re.findall(r"\b(FL_\w+) = (-?\d+)", DECLARED)}
    defined = re.findall(r"^#define (FL_\w+) (\d+)(?:ULL)?$", DECLARED, re.MULTILINE)
    numbers |= {name: int(value) for name, value in defined}
    found = dict(re.findall(r"^pub const (FL_\w+): \w+ = (.+);$", SOURCES, re.MULTILINE))
    assert numbers == {name: int(value) for name, value in found.items()}


def test_the_library_exports_what_the_header_declares_and_nothing_else(library):
    listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    exported = {line.split()[2] for line in listed.stdout.splitlines()}
    assert exported == set(header_functions())


def test_every_export_is_documented_with_its_threads_and_its_safety():
    for export in EXPORT.finditer(SOURCES):
        assert export["doc"], f"{export['name']} has no documentation"
        assert "unsafe" not in export[0] or "# Safety" in export["doc"], f"{export['name']}: # Safety is missing"


@pytest.mark.parametrize(
    "compiler", ["cc -std=c99 -xc", "cc -std=c11 -xc", "c++ -std=c++11 -xc++", "c++ -std=c++20 -xc++"]
)
def test_the_header_stands_alone_in_c_and_cpp(compiler, tmp_path):
    program = compiler.split()
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    source = tmp_path / "alone.c"
    source.write_text("#include <fairlead.h>\n#include <fairlead.h>\nint main(void) { return FL_OK; }\n")
    command = [*program, *STRICT, "-fsyntax-only", f"-I{BINDING / 'include'}", str(source)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""
