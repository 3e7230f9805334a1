"""The limit on open files, in a process of its own: what was lowered cannot be raised again."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
soft, hard, slots = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from types import SimpleNamespace
from fairlead.logs import Log
from fairlead.master.open_files import raise_limit
raise_limit(SimpleNamespace(slots=slots), 2, Log())
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits(soft: int, hard: int, slots: int) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(slots)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_the_soft_limit_becomes_the_hard_one():
    assert limits(64, 500, 300) == ("500 500", "")


@pytest.mark.parametrize("slots", [100, 1000])
def test_too_few_for_all_slots_is_a_warning_with_the_numbers(slots):
    limit, said = limits(100, 120, slots)
    assert limit == "120 120"
    assert f"warning: {slots} slots may need {slots + 45} open files in each worker, and the limit is 120" in said
