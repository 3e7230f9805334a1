"""What becomes of the file that instances share for their channels: no room, removed, replaced or cut short in use."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fairlead import channels
from fairlead._native import Channels
from support.channel_member import is_heartbeat
from support.raw_client import CLOSE, RawClient
from support.server import TIMEOUT_S, Server

APP = Path(__file__).parent.parent / "support" / "apps" / "channel_members.py"

#: A mount namespace of one's own.
UNSHARE = ["unshare", "--map-root-user", "--mount"]


def has_namespaces() -> bool:
    return subprocess.run([*UNSHARE, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="a small file system needs a mount of one's own")
@pytest.mark.parametrize("kind", ["new", "holes"])
def test_a_file_that_has_no_room_for_its_size_is_one_sentence(tmp_path: Path, kind: str) -> None:
    """Found later, by a write into memory, it would be SIGBUS for whoever writes."""
    small, whole = tmp_path / "small", tmp_path / "whole"
    small.mkdir()
    path = small / "shared"
    Channels.in_file(str(whole), 8 * 2**20, 2**20)
    # A copy may have holes: all that was never written.
    make = f"cp --sparse=always {whole} {path} &&" if kind == "holes" else ""
    command = [sys.executable, "-m", "fairlead", "--wsgi-file", str(APP), "--http", "127.0.0.1:0"]
    command += ["--channels-memory", "8", "--channels-file", str(path)]
    script = f"mount -t tmpfs -o size=2m tmpfs {small} && {make} exec {shlex.join(command)}"
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", script], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 2, done
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("fairlead: ")]
    assert f"--channels-file {path}: there is no room for its 8 MiB" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", ["removed", "replaced", "cut short", "emptied"])
def test_instances_notice_that_their_file_is_gone_and_meet_again_in_a_new_one(tmp_path: Path, how: str) -> None:
    path, outside = tmp_path / "shared", str(tmp_path / "outside")
    options = ("--channels-file", str(path), "--channels-memory", "2", "--async", "20", "--greenlet")
    with (
        Server.start(APP, *options, "--disable-logging", "--channels-socket", outside) as one,
        Server.start(APP, *options, "--disable-logging") as two,
        channels.connect(outside) as remote,
    ):
        members = [RawClient.upgrade(server, "/sub") for server in (one, two)]
        for member in members:
            assert member.read_data().payload.startswith(b"\x1ejoined ")
        since = remote.publish("busy", "x" * 1000)
        if how == "removed":
            path.unlink()
        elif how == "replaced":
            other = tmp_path / "other"
            Channels.in_file(str(other), 2 * 2**20, 2**20)
            other.rename(path)
        else:
            os.truncate(path, 0 if how == "emptied" else 100_000)
        for server in (one, two):
            # Who is second may find that the first has made a new one already.
            server.wait_for_line(r"reloading: --channels-file \S+ was (removed|replaced|cut short) while it was in use")
            server.wait_for_line("reloaded: ")
        for member in members:
            while (frame := member.read_frame()).opcode != CLOSE:
                pass
            assert int.from_bytes(frame.payload[:2], "big") in (1012, 1011), frame
            member.close()
        # Both halves are one again, and nobody takes an offset of the old log for one of the new.
        members = [RawClient.upgrade(server, f"/sub?since={since}") for server in (one, two)]
        for member in members:
            assert member.read_data().payload.split()[2] == b"?"
        offset = remote.publish("busy", "news")
        for member in members:
            while not (payload := member.read_data().payload).startswith(b"\x1e%d " % offset):
                assert payload.isdigit() or is_heartbeat(payload)
            assert payload.endswith(b"\nnews")
            member.close()
        for server in (one, two):
            assert len([line for line in server.lines if "reloading: " in line]) <= 2, server.lines
            assert not any("SIGBUS" in line or "signal 7" in line for line in server.lines), server.lines
