"""tools/coverage/compare.py: what was run before and is no more is found, wherever its line has gone meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COMPARE = Path(__file__).parents[2] / "tools" / "coverage" / "compare.py"

FUNCTION = ["def send(self, data):", "desk = self._desk", "if desk.is_full:", "raise Full", "desk.put(data)", "}"]
OTHER = ["def close(self):", "desk = self._desk", "desk.clear()", "return None", "}"]


def lines(texts, not_run=()):
    return [
        {"line": 10 + index, "text": text, "runs": {} if index in not_run else {"rust": 1}}
        for index, text in enumerate(texts)
    ]


def compared(tmp_path, before, after):
    """The exit status, the lines that are run no more, those that were not found again, and the new ones that are not
    run."""
    paths = []
    for name, files in (("before", before), ("after", after)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"commit": name, "groups": ["rust"], "files": files}))
        paths.append(str(path))
    done = subprocess.run([sys.executable, str(COMPARE), *paths], capture_output=True, text=True)
    assert done.stderr == ""
    _, lost, unfound, bare, _ = done.stdout.split("\n== ")
    return done.returncode, *(
        [line for line in part.splitlines()[1:] if line and not line.startswith(" ")] for part in (lost, unfound, bare)
    )


def test_the_same_lists_differ_in_nothing(tmp_path):
    files = {"a.rs": lines(FUNCTION, not_run={3}), "b.rs": lines(OTHER)}
    assert compared(tmp_path, files, files) == (0, [], [], [])


def test_a_line_that_is_run_no_more_is_named_where_it_is_now(tmp_path):
    before = {"a.rs": lines(FUNCTION + OTHER)}
    after = {"new/b.rs": lines(OTHER, not_run={2}), "new/a.rs": lines(FUNCTION)}
    assert compared(tmp_path, before, after) == (1, ["new/b.rs:12: desk.clear()"], [], [])


def test_a_line_that_was_never_run_cannot_be_lost(tmp_path):
    before = {"a.rs": lines(FUNCTION, not_run={3})}
    assert compared(tmp_path, before, {"b.rs": lines(FUNCTION, not_run={3})}) == (0, [], [], [])


def test_a_text_that_stands_twice_is_told_apart_by_its_neighbours(tmp_path):
    before = {"a.rs": lines(FUNCTION + OTHER)}
    after = {"a.rs": lines(OTHER + FUNCTION, not_run={6})}
    assert compared(tmp_path, before, after) == (1, ["a.rs:16: desk = self._desk"], [], [])


def test_a_renamed_word_does_not_hide_a_line(tmp_path):
    before = {"a.rs": lines(FUNCTION)}
    after = {"a.rs": lines([text.replace("desk", "queue") for text in FUNCTION], not_run={4})}
    assert compared(tmp_path, before, after) == (1, ["a.rs:14: queue.put(data)"], [], [])


def test_what_is_gone_is_said_and_is_no_loss(tmp_path):
    before = {"a.rs": lines(FUNCTION)}
    after = {"a.rs": lines([*FUNCTION[:2], *FUNCTION[4:]])}
    assert compared(tmp_path, before, after) == (0, [], ["a.rs:12: if desk.is_full:", "a.rs:13: raise Full"], [])


def test_a_new_line_that_is_not_run_is_said_and_is_no_loss(tmp_path):
    before = {"a.rs": lines(FUNCTION)}
    after = {"a.rs": lines([*FUNCTION[:4], "self.count(1)", *FUNCTION[4:]], not_run={4})}
    assert compared(tmp_path, before, after) == (0, [], [], ["a.rs:14: self.count(1)"])
