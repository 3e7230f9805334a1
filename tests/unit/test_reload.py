"""Watching files by modification time, with the time as a parameter."""

from __future__ import annotations

import os

from fairlead.master.reload import Watch


def test_a_change_is_reported_once(tmp_path):
    file = tmp_path / "a"
    file.touch()
    watch = Watch([str(file)], 1.0, now=0.0)
    assert watch.changed(1.0) == ""
    os.utime(file, ns=(5, 5))
    assert watch.changed(2.0) == str(file)
    assert watch.changed(3.0) == ""


def test_files_are_looked_at_only_when_it_is_due(tmp_path):
    file = tmp_path / "a"
    file.touch()
    watch = Watch([str(file)], 10.0, now=0.0)
    os.utime(file, ns=(5, 5))
    assert watch.changed(9.9) == "" and watch.due_at == 10.0
    assert watch.changed(10.0) == str(file) and watch.due_at == 20.0


def test_a_file_that_appears_is_a_change_and_one_that_vanishes_is_none(tmp_path):
    file = tmp_path / "a"
    watch = Watch([str(file)], 1.0, now=0.0)
    file.touch()
    os.utime(file, ns=(5, 5))
    assert watch.changed(1.0) == str(file)
    file.unlink()
    assert watch.changed(2.0) == ""
    file.touch()
    os.utime(file, ns=(5, 5))  # an editor put the same file back
    assert watch.changed(3.0) == ""


def test_adding_a_watched_file_again_hides_no_change(tmp_path):
    file = tmp_path / "a"
    file.touch()
    watch = Watch([str(file)], 1.0, now=0.0)
    os.utime(file, ns=(5, 5))
    watch.add([str(file)])
    assert watch.changed(1.0) == str(file)
