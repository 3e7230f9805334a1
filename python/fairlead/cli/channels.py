"""`fairlead channels`: a table of the channels and workers of a running instance, once or again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.cli.output import show
from fairlead.cli.outside import parsed, parser_of, reached

#: Seconds between two looks, from which the rates are made.
INTERVAL_S = 1.0

#: What clears a terminal: the cursor to the corner, then everything behind it.
_CLEAR = "\x1b[H\x1b[J"


def channels(arguments: Sequence[str]) -> int:
    """Print a table of channels and workers, once or until Ctrl-C."""
    parser = parser_of("channels", "List the channels and workers of a running instance.")
    parser.add_argument("--watch", action="store_true", help="print it again and again, until Ctrl-C")
    asked = parsed(parser, arguments)
    if asked is None:
        return 0
    with reached(asked.to) as remote:
        try:
            before, before_at = remote.list(), time.monotonic()
            while True:
                time.sleep(INTERVAL_S)
                now, now_at = remote.list(), time.monotonic()
                clear = _CLEAR if asked.watch and sys.stdout.isatty() else ""
                show(clear + table(before, now, now_at - before_at))
                if not asked.watch:
                    return 0
                before, before_at = now, now_at
                show("")
        except KeyboardInterrupt:
            return 0


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
