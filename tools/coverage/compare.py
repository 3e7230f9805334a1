"""Prints every line of code that one list of `make coverage` has as run and a later one has not.

    compare.py BEFORE.json AFTER.json

Between the two lists files may have moved, split and changed, so a line is found again by its text: first together with
its neighbours in the file, then by its place between lines that were found. Where nothing fits, code was deleted or
rewritten: such lines are printed, and so are lines of the later list that have no forerunner and are not run. Only a
reader can say whether a test is missing there. Exit status 1: lines that were found again are run no more.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: How many neighbours on either side must be the same, one pass after the other. The widest comes first: where a text
#: stands often, a near neighbour more or less decides which of them it is.
RADII = (6, 3, 2, 1)

#: A line between two that were found counts as the same, changed, from this likeness on (difflib's ratio).
ALIKE = 0.6


class Place(NamedTuple):
    """A line of code: the file's name, and the how manieth line of code of that file it is."""

    file: str
    index: int


class Listing:
    """One list, and for each of its lines the line of the other list that it was found to be."""

    def __init__(self, path: Path) -> None:
        self.content = json.loads(path.read_text())
        self.files: dict[str, list[dict]] = self.content["files"]
        self.places = [Place(file, index) for file, lines in self.files.items() for index in range(len(lines))]
        self.found: dict[Place, Place] = {}

    def line(self, place: Place) -> dict:
        return self.files[place.file][place.index]

    def text(self, place: Place) -> str:
        return self.line(place)["text"]

    def name(self, place: Place) -> str:
        return f"{place.file}:{self.line(place)['line']}"

    def unfound(self) -> Iterator[Place]:
        return (place for place in self.places if place not in self.found)

    def surroundings(self, place: Place, radius: int) -> tuple[str, ...]:
        """The line's text and its neighbours'. The language goes first: `pass` in Python is no line of Rust."""
        lines = self.files[place.file]
        around = range(place.index - radius, place.index + radius + 1)
        return (Path(place.file).suffix, *(lines[at]["text"] if 0 <= at < len(lines) else "" for at in around))


def pair(before: Listing, after: Listing, old: Place, new: Place) -> None:
    before.found[old] = new
    after.found[new] = old


def match_by_surroundings(before: Listing, after: Listing, radius: int) -> None:
    """Pairs lines whose surroundings are the same, where both lists have them equally often."""
    olds, news = defaultdict(list), defaultdict(list)
    for listing, table in ((before, olds), (after, news)):
        for place in listing.unfound():
            table[listing.surroundings(place, radius)].append(place)
    for key, places in olds.items():
        if len(places) == len(news[key]):
            for old, new in zip(places, news[key], strict=True):
                pair(before, after, old, new)


def match_by_place(before: Listing, after: Listing) -> None:
    """Pairs what lies between two lines that were found in one file: the same texts, then texts that are alike."""
    for file, lines in before.files.items():
        start = 0
        while start < len(lines):
            if Place(file, start) in before.found:
                start += 1
                continue
            end = start
            while end < len(lines) and Place(file, end) not in before.found:
                end += 1
            olds = [Place(file, index) for index in range(start, end)]
            pair_in_order(before, after, olds, opposite(before, after, file, start, end))
            start = end


def opposite(before: Listing, after: Listing, file: str, start: int, end: int) -> list[Place]:
    """The lines of the other list between those that the neighbours of `start` to `end` were found to be."""
    above = before.found.get(Place(file, start - 1))
    below = before.found.get(Place(file, end))
    if above and below and above.file != below.file:
        return []
    if above:
        found = [*range(above.index + 1, below.index if below else len(after.files[above.file]))]
        inside = above.file
    elif below:
        found, inside = [*range(below.index)], below.file
    elif file in after.files:
        found, inside = [*range(len(after.files[file]))], file
    else:
        return []
    places = [Place(inside, index) for index in found]
    # A line that belongs elsewhere ends the gap on the side where nothing else does.
    taken = [at for at, place in enumerate(places) if place in after.found]
    if taken and not below:
        places = places[: taken[0]]
    elif taken and not above:
        places = places[taken[-1] + 1 :]
    return [place for place in places if place not in after.found]


def pair_in_order(before: Listing, after: Listing, olds: list[Place], news: list[Place]) -> None:
    if not olds or not news:
        return
    old_texts, new_texts = [before.text(place) for place in olds], [after.text(place) for place in news]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old_texts, new_texts, autojunk=False).get_opcodes():
        if kind == "equal":
            for old, new in zip(olds[a:b], news[c:d], strict=True):
                pair(before, after, old, new)
        elif kind == "replace":
            at = c
            for old in olds[a:b]:
                alike = [new for new in range(at, d) if likeness(before.text(old), new_texts[new]) >= ALIKE]
                if alike:
                    pair(before, after, old, news[alike[0]])
                    at = alike[0] + 1


def likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("before", type=Path)
    arguments.add_argument("after", type=Path)
    given = arguments.parse_args()
    before, after = Listing(given.before), Listing(given.after)
    for radius in RADII:
        match_by_surroundings(before, after, radius)
    match_by_place(before, after)
    match_by_surroundings(before, after, 0)
    match_by_place(before, after)

    covered = [place for place in before.places if before.line(place)["runs"]]
    lost = [place for place in covered if place in before.found and not after.line(before.found[place])["runs"]]
    unfound = [place for place in covered if place not in before.found]
    gained = [
        place
        for place in after.places
        if after.line(place)["runs"] and place in after.found and not before.line(after.found[place])["runs"]
    ]

    print(f"before: {before.content['commit']}, {len(before.places)} lines of code, {len(covered)} run")
    print(
        f"after:  {after.content['commit']}, {len(after.places)} lines of code, "
        f"{sum(1 for place in after.places if after.line(place)['runs'])} run"
    )
    changed = sum(1 for place in covered if place in before.found and not is_same(before, after, place))
    print(f"of the lines run before, {len(covered) - len(unfound)} were found again ({changed} with another text)")

    print(f"\n== {len(lost)} lines are run no more")
    for place in lost:
        new = before.found[place]
        # Few runs of a line of Rust hint at one that only chance reaches. Runs of Python are not counted.
        runs = ", ".join(
            f"{group} {count}" if place.file.endswith(".rs") else group
            for group, count in before.line(place)["runs"].items()
        )
        print(f"{after.name(new)}: {after.text(new)}")
        was = "" if before.name(place) == after.name(new) else f"{before.name(place)}, "
        was_text = "" if is_same(before, after, place) else f": {before.text(place)}"
        print(f"    was {was}run by {runs}{was_text}")

    print(f"\n== {len(unfound)} lines were not found again: deleted, or rewritten beyond recognition")
    for place in unfound:
        print(f"{before.name(place)}: {before.text(place)}")

    # The other half of what was not found again: where the old lines were rewritten, these are what became of them.
    bare = [place for place in after.unfound() if not after.line(place)["runs"]]
    fresh = sum(1 for _ in after.unfound())
    print(f"\n== {len(bare)} of the {fresh} lines that are new or rewritten are not run")
    for place in bare:
        print(f"{after.name(place)}: {after.text(place)}")

    print(f"\n== {len(gained)} lines are run now and were not before")
    return 1 if lost else 0


def is_same(before: Listing, after: Listing, place: Place) -> bool:
    return before.text(place) == after.text(before.found[place])


if __name__ == "__main__":
    raise SystemExit(main())
