"""What `fairlead publish` and `fairlead channels` have in common: they are clients of a running instance's
--channels-socket and nothing more.

A mistake or an instance that is not there ends in one sentence and status 2, as with the options of a start.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from fairlead.channels import RemoteChannels, connect
from fairlead.cli.output import show
from fairlead.errors import SettingsError


class Parser(argparse.ArgumentParser):
    """One sentence instead of the usage and an exit."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{self.prog.removeprefix('fairlead ')}: {message}; see {self.prog} --help.")

    def print_help(self, file: object = None) -> None:
        """As everything here is printed: argparse drops what cannot be written in silence, or ends in a traceback."""
        show(self.format_help().rstrip("\n"))


def parser_of(command: str, about: str) -> Parser:
    parser = Parser(prog=f"fairlead {command}", description=about, allow_abbrev=False)
    parser.add_argument("--to", metavar="SOCKET", required=True, help="the --channels-socket of a running instance")
    return parser


def reached(path: str) -> RemoteChannels:
    try:
        return connect(path)
    except ValueError as error:  # a path with a NUL, or too long
        raise SettingsError(f"--to {path!r}: {error}.") from None


def parsed(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace | None:
    """None: the help was printed."""
    try:
        return parser.parse_args(list(arguments))
    except SystemExit:  # of --help; errors are raised by `error`
        return None
