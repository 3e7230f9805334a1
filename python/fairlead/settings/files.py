"""What configuration files say: INI, YAML and JSON texts become a flat list of `Entry`s (compat §4.1).

Pure functions of a text; expanding values and acting on them is sources.py. The invariant: an entry
carries the place it came from ("app.ini:3"), keys keep their order and repetitions, and values stay texts, so
that all three formats mean exactly the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fairlead.errors import SettingsError

#: The keys that open a loop; `endfor` closes each.
LOOPS = ("for", "for-glob", "for-times", "for-readline")


class Entry(NamedTuple):
    """One key of a file, not yet expanded."""

    name: str
    value: str | None
    where: str


def read_ini(text: str, path: str, section: str) -> Iterator[Entry]:
    """The keys of one section, `[uwsgi]` (or else `[fairlead]`) unless named. Comments only at a line's
    start, no quotes, no continuation; a key without `=` is a flag (compat §4.1)."""
    sections: dict[str, list[Entry]] = {}
    current: list[Entry] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            if line[-1] != "]":
                raise SettingsError(f"{path}:{number} opens a section without closing it: {line!r}; add ].")
            current = sections.setdefault(line[1:-1].strip(), [])
            continue
        key, equals, value = line.partition("=")
        if current is None:
            raise SettingsError(f"{path}:{number} stands before any section; put [uwsgi] above it.")
        current.append(Entry(key.strip(), value.strip() if equals else None, f"{path}:{number}"))
    yield from _chosen_section(sections, path, section)


def read_json(text: str, path: str, section: str) -> Iterator[Entry]:
    """Top element `uwsgi`; arrays repeat the key, booleans map to flags (compat §4.1)."""
    try:
        # Pairs, not dicts: a repeated key is a repeated option.
        top = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}:{error.lineno} is not JSON: {error.msg}; correct it.") from None
    sections: dict[str, Any] = {}
    if isinstance(top, list):
        sections = {name: body for name, body in (pair for pair in top if isinstance(pair, tuple))}
    for name, value in _chosen_section(sections, path, section):
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, (list, tuple)):
                raise SettingsError(f"{name} in {path} is nested; an option is a text, a number, a boolean or a list.")
            shown = None if one is None else str(one).lower() if isinstance(one, bool) else str(one)
            yield Entry(name, shown, path)


def read_yaml(text: str, path: str, section: str) -> Iterator[Entry]:
    """The same shape as JSON. Nodes, not objects, are read: that keeps line numbers, repeated keys, and texts
    such as `0640` as they are written. Needs PyYAML."""
    try:
        import yaml
    except ImportError:
        raise SettingsError(
            f"reading {path} needs PyYAML; pip install PyYAML, or write the file as INI or JSON."
        ) from None
    try:
        top = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}:{line} is not YAML: {error.problem}; correct it.") from None
    sections = {}
    if isinstance(top, yaml.MappingNode):
        sections = {key.value: node for key, node in top.value}
    body = _chosen_section(sections, path, section)
    for key, node in body.value if isinstance(body, yaml.MappingNode) else ():
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            where = f"{path}:{one.start_mark.line + 1}"
            if not isinstance(one, yaml.ScalarNode):
                raise SettingsError(f"{key.value} ({where}) is nested; an option is a text, a number or a list.")
            yield Entry(str(key.value), None if one.tag.endswith(":null") else one.value, where)


def _chosen_section(sections: Mapping[str, Any], path: str, section: str) -> Any:
    for name in [section] if section else ["uwsgi", "fairlead"]:
        if name in sections:
            return sections[name]
    known = ", ".join(sorted(map(str, sections))) or "none"
    raise SettingsError(f"{path} has no section [{section or 'uwsgi'}]; it has: {known}.")


def cut_block(entries: Sequence[Entry], at: int, end: str, opened: Entry) -> tuple[list[Entry], list[Entry], int]:
    """The entries from `at` to the matching `end`, split at `else`, and the position behind `end`."""
    parts: list[list[Entry]] = [[]]
    open_blocks: list[str] = []
    for position in range(at, len(entries)):
        entry = entries[position]
        if not open_blocks and entry.name == end:
            return parts[0], parts[1] if len(parts) > 1 else [], position + 1
        if not open_blocks and entry.name == "else" and end == "endif" and len(parts) == 1:
            parts.append([])
            continue
        if entry.name in LOOPS:
            open_blocks.append("endfor")
        elif entry.name.startswith("if-"):
            open_blocks.append("endif")
        elif open_blocks and entry.name == open_blocks[-1]:
            open_blocks.pop()
        parts[-1].append(entry)
    raise SettingsError(f"{opened.name} ({opened.where}) is never closed; add {end} =.")


def split_section(target: str) -> tuple[str, str]:
    """`FILE[:SECTION]` in two; a colon inside a folder's name is part of the path."""
    path, colon, section = target.rpartition(":")
    return (path, section) if colon and "/" not in section else (target, "")
