"""Where settings come from: command line, INI, YAML and JSON files, and the environment (compat §4.1).

A source yields (name, value, place) and nothing more; `Reader.apply`, where all of them enter, expands
the value, acts on directives (`--ini`, `--set`, …) and answers unknown and foreign names. What a value means
is options.py's business. What is wrong with one option keeps no other from being read, so that all is told at
once. The invariant: options act in the order in which they stand, so the last one wins; the environment comes
first and is thus the weakest, a file counts as if its lines stood where `--ini` stands.

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairlead.errors import SettingsError
from fairlead.settings import uwsgi
from fairlead.settings.files import LOOPS, Entry, cut_block, read_ini, read_json, read_yaml, split_section
from fairlead.settings.kinds import Flag
from fairlead.settings.options import BY_NAME, BY_SHORT, VERSION, Given, Setting
from fairlead.settings.other_servers import mistake, other_server, other_short
from fairlead.settings.placeholders import expand, magic_of_file, magic_of_process, reason
from fairlead.settings.refusals import as_in_files, meant_by, meant_for, nearest, resembled, without_value

#: Variables with our prefixes that are not options: our own between master and worker, and what uWSGI sets
#: itself.
_INTERNAL = re.compile(
    r"FAIRLEAD_(CONTROL_FD|ENGINE|LOG|TEST|BENCH).*|UWSGI_(RELOADS|PLUGINS|ORIGINAL_PROC_NAME|VASSAL).*"
)

#: A value that no application and no file has as its name.
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

#: `module:callable`, `module:factory()`.
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?")

#: How alike an unknown key and an option are that cannot be told apart from a slip of the pen (difflib's ratio):
#: `proceses`, `log-to` and `wsgi_file` are, `http-port`, `project` and `socket-dir` are not.
_RESEMBLES = 0.85

#: Any flag, for those that are none of ours.
_FLAG = Setting("", Flag(), "")

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
    #: What cannot stay as it is, a sentence each.
    problems: list[str] = field(default_factory=list)
    #: Names of options that a problem has kept out of `given`, as far as they can be guessed.
    refused: list[str] = field(default_factory=list)
    #: The immediate options that end the command: "help", "version", "show-config".
    asked: list[str] = field(default_factory=list)
    #: The one-letter placeholders as they were in the end: of the process, and of the outermost file read last.
    magic: dict[str, str] = field(default_factory=dict)


def read_sources(arguments: Sequence[str], environ: Mapping[str, str]) -> Reading:
    """Read the environment and then the command line, with all files it names. Raises SettingsError, with all that is
    wrong."""
    reading = read_all(arguments, environ)
    if reading.problems:
        raise SettingsError(*reading.problems)
    return reading


def read_all(arguments: Sequence[str], environ: Mapping[str, str]) -> Reading:
    """The same for whoever wants to know all that is wrong: it stands in `problems`."""
    reader = Reader(environ)
    reader.read_environment()
    reader.read_arguments(arguments)
    return reader.finish()


def names_an_option(environ: Mapping[str, str]) -> bool:
    """Whether the environment alone says something."""
    return any(name in BY_NAME for _, _, name in _variables(environ))


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Prefix, variable and option name of each variable that may be meant for us, uWSGI's first."""
    for prefix in ("UWSGI_", "FAIRLEAD_"):
        for variable in sorted(environ):
            if variable.startswith(prefix) and not _INTERNAL.fullmatch(variable):
                yield prefix, variable, variable[len(prefix) :].lower().replace("_", "-")


