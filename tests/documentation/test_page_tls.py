"""The page on TLS: its commands run as they stand there, with free ports and in a folder of the test's own."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from documentation.pages import ROOT, Command, commands
from support.certificates import Pair, connect, context, get, make
from support.server import Server

PAGE = "howto/tls.md"
COMMANDS = commands(PAGE)


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) == 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page tells its reader to make, and what it takes for granted."""
    (command,) = re.findall(r"^openssl .*", (ROOT / "docs" / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True)
    for name in ("one", "two", "clients"):
        make(tmp_path, name)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.where)
def test_a_command_serves_https(command: Command, folder: Path) -> None:
    for name, text in command.files.items():
        (folder / name).write_text(text)
    words = [re.sub(r"^:\d+(?=,)", "127.0.0.1:0", word) for word in command.words]
    server = Server.launch("--chdir", str(folder), *words)
    try:
        server.wait_until_ready()
        first = Pair(folder, "one" if "one.crt" in command.words[1] else "site")
        client = context(first, shows=Pair(folder, "clients"))
        with connect(server, client) as connection:
            response, body = get(connection)
            assert response.status == 200, body
    finally:
        server.stop()
