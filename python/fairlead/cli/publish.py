"""`fairlead publish`: one message to a channel of a running instance."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from fairlead.cli.output import OutputError, show
from fairlead.cli.outside import parsed, parser_of, reached
from fairlead.errors import SettingsError


def publish(arguments: Sequence[str]) -> int:
    """Publish one message and print its offset."""
    parser = parser_of("publish", "Publish a message to a channel of a running instance, and print its offset.")
    parser.add_argument("--binary", action="store_true", help="publish a binary message; else it is text, in UTF-8")
    parser.add_argument("channel", metavar="CHANNEL")
    parser.add_argument(
        "message", metavar="MESSAGE", help="- reads standard input as it is; write -- before one that begins with -"
    )
    asked = parsed(parser, arguments)
    if asked is None:
        return 0
    try:
        raw = sys.stdin.buffer.read() if asked.message == "-" else os.fsencode(asked.message)
    except OSError as error:
        raise SettingsError(
            f"publish: standard input cannot be read: {(error.strerror or str(error)).lower()}."
        ) from None
    try:
        data: str | bytes = raw if asked.binary else raw.decode()
    except UnicodeDecodeError:
        raise SettingsError("publish: the message is no UTF-8; add --binary to publish it as it is.") from None
    with reached(asked.to) as remote:
        try:
            offset = remote.publish(asked.channel, data)
        except ValueError as error:
            raise SettingsError(f"publish: {error}.") from None
    try:
        show(str(offset))
    except OutputError as error:  # nobody shall send it a second time for that
        raise OutputError(f"publish: the message is published, at offset {offset}, but {error}") from None
    return 0
