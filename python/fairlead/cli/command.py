"""`fairlead`, as a terminal or a service manager calls it: which command is meant, and how a failure ends.

The first word `publish` or `channels` is a command for a running instance; everything else starts one. The invariant: a
mistake of the operator's ends in one sentence on standard error, several in one each, and status 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from fairlead.cli.channels import channels
from fairlead.cli.output import OutputError, complain, give_up
from fairlead.cli.publish import publish
from fairlead.cli.serve import serve
from fairlead.errors import FairleadError, SettingsError
from fairlead.logs import one_record, open_standard_streams
from fairlead.settings.sources import names_an_option

#: The exit status of a start that the operator has to mend; uWSGI uses 1, which a crash of Python has as well.
BAD_START = 2

#: The status of a command that Ctrl-C has ended, as shells count it: 128 and the number of SIGINT.
INTERRUPTED = 130

#: Commands by their first word; each takes the arguments behind it and returns the exit status.
COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {"publish": publish, "channels": channels}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (without the program's name); returns the exit status: 0, 2 for a bad start, 130
    after Ctrl-C."""
    open_standard_streams()
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if not arguments and not names_an_option(os.environ):
            complain("usage: fairlead --http :8080 --wsgi-file app.py   (--help lists all options)")
            return BAD_START
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        return serve(arguments)
    except FairleadError as error:
        if isinstance(error, OutputError):
            give_up(1)
        for problem in error.problems if isinstance(error, SettingsError) else (str(error),):
            complain(f"fairlead: {one_record(problem)}")
        return BAD_START
    except BrokenPipeError:  # `fairlead --help | head`: nobody reads the rest, so Python shall not flush it either
        give_up(1)
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
