"""Where and on what a result was made: the facts without which a figure means nothing. Also which
two CPUs the bench uses: the server gets one, the load the other, so that neither takes time from
the other.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class BenchError(Exception):
    """One sentence for whoever started the bench: what is wrong and what to do."""


def two_cpus() -> tuple[int, int]:
    """The CPU of the server and the CPU of the load."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise BenchError("the bench needs two CPUs, one for the server and one for the load; this process may use one")
    return cpus[0], cpus[1]


def facts() -> dict[str, str]:
    """The facts in the order in which a report shows them."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cpu": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "harness python": platform.python_version(),
        "load average at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def commit(checkout: Path = REPOSITORY) -> str:
    """The short commit of a checkout, marked when the tree differs from it."""
    try:
        short = _output("git", "-C", str(checkout), "rev-parse", "--short", "HEAD")
        # Results themselves are new files; they do not make what was measured another program.
        changes = _output("git", "-C", str(checkout), "status", "--porcelain", "--", ".", ":!benches/results")
    except (OSError, subprocess.CalledProcessError):
        return "uncommitted"
    return f"{short}-dirty" if changes else short


def python_version(interpreter: str) -> str:
    """The version of another interpreter, with its implementation."""
    script = "import platform as p; print(p.python_implementation(), p.python_version())"
    try:
        return _output(interpreter, "-c", script)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _output(*command: str) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


if sys.platform != "linux":
    raise SystemExit("run.py: the bench needs Linux (epoll, /proc, CPU affinity)")
