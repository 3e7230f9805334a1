"""What is said of words that are no option: the nearest name, the option in front of them, another server's name.

Sentences only; who refuses is sources.py.
"""

from __future__ import annotations

import difflib
import re

from fairlead.settings import uwsgi
from fairlead.settings.options import BY_NAME, BY_SHORT
from fairlead.settings.other_servers import other_server

__all__ = ["as_in_files", "meant_by", "meant_for", "nearest", "resembled", "without_value"]


def resembled() -> list[str]:
    """The names that a slip of the pen may have been meant for."""
    return [*BY_NAME, *uwsgi.NAMES]


def nearest(name: str) -> str:
    """What to say of an unknown name: what other servers' option of that name is called here, or `; did you mean --x or
    --y?`-like, or ""."""
    told = other_server(name)
    if told:
        return told
    close = difflib.get_close_matches(name, resembled(), 2, 0.6)
    return f"; did you mean {' or '.join('--' + one for one in close)}" if close else ""


def meant_by(name: str) -> str:
    """The option that `name` most likely stands for, so that nobody is told that it is missing as well."""
    if name in BY_NAME:
        return name
    told = re.search(r"--([a-z0-9-]+)", other_server(name))
    return told[1] if told else next(iter(difflib.get_close_matches(name, BY_NAME, 1, 0.6)), name)


def as_in_files(text: str) -> str:
    """`--name value` as it is written in a file."""
    return re.sub(
        r"--([a-z0-9-]+) (?:'([^']+)'|(?=[A-Z/^:]|[a-z]+:))", lambda found: f"{found[1]} = {found[2] or ''}", text
    )


def without_value(shown: str, name: str) -> str:
    about = BY_NAME.get(name)
    return f"{shown} has no value; it needs {about.kind.needs if about else 'one'}."


def meant_for(option: str, word: str) -> str:
    """What to say of a word that stands behind an option which takes none."""
    name = option.lstrip("-")
    about = BY_NAME.get(name) or BY_SHORT.get(name)
    if about is None or not option:
        return ""
    if about.bare is not None:
        return f"; if it is meant for {option}, that needs {about.kind.needs}"
    return f"; {option} takes no value on the command line" if about.is_flag else ""
