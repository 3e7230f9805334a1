"""What a command for a running instance says when its own output cannot be written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fairlead import channels
from support.runners import DEFAULT
from support.server import TIMEOUT_S, Server


def test_a_publish_whose_offset_cannot_be_printed_says_that_it_is_published(tmp_path: Path) -> None:
    socket_path = str(tmp_path / "channels")
    server = Server.start("rooms.py", *DEFAULT.options, "--channels-socket", socket_path)
    with server, open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "fairlead", "publish", "--to", socket_path, "r", "x"],
            stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S,
        )  # fmt: skip
        assert found.returncode == 2
        said = re.fullmatch(
            rb"fairlead: publish: the message is published, at offset (\d+), but standard output cannot be written: "
            rb"no space left on device\.\n",
            found.stderr,
        )
        table = subprocess.run(
            [sys.executable, "-m", "fairlead", "channels", "--to", socket_path],
            stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S,
        )  # fmt: skip
        assert said is not None, found.stderr
        with channels.connect(socket_path) as remote:
            assert [message.offset for message in remote.history("r")] == [int(said[1])]
    assert table.returncode == 2
    assert table.stderr == b"fairlead: standard output cannot be written: no space left on device.\n"
