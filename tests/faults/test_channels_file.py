"""The file that instances share for their channels: without room for it, removed, or cut short under them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fairlead._native import Channels
from support.server import TIMEOUT_S

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
