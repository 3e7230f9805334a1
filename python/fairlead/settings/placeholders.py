"""What may stand inside a value of a configuration: `%(name)`, `%(a b + 2)`, `%n`, `$(VAR)` and `@(file)`.

Text in, text out; this file reads included files and process facts, and knows no option. The invariant: a
value is expanded once, when it is read, from what stands *above* it, and what came in is not expanded again;
so a value from the environment or from an included file cannot smuggle in a placeholder. All forms follow
compat §4.1.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from fairlead.errors import SettingsError

#: The started moment of `%t` and `%T`: one for the whole run, so that names made from it agree.
_STARTED = time.time()

_FORM = re.compile(r"%%|([%$@])\(([^()]*)\)|%([a-zA-Z])")
_INCLUDE_SCHEME = re.compile(r"[a-z]+://")


def expand(
    text: str, names: Mapping[str, str], environ: Mapping[str, str], magic: Mapping[str, str], where: str
) -> str:
    """`text` with every form replaced. `names` holds the keys set so far, `magic` the one-letter values.

    Inner forms are replaced first, `@(%dkey.txt)` works. A letter that has no magic stays as it is. Raises
    SettingsError, naming `where`, for a name, variable or file that does not exist.
    """

    def replace(match: re.Match[str]) -> str:
        sign, inner, letter = match.groups()
        if letter:
            return magic.get(letter, match[0])
        if not sign:
            return "%"
        if sign == "%":
            return calculate(inner, names, where)
        if sign == "$":
            if inner not in environ:
                raise SettingsError(f"$({inner}) in {where} names a variable that is not in the environment; set it.")
            return environ[inner]
        # The name of an included file may itself hold magic: nothing else can stand inside a form.
        return _include(re.sub(r"%([a-zA-Z])", lambda inside: magic.get(inside[1], inside[0]), inner), where)

    return _FORM.sub(replace, text)


def calculate(expression: str, names: Mapping[str, str], where: str) -> str:
    """The inside of `%( )`: words are keys or whole numbers, taken from left to right; neighbours are joined,
    `+ - * /` calculate with what stands to their left (compat §4.1)."""
    if expression in names:  # also a key with a blank or an operator in it
        return names[expression]
    result, operator = "", ""
    for word in expression.split():
        if word in ("+", "-", "*", "/"):
            operator = word
            continue
        value = word if word.isdigit() else names.get(word)
        if value is None:
            raise SettingsError(f"%({expression}) in {where} names {word!r}, which is not set above it; set it first.")
        result = _operate(result, operator, value, f"%({expression}) in {where}") if operator else result + value
        operator = ""
    if not result or operator:
        raise SettingsError(f"%({expression}) in {where} is incomplete; write a key, or keys and operators.")
    return result


def _operate(left: str, operator: str, right: str, what: str) -> str:
    try:
        a, b = int(left), int(right)
        # `/` cuts towards zero, as C does.
        return str({"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: int(a / b)}[operator]())
    except (ValueError, ZeroDivisionError):
        raise SettingsError(f"{what} cannot calculate {left!r} {operator} {right!r}; use whole numbers.") from None


def _include(path: str, where: str) -> str:
    scheme = _INCLUDE_SCHEME.match(path)
    if scheme and scheme[0] != "file://":
        raise SettingsError(
            f"@({path}) in {where} uses {scheme[0]}, but only files can be included; copy it to a file."
        )
    path = path[7:] if scheme else path
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"@({path}) in {where} cannot be read: {reason(error)}.") from None


def reason(error: Exception) -> str:
    """The plain words of an error of the operating system, without number and path."""
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def magic_of_process(version: str) -> dict[str, str]:
    """The magic that every source has: host name, cores, ids, start time, version, the escape character."""
    uid, gid = os.getuid(), os.getgid()
    return {
        "h": socket.gethostname(),
        "k": str(os.cpu_count() or 1),
        "V": version,
        "u": str(uid),
        "U": _name_or_id(lambda: pwd.getpwuid(uid).pw_name, uid),
        "g": str(gid),
        "G": _name_or_id(lambda: grp.getgrgid(gid).gr_name, gid),
        "t": str(int(_STARTED)),
        "T": str(int(_STARTED * 1_000_000)),
        "[": "\033",
    }


def _name_or_id(look_up: object, number: int) -> str:
    assert callable(look_up)
    try:
        return str(look_up())
    except KeyError:  # containers often run under an id without a name
        return str(number)


def magic_of_file(path: str, section: str) -> dict[str, str]:
    """The magic of one configuration file. `%d` ends with a slash, so `%dapp.py` and `%d/app.py` both
    work."""
    full = os.path.abspath(path)
    folder, name = os.path.split(full)
    stem, suffix = os.path.splitext(name)
    return {
        "p": full,
        "s": name,
        "n": stem,
        "e": suffix.lstrip("."),
        "d": folder.rstrip("/") + "/",
        "c": os.path.basename(folder),
        "x": section,
    }
