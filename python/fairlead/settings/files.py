"""What configuration files say: INI, YAML and JSON texts become a flat list of `Entry`s (compat §4.1).

Pure functions of a text; expanding values and acting on them is sources.py. The invariant: an entry
carries the place it came from ("app.ini:3"), keys keep their order and repetitions, and values stay texts, so
that all three formats mean exactly the same. What is wrong in one line is told to `refuse`, and the rest is read; a
text that cannot be read at all raises SettingsError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fairlead.errors import SettingsError

#: The keys that open a loop; `endfor` closes each.
LOOPS = ("for", "for-glob", "for-times", "for-readline")


class Entry(NamedTuple):
    """One key of a file, not yet expanded."""

    name: str
    value: str | None
    where: str


#: Takes a sentence about one line.
Refuse = Callable[[str], object]


def read_ini(text: str, path: str, section: str, refuse: Refuse) -> Iterator[Entry]:
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
                refuse(f"{path}:{number} opens a section without closing it: {line!r}; add ].")
                continue
            current = sections.setdefault(line[1:-1].strip(), [])
            continue
        key, equals, value = line.partition("=")
        if current is None:
            refuse(f"{path}:{number} stands before any section; put [uwsgi] above it.")
            current = sections.setdefault("uwsgi", [])
        current.append(Entry(key.strip(), value.strip() if equals else None, f"{path}:{number}"))
    yield from _chosen_section(sections, path, section)


def read_json(text: str, path: str, section: str, refuse: Refuse) -> Iterator[Entry]:
    """Top element `uwsgi`; arrays repeat the key, booleans map to flags (compat §4.1)."""
    try:
        # Pairs, not dicts: a repeated key is a repeated option.
        top = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}:{error.lineno} is not JSON: {error.msg}; correct it.") from None
    except RecursionError:
        raise SettingsError(f"{path} is nested too deeply for a configuration; correct it.") from None
    sections: dict[str, Any] = {}
    if isinstance(top, list):
        sections = {name: body for name, body in (pair for pair in top if isinstance(pair, tuple))}
    chosen = _chosen_section(sections, path, section)
    if not isinstance(chosen, list) or not all(isinstance(pair, tuple) for pair in chosen):
        raise SettingsError(f"section {section or 'uwsgi'} of {path} holds no options; write an object of them.")
    # The parser tells no positions; keys stand in the text in the order in which it gives them.
    name_of_section = next(name for name, body in sections.items() if body is chosen)
    at = _key_at(text, name_of_section, 0)
    for name, value in chosen:
        at = _key_at(text, name, at)
        where = f"{path}:{text.count(chr(10), 0, at) + 1}"
        # An empty array and an empty object are both an empty list here: neither gives an option.
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, (list, tuple)):
                refuse(f"{name} ({where}) is nested; an option is a text, a number, a boolean or a list.")
                break
            shown = None if one is None else str(one).lower() if isinstance(one, bool) else str(one)
            yield Entry(name, shown, where)


def _key_at(text: str, name: str, after: int) -> int:
    """Where a key of JSON stands, behind the one before."""
    found = re.compile(rf"{re.escape(json.dumps(name, ensure_ascii=False))}\s*:").search(text, after + 1)
    return found.start() if found else after  # its name is written with escapes


def read_yaml(text: str, path: str, section: str, refuse: Refuse) -> Iterator[Entry]:
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
    except yaml.YAMLError as error:  # a character that no YAML has, NUL above all
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}; correct it.") from None
    except RecursionError:
        raise SettingsError(f"{path} is nested too deeply for a configuration; correct it.") from None
    sections = {}
    if isinstance(top, yaml.MappingNode):
        sections = {key.value: node for key, node in top.value if isinstance(key, yaml.ScalarNode)}
    body = _chosen_section(sections, path, section)
    for key, node in body.value if isinstance(body, yaml.MappingNode) else ():
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            where = f"{path}:{one.start_mark.line + 1}"
            if not isinstance(one, yaml.ScalarNode):
                refuse(f"{key.value} ({where}) is nested; an option is a text, a number or a list.")
                continue
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
