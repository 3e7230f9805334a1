"""Cells of the scoreboard: given, cleared and given again."""

from __future__ import annotations

import os

import pytest
from fairlead.errors import MasterError
from fairlead.master.scoreboard import Scoreboard

ABSENT = b"\xff" * 8


@pytest.fixture
def scoreboard():
    made = Scoreboard()
    yield made
    made.close()


def test_the_lowest_cell_that_nobody_has_is_given(scoreboard):
    assert scoreboard.free_cell([]) == 0
    assert scoreboard.free_cell([0, 1, None, 3]) == 2
    assert scoreboard.free_cell([2, 1, 0]) == 3


def test_a_cell_says_absent_until_its_process_says_something_else(scoreboard):
    os.pwrite(scoreboard.fd, bytes(24), 0)
    assert scoreboard.free_cell([0]) == 1
    scoreboard.clear(2)
    assert os.pread(scoreboard.fd, 100, 0) == bytes(8) + ABSENT * 2


def test_the_descriptor_is_not_inherited_by_chance(scoreboard):
    assert not os.get_inheritable(scoreboard.fd)


def test_a_system_without_memory_to_share_is_told_in_one_sentence(monkeypatch):
    def refuse(name: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(MasterError, match=r"^--processes: .*too many open files\.$"):
        Scoreboard()
