"""`fairlead`, as a terminal or a service manager calls it: which command is meant, and how a failure ends.

The first word `publish` or `channels` is a command for a running instance; everything else starts one. The invariant: a
mistake of the operator's ends in one sentence on standard error and status 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from fairlead.cli.channels import channels
from fairlead.cli.publish import publish
from fairlead.cli.serve import serve
from fairlead.errors import FairleadError
from fairlead.logs import one_record, open_standard_streams

#: The exit status of a start that the operator has to mend; uWSGI uses 1, which a crash of Python has as well.
BAD_START = 2

#: Commands by their first word; each takes the arguments behind it and returns the exit status.
COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {"publish": publish, "channels": channels}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (without the program's name); returns the exit status: 0, or 2 for a bad start."""
    open_standard_streams()
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if not arguments:
            print("usage: fairlead --http :8080 --wsgi-file app.py   (--help lists all options)", file=sys.stderr)
            return BAD_START
        if arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        return serve(arguments)
    except FairleadError as error:
        print(f"fairlead: {one_record(str(error))}", file=sys.stderr)
        return BAD_START
    except BrokenPipeError:  # `fairlead --help | head`: nobody reads the rest, so Python shall not flush it either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
