"""A worker in C under the real master: it serves, leaves at a stop, and refuses what it cannot."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
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


def start(program, log, *options):
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    command = [sys.executable, "-c", MASTER, str(program), "--http-socket", "127.0.0.1:0", "--module", "json", *options]
    return subprocess.Popen(command, stderr=log.open("w"), stdout=subprocess.DEVNULL, env=environ)


def wait_for(log, pattern):
    ends = time.monotonic() + TIMEOUT_S
    while not (found := re.search(pattern, log.read_text())):
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.02)
    return found


def test_a_worker_serves_and_leaves_in_order(program, tmp_path):
    log = tmp_path / "log"
    master = start(program, log)
    try:
        port = wait_for(log, r"127\.0\.0\.1:([1-9]\d+)")[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT_S) as answer:
            assert answer.read() == b"worker 1\n"
        master.send_signal(signal.SIGTERM)
        assert master.wait(TIMEOUT_S) == 0, log.read_text()
        assert "killed" not in log.read_text()
    finally:
        master.kill()


def test_what_it_cannot_serve_is_one_sentence(program, tmp_path):
    log = tmp_path / "log"
    master = start(program, log, "--static-map", f"/static={tmp_path}")
    try:
        assert master.wait(TIMEOUT_S) != 0, log.read_text()
        assert "--static-map is for Python workers so far" in log.read_text()
    finally:
        master.kill()


def test_a_program_without_a_master_is_told(program):
    environ = {name: value for name, value in os.environ.items() if name != "FAIRLEAD_CONTROL_FD"}
    ran = subprocess.run([program], env=environ, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (ran.returncode, ran.stderr) == (3, "no worker: 5 \n")
