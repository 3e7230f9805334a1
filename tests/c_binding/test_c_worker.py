"""A worker in C under the real master: it serves, leaves at a stop, and refuses what it cannot."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from c_binding.conftest import ROOT, TIMEOUT_S

MASTER = """
import sys
from fairlead.master.master import Master
from fairlead.cli import serve
serve.Master = lambda settings, log: Master(settings, log, command=[sys.argv[1]])
sys.exit(serve.serve(sys.argv[2:]))
"""


@pytest.fixture
def program(compiled):
    return compiled(Path(__file__).with_name("worker.c"))


@pytest.fixture
def start(program):
    """`start(*options)`: a master of this worker, with its log as a pipe. It is gone after the test."""
    masters = []

    def start_(*options):
        environ = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        listens = ["--http-socket", "127.0.0.1:0", "--module", "json"]
        command = [sys.executable, "-c", MASTER, str(program), *listens, *options]
        masters.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ))
        return masters[-1]

    yield start_
    for master in masters:
        master.kill()
        master.communicate()


def port_of(master):
    """The port that the master names in its log, which ends if it cannot start."""
    log = ""
    for line in master.stderr:
        log += line
        if found := re.search(r"127\.0\.0\.1:([1-9]\d+)", line):
            return found[1]
    pytest.fail(log)


def test_a_worker_serves_and_leaves_in_order(start):
    master = start()
    with urllib.request.urlopen(f"http://127.0.0.1:{port_of(master)}/", timeout=TIMEOUT_S) as answer:
        assert answer.read() == b"worker 1\n"
    master.send_signal(signal.SIGTERM)
    _, log = master.communicate(timeout=TIMEOUT_S)
    assert master.returncode == 0, log
    assert "killed" not in log


def test_what_it_cannot_serve_is_one_sentence(start, tmp_path):
    master = start("--static-map", f"/static={tmp_path}")
    _, log = master.communicate(timeout=TIMEOUT_S)
    assert master.returncode != 0
    assert "--static-map is for Python workers so far" in log


def test_a_program_without_a_master_is_told(program):
    environ = {name: value for name, value in os.environ.items() if name != "FAIRLEAD_CONTROL_FD"}
    ran = subprocess.run([program], env=environ, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (ran.returncode, ran.stderr) == (3, "no worker: 5 \n")