class _Names(dict[str, str]):
    """Everything set so far, for %(name); it remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.used.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.used.add(name)
        return super().get(name, default)


class Reader:
    """Collects options in order. One object reads one configuration; use `read_sources`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._names = _Names()
        self._unknown: list[Entry] = []
        self._magic = magic_of_process(VERSION)
        self._reading = Reading(magic=self._magic)
        self._files: list[tuple[str, str]] = []  # (path, section) being read, the innermost last
        self._strict = False

    def read_environment(self) -> None:
        """`UWSGI_<OPTION>` and, stronger, `FAIRLEAD_<OPTION>`; values are taken as they are."""
        for prefix, variable, name in _variables(self._environ):
            where = f"environment variable {variable}"
            if name in BY_NAME or uwsgi.find(name):
                self._guarded(name, self._dispatch, name, self._environ[variable], where)
            elif prefix == "FAIRLEAD_":
                # Not refused: orchestrators make variables of a service's name, FAIRLEAD_PORT for one called fairlead.
                self._warn(f"{variable} in the environment is no option{nearest(name)}.")

    def read_arguments(self, arguments: Sequence[str]) -> None:
        """uWSGI's getopt_long syntax: `--opt value`, `--opt=value`, `-x value`, `-xvalue`, `-xy`, free
        arguments."""
        rest = list(arguments)
        before = ""
        while rest:
            word = rest.pop(0)
            if word.startswith("--") and len(word) > 2:
                self._read_long(word[2:], rest)
                before = "" if "=" in word else word
            elif word.startswith("-") and len(word) > 1 and word != "--":
                self._guarded("", self._read_short, word[1:], rest)
                before = word
            elif word != "--":
                self._guarded("wsgi-file", self._read_free, word, before)
                before = ""

    def apply(self, name: str, value: str | None, where: str) -> None:
        """Expand `value` and let the option act; what cannot stay is a problem of the result."""

        def act() -> None:
            foreign = uwsgi.find(name) if name not in BY_NAME else None
            # Of what is refused the value is nobody's business: `log-format = %(uri)` uses no placeholder.
            is_meant = value is not None and (foreign is None or foreign.answer != "refused")
            self._dispatch(name, self._expanded(Entry(name, value, where)) if is_meant else value, where)

        self._guarded(name, act)

    def finish(self) -> Reading:
        """The result, once all sources are read; only now is it known whether --strict was given, and which
        placeholders are used."""
        for entry in dict.fromkeys(self._unknown):
            close = difflib.get_close_matches(entry.name, resembled(), 1, _RESEMBLES)
            if self._strict:
                self._refuse(f"{entry.name} ({entry.where}) is no option and --strict is set{nearest(entry.name)}.")
            elif entry.name in self._names.used:
                continue
            elif close:  # far more often a slip of the pen than a variable of the operator's
                self._refuse(
                    f"{entry.name} ({entry.where}) is no option, and no placeholder uses it; did you mean {close[0]}? "
                    "Set a variable of your own with set-placeholder, or call it something else."
                )
            else:
                self._warn(
                    f"{entry.name} ({entry.where}) is no option, and no placeholder uses it; it is kept for the "
                    f"application, in uwsgi.opt{other_server(entry.name)}."
                )
        return self._reading

    # -- where all sources enter

    def _guarded(self, name: str, act: Callable[..., object], *arguments: object) -> None:
        """Let one option act; one that cannot is a problem and does not keep others from being read."""
        try:
            act(*arguments)
        except SettingsError as error:
            for problem in error.problems:
                self._refuse(problem)
            self._reading.refused.append(meant_by(name))
            self._names.setdefault(name, "")  # who uses it has made no mistake

    def _refuse(self, sentence: str) -> None:
        if sentence not in self._reading.problems:
            self._reading.problems.append(sentence)

    def _dispatch(self, name: str, value: str | None, where: str) -> None:
        if "\0" in name or "\0" in (value or ""):
            # No system call takes one, so no path, no address and no variable has one.
            raise SettingsError(f"{name!r} ({where}) holds a NUL character; remove it.")
        about = BY_NAME.get(name)
        if about is None:
            self._foreign_or_unknown(name, value, where)
        elif about.field:
            mistaken = mistake(about.name, value) if where == "command line" else None
            if mistaken is not None:
                self._reading.refused.append(mistaken.meant)
                raise SettingsError(mistaken.sentence)
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
        told = other_server(name) if where == "command line" else ""
        if told:
            raise SettingsError(f"--{name} is no option of Fairlead{told}.")
        foreign = uwsgi.find(name)
        if foreign is not None and foreign.answer == "refused":
            instead = foreign.instead if where == "command line" else as_in_files(foreign.instead)
            raise SettingsError(f"--{name} ({where}) {foreign.why}; {instead}.")
        if foreign is not None:
            if foreign.answer == "ignored":
                self._warn(f"--{name} ({where}) is ignored: {foreign.why}.")
            elif value is not None and not _FLAG.parse(Given(name, value, where)):
                self._warn(f"--{name} cannot be turned off ({where}): {foreign.why}.")
            self._keep(name, value, where)
        elif where == "command line":
            raise SettingsError(f"--{name} is no option of Fairlead{nearest(name)}; see --help.")
        elif value is None:
            word, _, text = name.partition(" ")
            raise SettingsError(
                f"{where} has no =: {name!r}; write {word} = {text.strip() or 'VALUE'}, or ; in front of a comment"
                f"{nearest(word) if word not in BY_NAME else ''}."
            )
        else:
            self._unknown.append(Entry(name, value, where))
            self._keep(name, value, where)

    def _warn(self, sentence: str) -> None:
        if sentence not in self._reading.warnings:
            self._reading.warnings.append(sentence)

    # -- command line

    def _takes_value(self, name: str, rest: Sequence[str]) -> bool:
        """Whether the next word is the value of this option."""
        about = BY_NAME.get(name)
        if about is not None:
            if about.bare is None:
                return not about.is_flag
            # With an optional value getopt takes one only after "=", so uWSGI drops the next word in silence. A number
            # can be nothing else: neither an application nor a file has such a name.
            return bool(rest) and bool(_NUMBER.fullmatch(rest[0]))
        foreign = uwsgi.find(name)
        if foreign is None or foreign.answer != "ignored":
            return False
        return foreign.takes == uwsgi.VALUE or (
            foreign.takes == uwsgi.OPTIONAL and bool(rest) and bool(_NUMBER.fullmatch(rest[0]))
        )

    def _read_long(self, text: str, rest: list[str]) -> None:
        name, equals, value = text.partition("=")
        if equals:
            self.apply(name, value, "command line")
            return
        if not self._takes_value(name, rest):
            was_good = len(self._reading.problems)
            self.apply(name, None, "command line")
            if len(self._reading.problems) > was_good and _is_its_value(name, rest):
                rest.pop(0)
            return
        if not rest:
            self._refuse(without_value(f"--{name}", name))
            self._reading.refused.append(name)
            return
        self.apply(name, rest.pop(0), "command line")

    def _read_short(self, letters: str, rest: list[str]) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            about, foreign = BY_SHORT.get(letter), uwsgi.find_short(letter)
            if about is None and foreign is None:
                if not letters and not _means_something(rest):
                    rest.pop(0)
                told = other_short(letter)
                raise SettingsError(f"-{letter} is no option of Fairlead{told or '; see --help'}.")
            name = about.name if about else foreign.name if foreign else ""
            value: str | None = None
            if about is not None and about.bare is not None and letters:
                value, letters = letters, ""
            elif self._takes_value(name, rest):
                if not (letters or rest):
                    self._reading.refused.append(name)
                    raise SettingsError(without_value(f"-{letter}", name))
                value = letters or rest.pop(0)
                letters = ""
            self.apply(name, value, "command line")

    def _read_free(self, word: str, before: str) -> None:
        """A free argument is what its suffix says, or `module:callable` (compat §4.1). `before` is the option in front
        of it, whose value it may be meant for."""
        path, colon, _ = word.partition(":")
        suffix = os.path.splitext(path)[1]
        name = _SUFFIXES.get(suffix)
        if name == "wsgi-file" and colon:
            raise SettingsError(
                f"{word!r} mixes a file and a callable; write {path} --callable {word[len(path) + 1 :]}."
            )
        if name is None and _CALLABLE.fullmatch(word):
            name = "module"
        if name is None:
            raise SettingsError(
                f"{word!r} is neither an option nor an application (app.py, module:callable) nor a "
                f"configuration file (.ini, .yaml, .json){meant_for(before, word)}; see --help."
            )
        if name in ("psgi", "rack"):  # it is refused, and is an application all the same
            self._reading.refused.append("wsgi-file")
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
        entries = {"ini": read_ini, "yaml": read_yaml, "json": read_json}[form](text, path, section, self._refuse)
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
            try:
                if entry.name in LOOPS:
                    body, _, at = cut_block(entries, at, "endfor", entry)
                    self._loop(entry, body)
                elif entry.name.startswith("if-"):
                    yes, no, at = cut_block(entries, at, "endif", entry)
                    self._choose(entry, yes, no)
                elif entry.name in ("endfor", "endif", "else"):
                    raise SettingsError(f"{entry.name} ({entry.where}) closes nothing; remove it.")
                else:
                    self.apply(*entry)
            except SettingsError as error:
                self._refuse(str(error))

    def _loop(self, entry: Entry, body: Sequence[Entry]) -> None:
        for item in self._items(entry):
            self._names["_"] = item
            self._run(body)

    def _choose(self, entry: Entry, yes: Sequence[Entry], no: Sequence[Entry]) -> None:
        try:
            found = self._holds(entry)
        except SettingsError as error:
            self._refuse(str(error))
            found = ""  # what stands in the block may be wrong too
        if found is not None:
            self._names["_"] = found
        self._run(no if found is None else yes)

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
        text = entry.value or ""
        if "\0" in text:
            raise SettingsError(f"{entry.name} ({entry.where}) holds a NUL character; remove it.")
        return expand(text, self._names, self._environ, self._magic, entry.where)


def _is_its_value(name: str, rest: Sequence[str]) -> bool:
    """Whether the next word is most likely the value of the option `name`, which was refused."""
    if name in BY_NAME or not rest or rest[0].startswith("-"):
        return False
    meant = BY_NAME.get(meant_by(name))
    is_slip = meant is not None and not other_server(name) and uwsgi.find(name) is None
    if is_slip and meant is not None and not meant.is_flag and meant.bare is None:
        return True
    return not _means_something(rest)


def _means_something(rest: Sequence[str]) -> bool:
    """Whether the next word stands for itself: an option, an application or a file; true at the end."""
    if not rest or rest[0].startswith("-"):
        return True
    path = rest[0].partition(":")[0]
    return os.path.splitext(path)[1] in _SUFFIXES or bool(_CALLABLE.fullmatch(rest[0]))
