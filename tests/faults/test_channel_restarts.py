"""A client that comes back after a restart is never told that nothing is missing when nobody can know.

The clock of the machine may jump between two runs, in either direction, so a library stands before the C library's
`clock_gettime` and moves the wall clock of the server that it is loaded into.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.raw_client import RawClient
from support.server import Server

APP = Path(__file__).parent.parent / "support" / "apps" / "channel_members.py"

CLOCK = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long moved(void) {
    const char *text = getenv("MOVED_CLOCK_S");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && clock == CLOCK_REALTIME) now->tv_sec += moved();
    return status;
}
"""


@pytest.fixture(scope="module")
def moved_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clock")
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


def start(library: Path, moved_s: int) -> Server:
    environ = {"LD_PRELOAD": str(library), "MOVED_CLOCK_S": str(moved_s)}
    return Server.start(APP, "--async", "20", "--greenlet", "--disable-logging", environ=environ)


def published(server: Server, count: int) -> int:
    """The offset of the last of so many messages."""
    client = RawClient.upgrade(server, "/")
    for _ in range(count):
        client.send_text("x")
        last = int(client.read_data().payload)
    client.close()
    return last


@pytest.mark.parametrize("moved_s", [-4, 3600])
def test_an_offset_of_the_former_run_is_of_another_run_however_the_clock_was_moved(
    moved_clock: Path, moved_s: int
) -> None:
    with start(moved_clock, 0) as server:
        offset = published(server, 3)
    # The second run begins when the clock was moved, and publishes so much that the numbers of both could meet.
    with start(moved_clock, moved_s) as server:
        second = published(server, 3)
        assert abs(second - offset) > 2**24, "the numbers of two runs lie far from each other"
        client = RawClient.upgrade(server, f"/sub?since={offset}")
        head = client.read_data().payload
        assert head.startswith(b"\x1ejoined ") and head.split()[2] == b"?", head
        client.close()
