"""Where settings come from: command line, INI, YAML and JSON files, and the environment (compat §4.1).

A source yields (name, value, place) and nothing more; `Reader.apply`, where all of them enter, expands
the value, acts on directives (`--ini`, `--set`, …) and answers unknown and foreign names. What a value means
is options.py's business. The invariant: options act in the order in which they stand, so the last one wins;
the environment comes first and is thus the weakest, a file counts as if its lines stood where `--ini` stands.

The parser is our own and not click's: uWSGI's options are applied in order, accumulate, may load files in the
middle, take unknown names as placeholders, and classify a free argument by its suffix; click's model has room
for none of it.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fairlead.errors import SettingsError
from fairlead.settings import uwsgi
from fairlead.settings.files import LOOPS, Entry, cut_block, read_ini, read_json, read_yaml, split_section
from fairlead.settings.options import BY_NAME, BY_SHORT, VERSION, Given, Setting
from fairlead.settings.placeholders import expand, magic_of_file, magic_of_process, reason

#: Variables with our prefixes that are not options: our own between master and worker, and what uWSGI sets
#: itself.
_INTERNAL = re.compile(
    r"FAIRLEAD_(CONTROL_FD|ENGINE|LOG|TEST|BENCH).*|UWSGI_(RELOADS|PLUGINS|ORIGINAL_PROC_NAME|VASSAL).*"
)

#: What a free argument is, by its suffix.
_SUFFIXES = {
    ".ini": "ini", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".js": "json", ".py": "wsgi-file",
    ".wsgi": "wsgi-file", ".xml": "xml", ".psgi": "psgi", ".pl": "psgi", ".ru": "rack",
}  # fmt: skip


@dataclass
class Reading:
    """What all sources said together."""

    given: list[Given] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: The immediate options that end the command: "help", "version", "show-config".
    asked: list[str] = field(default_factory=list)
    #: The one-letter placeholders as they were in the end: of the process, and of the outermost file read last.
    magic: dict[str, str] = field(default_factory=dict)


def read_sources(arguments: Sequence[str], environ: Mapping[str, str]) -> Reading:
    """Read the environment and then the command line, with all files it names. Raises SettingsError."""
    reader = Reader(environ)
    reader.read_environment()
    reader.read_arguments(arguments)
    return reader.finish()


class Reader:
    """Collects options in order. One object reads one configuration; use `read_sources`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._names: dict[str, str] = {}  # everything set so far, for %(name)
        self._unknown: list[Entry] = []
        self._magic = magic_of_process(VERSION)
        self._reading = Reading(magic=self._magic)
        self._files: list[tuple[str, str]] = []  # (path, section) being read, the innermost last
        self._strict = False

    def read_environment(self) -> None:
        """`UWSGI_<OPTION>` and, stronger, `FAIRLEAD_<OPTION>`; values are taken as they are."""
        for prefix in ("UWSGI_", "FAIRLEAD_"):
            for variable in sorted(self._environ):
                if not variable.startswith(prefix) or _INTERNAL.fullmatch(variable):
                    continue
                name = variable[len(prefix) :].lower().replace("_", "-")
                where = f"environment variable {variable}"
                if name in BY_NAME or uwsgi.find(name):
                    self._dispatch(name, self._environ[variable], where)
                elif prefix == "FAIRLEAD_":
                    self._warn(f"{variable} in the environment is no option{nearest(name)}.")

    def read_arguments(self, arguments: Sequence[str]) -> None:
        """uWSGI's getopt_long syntax: `--opt value`, `--opt=value`, `-x value`, `-xvalue`, `-xy`, free
        arguments."""
        rest = list(arguments)
        where = "command line"
        while rest:
            word = rest.pop(0)
            if word.startswith("--") and len(word) > 2:
                name, equals, text = word[2:].partition("=")
                value = text if equals else None
                if value is None and self._takes_value(name):
                    value = self._next_value(f"--{name}", name, rest)
                self.apply(name, value, where)
            elif word.startswith("-") and len(word) > 1 and word != "--":
                self._read_short(word[1:], rest)
            elif word != "--":
                self._read_free(word)

    def apply(self, name: str, value: str | None, where: str) -> None:
        """Expand `value` and let the option act. Raises SettingsError."""
        if value is not None:
            value = expand(value, self._names, self._environ, self._magic, where)
        self._dispatch(name, value, where)

    def finish(self) -> Reading:
        """The result, once all sources are read; only now is it known whether --strict was given."""
        for entry in self._unknown:
            if self._strict:
                raise SettingsError(
                    f"{entry.name} ({entry.where}) is no option and --strict is set{nearest(entry.name)}."
                )
            close = difflib.get_close_matches(entry.name, BY_NAME, 1, 0.85)
            if close:  # far more often a slip of the pen than a placeholder
                self._warn(f"{entry.name} ({entry.where}) is taken as a placeholder{nearest(entry.name)}.")
        return self._reading

    # -- where all sources enter

    def _dispatch(self, name: str, value: str | None, where: str) -> None:
        about = BY_NAME.get(name)
        if about is None:
            self._foreign_or_unknown(name, value, where)
        elif about.field:
            self._keep(name, value, where)
        else:
            self._direct(about, Given(name, value, where))

    def _keep(self, name: str, value: str | None, where: str) -> None:
        self._reading.given.append(Given(name, value, where))
        self._names[name] = value if value is not None else "true"

    def _direct(self, about: Setting, given: Given) -> None:
        """Directives act where they stand (compat §4.1, "immediate")."""
        parsed = about.parse(given)
        if about.name in ("ini", "yaml", "json"):
            self._read_file(about.name, parsed, given.where)
        elif about.name == "set":
            self._dispatch(parsed[0], parsed[1], given.where)
        elif about.name == "set-placeholder":
            if parsed[0] in BY_NAME:
                raise SettingsError(f"--set-placeholder {parsed[0]} ({given.where}) names an option; use --set.")
            self._keep(parsed[0], parsed[1], given.where)
        elif about.name == "strict":
            self._strict = parsed
        elif parsed:
            self._reading.asked.append(about.name)

    def _foreign_or_unknown(self, name: str, value: str | None, where: str) -> None:
        foreign = uwsgi.find(name)
        if foreign is not None and foreign.answer == "refused":
            raise SettingsError(f"--{name} ({where}) {foreign.why}; remove it.")
        if foreign is not None:
            if foreign.answer == "ignored":
                self._warn(f"--{name} ({where}) is ignored: {foreign.why}.")
            elif value is not None and not BY_NAME["strict"].kind.parse(value):
                self._warn(f"--{name} cannot be turned off ({where}): {foreign.why}.")
            self._keep(name, value, where)
        elif where == "command line":
            raise SettingsError(f"--{name} is no option of Fairlead{nearest(name)}; see --help.")
        else:
            self._unknown.append(Entry(name, value, where))
            self._keep(name, value, where)

    def _warn(self, sentence: str) -> None:
        if sentence not in self._reading.warnings:
            self._reading.warnings.append(sentence)

    # -- command line

    def _takes_value(self, name: str) -> bool:
        about = BY_NAME.get(name)
        if about is not None:
            # With an optional argument getopt takes a value only after "=".
            return not about.is_flag and about.bare is None
        foreign = uwsgi.find(name)
        return foreign is not None and foreign.answer == "ignored" and foreign.takes == uwsgi.VALUE

    def _next_value(self, shown: str, name: str, rest: list[str]) -> str:
        if not rest:
            about = BY_NAME.get(name)
            raise SettingsError(f"{shown} has no value; it needs {about.kind.needs if about else 'one'}.")
        return rest.pop(0)

    def _read_short(self, letters: str, rest: list[str]) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            about, foreign = BY_SHORT.get(letter), uwsgi.find_short(letter)
            if about is None and foreign is None:
                raise SettingsError(f"-{letter} is no option of Fairlead; see --help.")
            name = about.name if about else foreign.name if foreign else ""
            value: str | None = None
            if self._takes_value(name):
                value = letters or self._next_value(f"-{letter}", name, rest)
                letters = ""
            elif about is not None and about.bare is not None and letters:
                value, letters = letters, ""
            self.apply(name, value, "command line")

    def _read_free(self, word: str) -> None:
        """A free argument is what its suffix says, or `module:callable` (compat §4.1)."""
        path, colon, _ = word.partition(":")
        suffix = os.path.splitext(path)[1]
        name = _SUFFIXES.get(suffix)
        if name == "wsgi-file" and colon:
            raise SettingsError(
                f"{word!r} mixes a file and a callable; write {path} --callable {word[len(path) + 1 :]}."
            )
        if name is None and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?", word):
            name = "module"
        if name is None:
            raise SettingsError(
                f"{word!r} is neither an option nor an application (app.py, module:callable) nor a "
                "configuration file (.ini, .yaml, .json); see --help."
            )
        self.apply(name, word, "command line")

    # -- files

    def _read_file(self, form: str, target: str, where: str) -> None:
        path, section = split_section(target)
        if not path:  # ":section" means the same file
            if not self._files:
                raise SettingsError(f"--{form} {target} ({where}) names a section but no file; write FILE:SECTION.")
            path = self._files[-1][0]
        if "://" in path:
            raise SettingsError(f"--{form} {target} ({where}) is not a local file; copy it to one.")
        this = (os.path.abspath(path), section)
        if this in self._files:
            raise SettingsError(f"--{form} {target} ({where}) includes itself; remove one of the two.")
        text = self._text_of(path, f"--{form} {target} ({where})")
        entries = {"ini": read_ini, "yaml": read_yaml, "json": read_json}[form](text, path, section)
        outer = self._magic
        self._magic = {**outer, **magic_of_file(path, section or "uwsgi")}
        # The upper-case twins keep naming the first file, whatever it includes (compat §4.1).
        for letter in () if self._files or "P" in outer else "psndc":
            outer[letter.upper()] = self._magic[letter.upper()] = self._magic[letter]
        self._files.append(this)
        self._run(list(entries))
        self._files.pop()
        if not self._files:
            self._reading.magic = self._magic
        self._magic = outer

    @staticmethod
    def _text_of(path: str, what: str) -> str:
        try:
            with open(path, encoding="utf-8-sig") as file:
                return file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{what} cannot be read: {reason(error)}.") from None

    def _run(self, entries: Sequence[Entry]) -> None:
        """Apply the entries, with the `for` and `if` blocks among them (compat §4.1). Blocks may be nested, a
        superset."""
        at = 0
        while at < len(entries):
            entry = entries[at]
            at += 1
            if entry.name in LOOPS:
                body, _, at = cut_block(entries, at, "endfor", entry)
                for item in self._items(entry):
                    self._names["_"] = item
                    self._run(body)
            elif entry.name.startswith("if-"):
                yes, no, at = cut_block(entries, at, "endif", entry)
                found = self._holds(entry)
                if found is not None:
                    self._names["_"] = found
                self._run(no if found is None else yes)
            elif entry.name in ("endfor", "endif", "else"):
                raise SettingsError(f"{entry.name} ({entry.where}) closes nothing; remove it.")
            else:
                self.apply(*entry)

    def _items(self, entry: Entry) -> Iterable[str]:
        value = self._expanded(entry)
        if entry.name == "for":
            return value.split()
        if entry.name == "for-glob":
            return sorted(glob.glob(value))
        if entry.name == "for-readline":
            return self._text_of(value, f"{entry.name} {value} ({entry.where})").splitlines()
        if not value.isdigit():
            raise SettingsError(f"for-times was given {value!r} ({entry.where}); it needs a whole number.")
        return (str(number) for number in range(int(value)))

    def _holds(self, entry: Entry) -> str | None:
        """The value `%(_)` has inside the block, or None when the condition is false."""
        value = self._expanded(entry)
        kind = entry.name[3:]
        negated = kind.startswith("not-")
        found = self._condition(kind[4:] if negated else kind, value, entry)
        if negated:
            return value if found is None else None
        return found

    def _condition(self, kind: str, value: str, entry: Entry) -> str | None:
        key, equals, wanted = value.partition("=")
        if kind in ("env", "opt"):
            is_value = (self._environ if kind == "env" else self._names).get(key)
            return is_value if not equals or is_value == wanted else None
        tests = {"exists": os.path.exists, "file": os.path.isfile, "dir": os.path.isdir}
        if kind in tests:
            return value if tests[kind](value) else None
        if kind == "hostname":
            return value if socket.gethostname() == value else None
        if kind == "reload":  # a reload of Fairlead does not read its configuration again
            return None
        raise SettingsError(f"{entry.name} ({entry.where}) is no condition Fairlead knows{nearest(entry.name)}.")

    def _expanded(self, entry: Entry) -> str:
        return expand(entry.value or "", self._names, self._environ, self._magic, entry.where)


def nearest(name: str) -> str:
    """`; did you mean --x or --y?`-like ending for an error about `name`, or ""."""
    close = difflib.get_close_matches(name, [*BY_NAME, *uwsgi.NAMES], 2, 0.6)
    return f"; did you mean {' or '.join('--' + one for one in close)}" if close else ""
