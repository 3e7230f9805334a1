"""Which module of a crate names which other: the graph that the rule against circles is checked on.

A module is a file. Read are `use` declarations (nested braces, `self`, `super`, globs, `as`) and paths in the code that
begin with `crate`, `self`, `super`, a child module or an imported module. A name that a module only passes on
(`pub use`, or an import that its children reach by `super`) counts as the module's that defines it. Code under
`#[cfg(test)]` does not count: tests may look anywhere. Neither `mod child;` nor a `pub use` of a child's name is an
edge by itself: a folder has to name its parts, and what it only passes on it does not use. Standard library only;
nothing is compiled, so what a macro makes is not seen.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: What is no code: comments, strings, raw strings, characters (a lifetime has no second quote).
_NO_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|\bb?r(?P<hashes>#*)".*?"(?P=hashes)|b?"(?:[^"\\]|\\.)*"|b?\'(?:\\[^\n]+?|[^\\\'\n])\'',
    re.DOTALL,
)
_TOKEN = re.compile(r"(?P<word>[A-Za-z_]\w*)|(?P<sign>::|[{}();,*#\[\]=])|(?P<line>\n)")
_TEST = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]")
_DEFINES = r"\b(?:fn|struct|enum|union|trait|type|const|static|mod|macro_rules!)\s+(?:mut\s+)?{}\b"


@dataclass
class Module:
    """One file, or the inside of `mod name { … }` in one."""

    path: tuple[str, ...]
    file: Path
    code: str
    #: The file's own module, for what stands inside a `mod name { … }`.
    owner: Module | None = None
    children: dict[str, Module] = field(default_factory=dict)
    #: Names that `use` brings in, and the paths that they stand for.
    imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    globs: list[tuple[str, ...]] = field(default_factory=list)
    #: Paths that the code names, with their lines.
    paths: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    @property
    def unit(self) -> Module:
        """The module that is a file."""
        return self.owner or self


@dataclass(frozen=True)
class Edge:
    """`source` names something of `target`, in this line."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    line: int


def roots(source: Path) -> list[Path]:
    """The files under a `src` folder with which a crate begins: a library, a program, or several."""
    found = [source / "lib.rs", source / "main.rs", *source.glob("bin/*.rs"), *source.glob("bin/*/main.rs")]
    return sorted(root for root in found if root.is_file())


def edges(root: Path) -> list[Edge]:
    """Every edge between two files of the crate that begins with `root`."""
    crate = Module((), root, _code(root))
    modules = list(_read(crate, crate, root.parent))
    found = {}
    for module in modules:
        for line, path in module.paths:
            target = _resolve(crate, module, path)
            if target is not None and target.unit is not module.unit:
                key = (module.unit.path, target.unit.path)
                found.setdefault(key, Edge(*key, line))
    return sorted(found.values(), key=lambda edge: (edge.source, edge.line))


