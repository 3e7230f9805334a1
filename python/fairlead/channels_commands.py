"""`fairlead publish` and `fairlead channels`: what the command does with an instance that runs already.

They are clients of --channels-socket and nothing more. A mistake or an instance that is not there ends in one
sentence and status 2, as with the options of a start.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from fairlead.channels_remote import RemoteChannels, connect
from fairlead.errors import SettingsError

#: Seconds between two looks, from which the rates are made.
INTERVAL_S = 1.0

#: What clears a terminal: the cursor to the corner, then everything behind it.
_CLEAR = "\x1b[H\x1b[J"


class _Parser(argparse.ArgumentParser):
    """One sentence instead of the usage and an exit."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{self.prog.removeprefix('fairlead ')}: {message}; see {self.prog} --help.")


def _parser(command: str, about: str) -> _Parser:
    parser = _Parser(prog=f"fairlead {command}", description=about, allow_abbrev=False)
    parser.add_argument("--to", metavar="SOCKET", required=True, help="the --channels-socket of a running instance")
    return parser


def _reached(path: str) -> RemoteChannels:
    try:
        return connect(path)
    except ValueError as error:  # a path with a NUL, or too long
        raise SettingsError(f"--to {path!r}: {error}.") from None


def publish(arguments: Sequence[str]) -> int:
    """Publish one message and print its offset."""
    parser = _parser("publish", "Publish a message to a channel of a running instance, and print its offset.")
    parser.add_argument("--binary", action="store_true", help="publish a binary message; else it is text, in UTF-8")
    parser.add_argument("channel", metavar="CHANNEL")
    parser.add_argument(
        "message", metavar="MESSAGE", help="- reads standard input as it is; write -- before one that begins with -"
    )
    asked = _parsed(parser, arguments)
    if asked is None:
        return 0
    raw = sys.stdin.buffer.read() if asked.message == "-" else os.fsencode(asked.message)
    try:
        data: str | bytes = raw if asked.binary else raw.decode()
    except UnicodeDecodeError:
        raise SettingsError("publish: the message is no UTF-8; add --binary to publish it as it is.") from None
    with _reached(asked.to) as remote:
        try:
            print(remote.publish(asked.channel, data))
        except ValueError as error:
            raise SettingsError(f"publish: {error}.") from None
    return 0


def channels(arguments: Sequence[str]) -> int:
    """Print a table of channels and workers, once or until Ctrl-C."""
    parser = _parser("channels", "List the channels and workers of a running instance.")
    parser.add_argument("--watch", action="store_true", help="print it again and again, until Ctrl-C")
    asked = _parsed(parser, arguments)
    if asked is None:
        return 0
    with _reached(asked.to) as remote:
        try:
            before, before_at = remote.list(), time.monotonic()
            while True:
                time.sleep(INTERVAL_S)
                now, now_at = remote.list(), time.monotonic()
                clear = _CLEAR if asked.watch and sys.stdout.isatty() else ""
                print(clear + table(before, now, now_at - before_at), flush=True)
                if not asked.watch:
                    return 0
                before, before_at = now, now_at
                print(flush=True)
        except KeyboardInterrupt:
            return 0


def _parsed(parser: _Parser, arguments: Sequence[str]) -> argparse.Namespace | None:
    """None: the help was printed."""
    try:
        return parser.parse_args(list(arguments))
    except SystemExit:  # of --help; errors are raised by `error`
        return None


def table(before: Mapping[str, Any], now: Mapping[str, Any], passed_s: float) -> str:
    """What `list` said twice, as text: the channel with most members first."""
    counts = {one["name"]: one["messages"] for one in before["channels"]}
    found = sorted(now["channels"], key=lambda one: (-one["members"], one["name"]))
    lines = _columns(
        ("CHANNEL", "MEMBERS", "MESSAGES", "PER SECOND", "BYTES", "OFFSET"),
        [
            (
                one["name"],
                one["members"],
                one["messages"],
                # One that was made anew counts from zero again.
                f"{max(0, one['messages'] - counts.get(one['name'], 0)) / passed_s:.1f}",
                one["bytes"],
                one["offset"],
            )
            for one in found
        ],
    )
    lines.append("")
    lines += _columns(
        ("WORKER", "LAG (BYTES)", "DELIVERED", "DROPPED", "OVERTAKEN"),
        [(one["pid"], one["lag"], one["delivered"], one["dropped"], one["overtaken"]) for one in now["workers"]],
    )
    log = now["log"]
    lines += ["", f"log: {log['used']:,} of {log['bytes']:,} bytes in use"]
    return "\n".join(lines)


def _columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The first column to the left, numbers to the right."""
    texts = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[at]) for row in texts) for at in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))])
        for row in texts
    ]


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {"publish": publish, "channels": channels}
