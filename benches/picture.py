#!/usr/bin/env python3
"""Draws results as a picture for the documentation: `picture.py [RESULT.json] > docs/explain/bench.svg`, by default
`SHOWN`. It needs matplotlib (requirements/bench.txt); nothing else of the bench does, and no test.

One bar for each server of a row: its CPU per message, the median of the rounds, with a line from the least to the most.
What the bars say (`groups`) is plain Python, so a test can tell that picture and result belong together. Colours are
variables of CSS, for light and dark pages. `draw` refuses a picture in which a text is cut off or lies on another one.
"""

from __future__ import annotations

import io
import json
import re
import statistics
import sys
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).resolve().parent / "results"
#: The result that the documentation shows: the newest one with peers beside each kind of row.
SHOWN = "2026-11-23-aad8b5a-front.json"

#: The rows of the picture, and their titles there.
TITLES = {
    "echo-64": "Echo, 64 connections",
    "echo-1000": "Echo, 1,000 connections",
    "threads-64": "Echo, 64 connections, a thread each",
    "wss-64": "Echo over TLS (wss), 64 connections",
    "h2": "Echo inside HTTP/2, 64 streams on 4 connections",
    "route-http-64": "Echo through a proxy, HTTP/1.1, 64 connections (CPU of the proxy)",
}

#: Parts of the picture, by what they are in light and in dark.
COLOURS = {
    "ink": ("#24292f", "#e6edf3"),
    "faint": ("#57606a", "#9198a1"),
    "fairlead": ("#1f7a8c", "#4fb3c4"),
    "peer": ("#b6bec7", "#5b6672"),
    "limit": ("#e3b778", "#a9762f"),
}


#: What servers are called there. All others are named by their first word.
NAMES = {"fairlead": "Fairlead", "limit": "a minimal server", "haproxy": "HAProxy", "uwsgi": "uWSGI"}


class Bar(NamedTuple):
    """One server of a row: microseconds of CPU per message, the least, the median and the most of the rounds."""

    label: str
    kind: str
    least: float
    median: float
    most: float


def label(server: str) -> tuple[str, str]:
    """What a server is called in the picture, and the kind that decides its colour."""
    name = server.partition("-")[0]
    return NAMES.get(name, name), name if name in COLOURS else "peer"


def groups(result: dict[str, Any]) -> list[tuple[str, list[Bar]]]:
    """The rows of the picture, each with its bars, the cheapest first."""
    rows = {row["workload"]["name"]: row["rounds"] for row in result["rows"]}
    found = []
    for name, title in TITLES.items():
        bars = []
        for server in sorted({server for each in rows[name] for server in each} - {"own"}):
            costs = [each[server]["cpu_us"] for each in rows[name] if server in each]
            bars.append(Bar(*label(server), min(costs), statistics.median(costs), max(costs)))
        found.append((title, sorted(bars, key=lambda bar: bar.median)))
    return found


def heading(result: dict[str, Any]) -> list[str]:
    """What stands above the bars: what is measured, with whom, when and where."""
    facts = result["facts"]
    names = ("granian", "hypercorn", "picows", "uvicorn", "uwsgi", "nginx", "haproxy")
    versions = dict(re.findall(r"([\w-]+) ([\d.]+)", facts["peers"]))
    peers = ", ".join(f"{name} {versions[name]}" for name in names)
    return [
        "Server CPU per message of 64 bytes, in microseconds (less is better)",
        f"{facts['date'].partition(' ')[0]}, commit {facts['commit']}, {facts['cpu']}, "
        f"{facts['kernel'].partition('-')[0]}, {facts['server python']}",
        peers,
    ]


def value(bar: Bar) -> str:
    """The number beside a bar."""
    return f"{bar.median:.1f}"


def words(result: dict[str, Any]) -> list[str]:
    """Every text of the picture, from top to bottom."""
    found = heading(result)
    for title, bars in groups(result):
        found.append(title)
        for bar in bars:
            found += [bar.label, value(bar)]
    return found


def draw(result: dict[str, Any]) -> str:
    """The picture as SVG; text stays text."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fairlead", "font.family": "DejaVu Sans"})
    from matplotlib.figure import Figure

    # Each colour is drawn as a number that stands for it, and becomes a variable afterwards.
    marks = {name: f"#0{number}0{number}0{number}" for number, name in enumerate(COLOURS, 1)}
    above, rows = heading(result), groups(result)
    lines = sum(len(bars) + 1.6 for _, bars in rows)
    most = max(bar.most for _, bars in rows for bar in bars)
    left, right, per_unit, line, top = 190, 60, 400 / most, 19, 78
    width, height = left + int(most * per_unit) + right, top + int(lines * line) + 8
    figure = Figure(figsize=(width / 72, height / 72))
    area = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    area.axis("off")

    def write(x: float, y: float, text: str, colour: str = "ink", size: float = 11, **how: Any) -> None:
        area.text(x, y, text, color=marks[colour], fontsize=size, verticalalignment="center", **how)

    write(8, 16, above[0], size=13, fontweight="bold")
    write(8, 36, above[1], "faint", 10)
    write(8, 53, above[2], "faint", 10)
    y: float = top
    for title, bars in rows:
        write(8, y + line * 0.4, title, fontweight="bold")
        y += line * 1.25
        for bar in bars:
            middle = y + line / 2
            weight = "bold" if bar.kind == "fairlead" else "normal"
            write(left - 8, middle, bar.label, horizontalalignment="right", fontweight=weight)
            area.barh(middle, bar.median * per_unit, height=line * 0.72, left=left, color=marks[bar.kind])
            area.hlines(middle, left + bar.least * per_unit, left + bar.most * per_unit, marks["ink"], linewidth=1.2)
            write(left + bar.most * per_unit + 6, middle, value(bar), fontweight=weight)
            y += line
        y += line * 0.35
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Title": above[0]})
    refuse_what_cannot_be_read(figure, area)
    return with_variables(file.getvalue(), marks)


def refuse_what_cannot_be_read(figure: Any, area: Any) -> None:
    """Raise where a text leaves the picture, or two lie on each other."""
    places = [(text.get_text(), text.get_window_extent()) for text in area.texts]
    for text, place in places:
        if place.x0 < 0 or place.y0 < 0 or place.x1 > figure.bbox.x1 or place.y1 > figure.bbox.y1:
            raise ValueError(f"{text!r} is cut off; make the picture wider")
    for (one, here), (other, there) in combinations(places, 2):
        if here.overlaps(there):
            raise ValueError(f"{one!r} lies on {other!r}; give them more room")


def with_variables(svg: str, marks: dict[str, str]) -> str:
    """The picture with colours that follow the page's."""
    for name, mark in marks.items():
        svg = svg.replace(mark, f"var(--{name})")
    light, dark = ("; ".join(f"--{name}: {pair[which]}" for name, pair in COLOURS.items()) for which in (0, 1))
    style = f":root {{ {light} }} @media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return svg.replace("<defs>", f"<style>{style}</style>\n <defs>", 1)


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS / SHOWN
    sys.stdout.write(draw(json.loads(path.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
