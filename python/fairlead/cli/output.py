"""Standard output and standard error of the command itself, and what becomes of a word that cannot be written.

A disk may be full and a reader gone; neither is a reason for a traceback. The invariant: `show` returns when the text
has left the process, or raises what `main` answers in a sentence.
"""

from __future__ import annotations

import contextlib
import os
import sys

from fairlead.errors import MasterError

__all__ = ["OutputError", "complain", "give_up", "show"]


class OutputError(MasterError):
    """Standard output cannot be written: its disk is full, say."""


def show(text: str) -> None:
    """Print a line, now. Raises OutputError, and BrokenPipeError when nobody reads any more."""
    try:
        try:
            print(text, flush=True)
        except UnicodeEncodeError:  # bytes of an option that are no text, or a terminal without our characters
            encoding = sys.stdout.encoding or "ascii"
            print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"standard output cannot be written: {why}.") from None


def complain(text: str) -> None:
    """Print a line to standard error, as far as that is possible."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        give_up(2)


def give_up(fd: int) -> None:
    """What is left in Python's buffer for this descriptor shall not be tried again when the process ends: Python would
    print a traceback then, and change the exit status."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        os.close(null)
