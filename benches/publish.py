#!/usr/bin/env python3
"""How many messages of 64 bytes one process publishes in a second when nobody is a member: through the engine alone,
and through `fairlead.channels.publish`. Prints both with their bars; ends with 1 if one is missed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from fairlead import channels
from fairlead._native import Channels

REPOSITORY = Path(__file__).parent.parent
ENGINE = ("cargo", "run", "--quiet", "--locked", "--release", "-p", "fairlead-channel", "--example", "publish")
BAR_ENGINE, BAR_PYTHON = 2.0, 1.0
COUNT = 1_000_000


def in_engine() -> float:
    """Million messages a second."""
    done = subprocess.run(ENGINE, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=600)
    return float(done.stdout.splitlines()[0].split(":")[1].split()[0])


def in_python() -> float:
    """Million messages a second."""
    channels.configure(Channels.in_memory(64 << 20, 1 << 20))
    publish, payload = channels.publish, b"x" * 64
    began = time.perf_counter()
    for _ in range(COUNT):
        publish("room:7", payload)
    return COUNT / (time.perf_counter() - began) / 1e6


def main() -> int:
    is_missed = False
    for name, measure, bar in (("engine", in_engine, BAR_ENGINE), ("Python", in_python, BAR_PYTHON)):
        rate = max(measure() for _ in range(3))
        is_missed |= rate < bar
        print(f"publish, 64 B, no member, {name}: {rate:.2f} M/s (bar {bar:.0f}): {'miss' if rate < bar else 'pass'}")
    return 1 if is_missed else 0


if __name__ == "__main__":
    sys.exit(main())