def circle(graph: dict[tuple[str, ...], set[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """A shortest way from a node back to itself, which stands at both ends; nothing if there is none."""
    shortest: list[tuple[str, ...]] = []
    for start in sorted(graph):
        ways = deque([[start]])
        seen = {start}
        while ways:
            way = ways.popleft()
            targets = graph.get(way[-1], set())
            if start in targets:
                if not shortest or len(way) < len(shortest) - 1:
                    shortest = [*way, start]
                break
            new = sorted(targets - seen)
            seen.update(new)
            ways.extend([*way, target] for target in new)
    return shortest


def circles(found: list[Edge]) -> list[str]:
    """Circles of this crate, each as `one → other → one` with a line for each step: one of single modules, if there is
    one, and for each folder one of the modules and folders that lie in it beside each other."""
    ways = [_circle_of(found, lambda edge: (edge.source, edge.target))]
    for folder in sorted({edge.source[:depth] for edge in found for depth in range(len(edge.source))}):
        depth = len(folder) + 1

        def beside(edge: Edge, folder: tuple[str, ...] = folder, depth: int = depth):
            source, target = edge.source[:depth], edge.target[:depth]
            inside = source[:-1] == target[:-1] == folder and len(source) == len(target) == depth
            return (source, target) if inside and source != target else None

        ways.append(_circle_of(found, beside))
    return sorted({way for way in ways if way})


def _circle_of(found: list[Edge], ends: Callable[[Edge], tuple[Any, Any] | None]) -> str:
    graph: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    first: dict[tuple[Any, Any], Edge] = {}
    for edge in found:
        if pair := ends(edge):
            graph.setdefault(pair[0], set()).add(pair[1])
            first.setdefault(pair, edge)
    way = circle(graph)
    if not way:
        return ""
    steps = [first[pair] for pair in zip(way, way[1:], strict=False)]
    lines = "; ".join(f"{_name(edge.source)} line {edge.line} names {_name(edge.target)}" for edge in steps)
    return f"{' → '.join(map(_name, way))} ({lines})"


def _name(path: tuple[str, ...]) -> str:
    return "::".join(path) or "the root"


def _code(file: Path) -> str:
    """The file's code, with its lines, without what stands under `#[cfg(test)]`."""
    text = file.read_text(encoding="utf-8")
    code = _NO_CODE.sub(lambda found: '""' + "\n" * found[0].count("\n"), text)
    while found := _TEST.search(code):
        end = _end_of_item(code, found.end())
        code = code[: found.start()] + "\n" * code.count("\n", found.start(), end) + code[end:]
    return code


def _end_of_item(code: str, start: int) -> int:
    """Behind the item that begins at `start`: its semicolon or its closing brace."""
    depth = 0
    for found in re.compile(r"[{}();\[\]]").finditer(code, start):
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(found[0], 0)
        if depth == 0 and found[0] in "};":
            return found.end()
    return len(code)


def _read(crate: Module, module: Module, folder: Path) -> Iterator[Module]:
    """This module and all below it. `folder`: where the files of its children lie."""
    tokens = [
        (found.lastgroup, found[0], module.code.count("\n", 0, found.start()) + 1)
        for found in _TOKEN.finditer(module.code)
        if found.lastgroup != "line"
    ]
    yield module
    inside = [module]
    #: How many braces are open when each inner module ends.
    ends: list[int] = []
    depth = at = 0
    below: list[tuple[Module, Path]] = []
    while at < len(tokens):
        kind, word, line = tokens[at]
        here = inside[-1]
        if word == "{":
            depth += 1
        elif word == "}":
            depth -= 1
            if ends and ends[-1] == depth:
                ends.pop()
                inside.pop()
        elif word == "mod" and at + 2 < len(tokens) and tokens[at + 1][0] == "word":
            child, sign = tokens[at + 1][1], tokens[at + 2][1]
            if sign == ";":
                place = folder.joinpath(*(one.path[-1] for one in inside[1:]))
                file = place / f"{child}.rs" if (place / f"{child}.rs").is_file() else place / child / "mod.rs"
                if file.is_file():
                    here.children[child] = Module((*here.path, child), file, _code(file))
                    below.append((here.children[child], place / child))
            elif sign == "{":
                here.children[child] = Module((*here.path, child), here.file, "", owner=module.unit)
                inside.append(here.children[child])
                ends.append(depth)
                depth += 1
                yield here.children[child]
            at += 2
        elif word == "use":
            passed_on = at > 0 and tokens[at - 1][1] in {"pub", ")"}
            before = len(here.paths)
            at = _use(tokens, at + 1, (), here)
            if passed_on:
                here.paths[before:] = [one for one in here.paths[before:] if not _only_passes_on(here, one[1])]
        elif kind == "word" and at + 1 < len(tokens) and tokens[at + 1][1] == "::" and tokens[at - 1][1] != "::":
            path = [word]
            while at + 2 < len(tokens) and tokens[at + 1][1] == "::" and tokens[at + 2][0] == "word":
                path.append(tokens[at + 2][1])
                at += 2
            here.paths.append((line, tuple(path)))
        at += 1
    for child, place in below:
        yield from _read(crate, child, place)


def _only_passes_on(here: Module, path: tuple[str, ...]) -> bool:
    """The path is a child's, and its name stands nowhere else in this module."""
    own = path[1:] if path[:1] == ("self",) else path
    return own[:1] != () and own[0] in here.children and len(re.findall(rf"\b{own[-1]}\b", here.unit.code)) < 2


def _use(tokens: list[tuple[str | None, str, int]], at: int, prefix: tuple[str, ...], here: Module) -> int:
    """One tree of a `use`, from `at` to the sign that ends it, whose place is answered."""
    path = prefix
    line = tokens[at][2]
    while at < len(tokens):
        kind, word, _ = tokens[at]
        if word == "{":
            at += 1
            while tokens[at][1] != "}":
                at = _use(tokens, at, path, here)
                at += tokens[at][1] == ","
            return at + 1
        if word == "*":
            here.globs.append(path)
            here.paths.append((line, path))
            return at + 1
        if kind == "word" and word == "as":
            here.imports[tokens[at + 1][1]] = path
            here.paths.append((line, path))
            return at + 2
        if kind == "word":
            path = path if word == "self" and path else (*path, word)
        elif word != "::":
            break
        at += 1
    if path != prefix or tokens[at - 1][1] == "self":
        here.imports.setdefault(path[-1], path)
        here.paths.append((line, path))
    return at


def _resolve(
    crate: Module, module: Module, path: tuple[str, ...], seen: frozenset[tuple[str, ...]] = frozenset()
) -> Module | None:
    """The module of this crate that defines what `path`, written in `module`, names; `None` if it is none of ours."""
    key = (*module.path, "", *path)
    if not path or key in seen:
        return None
    seen |= {key}
    first, rest = path[0], path[1:]
    if first == "crate":
        return _down(crate, crate, rest, seen)
    if first == "self":
        return _down(crate, module, rest, seen)
    if first == "super":
        parent = _find(crate, module.path[:-1])
        return _down(crate, parent, rest, seen) if rest[:1] != ("super",) else _resolve(crate, parent, rest, seen)
    if first in module.children:
        return _down(crate, module, path, seen)
    if first in module.imports and module.imports[first] != path:
        return _resolve(crate, module, (*module.imports[first], *rest), seen)
    return None


def _find(crate: Module, path: tuple[str, ...]) -> Module:
    module = crate
    for name in path:
        module = module.children[name]
    return module


def _down(crate: Module, module: Module, path: tuple[str, ...], seen: frozenset[tuple[str, ...]]) -> Module | None:
    """Follows `path` from `module` downwards, through what is only passed on."""
    for number, name in enumerate(path):
        if name in module.children:
            module = module.children[name]
            continue
        if re.search(_DEFINES.format(name), module.unit.code):
            return module
        if name in module.imports:
            return _resolve(crate, module, (*module.imports[name], *path[number + 1 :]), seen) or module
        for glob in module.globs:
            source = _resolve(crate, module, glob, seen)
            if source is not None and re.search(_DEFINES.format(name), source.unit.code):
                return source
        return module
    return module
