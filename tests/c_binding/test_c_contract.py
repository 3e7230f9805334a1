"""Runs `contract.c`, `channels.c` and `front.c`, where the promises of the C interface stand, also under valgrind."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from c_binding.conftest import TIMEOUT_S

FOLDER = Path(__file__).parent
CONTRACT = FOLDER / "contract.c"
PROGRAMS = [CONTRACT, FOLDER / "channels.c", FOLDER / "front.c"]


@pytest.mark.parametrize("source", PROGRAMS, ids=lambda source: source.stem)
def test_the_interface_keeps_its_promises(compiled, source):
    run = subprocess.run([compiled(source)], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (run.returncode, run.stdout) == (0, "ok\n"), run.stderr


@pytest.mark.parametrize(
    ("source", "order"),
    [(CONTRACT, "any"), *((program, "orderly") for program in PROGRAMS)],
    ids=["contract-any", *(f"{program.stem}-orderly" for program in PROGRAMS)],
)
def test_no_memory_is_misused_and_none_is_lost_in_good_order(compiled, source, order):
    valgrind = shutil.which("valgrind")
    assert valgrind is not None, "valgrind is not installed: apt-get install valgrind"
    leaks = ["--leak-check=full", "--errors-for-leak-kinds=definite,indirect"] if order == "orderly" else []
    command = [valgrind, "--quiet", "--error-exitcode=9", *leaks, compiled(source), order]
    run = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT_S)
    assert (run.returncode, run.stdout) == (0, "ok\n"), run.stderr
