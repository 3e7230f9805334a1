#!/usr/bin/env python3
"""Draws results as a picture for the documentation: `picture.py [RESULT.json...] > docs/explain/bench.svg`, by
default those in `SHOWN`.

One bar for each WebSocket row that has a bar to reach: server CPU per message as a multiple of the limit server's in
the same run, the median of the rounds; the line before which it has to end is drawn across it. The same files give the
same bytes, so a test can tell that picture and results belong together. Colours suit light and dark pages.
"""

from __future__ import annotations

import json
import statistics
import sys
from html import escape
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
#: The results that the documentation shows; a row that several have is that of the last.
SHOWN = ("2026-11-22-a5f3cca.json", "2026-11-22-84de8c2-generators.json", "2026-11-22-d56f1ca-channels.json")

LABEL, SCALE, ROW, TOP = 330, 130.0, 26, 58


def rows(results: list[dict]) -> list[tuple[str, float, float]]:
    """Title, median ratio and bar of each row; a row that several results have is that of the last."""
    found = {}
    for result in results:
        for row in result["rows"]:
            bar = row["workload"]["bars"]["cpu_at_most"]
            pairs = [each for each in row["rounds"] if "fairlead" in each and "limit" in each]
            if bar is None or not pairs or row["workload"]["mode"] == "http":
                continue
            ratios = [each["fairlead"]["cpu_us"] / each["limit"]["cpu_us"] for each in pairs]
            found[row["workload"]["name"]] = (row["workload"]["title"], statistics.median(ratios), bar)
    return list(found.values())


def svg(found: list[tuple[str, float, float]]) -> str:
    """The picture; text stays text."""
    longest = max([bar for _, _, bar in found] + [ratio for _, ratio, _ in found])
    width, height = LABEL + int(longest * SCALE) + 70, TOP + ROW * len(found) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img">',
        "<title>Server CPU per message, as a multiple of a minimal C server's</title>",
        "<style>text { fill: #333 } .bar { fill: #2f7d8c } .goal { stroke: #c2410c; stroke-width: 2 } "
        ".one { stroke: #888; stroke-dasharray: 3 3 } "
        "@media (prefers-color-scheme: dark) { text { fill: #ddd } .bar { fill: #4fb3c4 } .goal { stroke: #fb923c } }"
        "</style>",
        '<text x="8" y="20" font-weight="bold">Server CPU per message ÷ a minimal C server\'s (less is better)</text>',
        '<text x="8" y="38">dashed: the C server; orange: the bar that the row has to stay below</text>',
    ]
    one = LABEL + SCALE
    parts.append(f'<line class="one" x1="{one:.1f}" y1="{TOP - 8}" x2="{one:.1f}" y2="{height - 10}"/>')
    for number, (title, ratio, bar) in enumerate(found):
        y = TOP + number * ROW
        goal = LABEL + bar * SCALE
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(title)}</text>',
            f'<rect class="bar" x="{LABEL}" y="{y}" width="{ratio * SCALE:.1f}" height="18"/>',
            f'<line class="goal" x1="{goal:.1f}" y1="{y - 2}" x2="{goal:.1f}" y2="{y + 20}"/>',
            f'<text x="{LABEL + max(ratio, bar) * SCALE + 6:.1f}" y="{y + 13}">{ratio:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    paths = sys.argv[1:] or [str(RESULTS / name) for name in SHOWN]
    sys.stdout.write(svg(rows([json.loads(Path(path).read_text()) for path in paths])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
