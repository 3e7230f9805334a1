"""The commands for a running instance on docs/reference/channels-outside.md and docs/howto/channels.md: run, and what
they print compared with what the page shows, numbers aside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation.pages import text_of
from support.server import APPS, TIMEOUT_S, Server

#: The pages' paths and address.
SOCKETS = ("/run/shop/channels", "/run/app/channels.sock")
ADDRESS = "127.0.0.1:8090"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[tuple[str, str]]:
    """The blocks of a kind that speak to a running instance: page and text."""
    pages = ("reference/channels-outside.md", "howto/channels.md")
    found = [(page, block[2]) for page in pages for block in BLOCK.finditer(text_of(page)) if block[1] == kind]
    return [(page, text) for page, text in found if any(place in text for place in (*SOCKETS, ADDRESS))]


def steps(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console, and the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif line:
            found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """A line without what differs from one instance to the next."""
    return re.sub(r"\d[\d,.]*", "N", " ".join(line.split()))


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, socket_folder: str) -> Iterator[dict[str, str]]:
    """The pages' places, and what stands for them; with `pg_dump` and `fairlead` to be found."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "token").write_text("0123456789abcdef\n")
    (folder / "token").chmod(0o600)
    for name, text in {"fairlead": f'exec "{sys.executable}" -m fairlead "$@"', "pg_dump": "printf dump"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = f"{socket_folder}/outside"
    options = ("--channels-socket", path, "--channels-http", "127.0.0.1:0")
    options += ("--channels-http-token-file", str(folder / "token"))
    with Server.start(APPS / "mirror.py", "--threads", "2", *options) as server:
        address = server.wait_for_line(r"--channels-http at (\S+)")[1]
        yield {**dict.fromkeys(SOCKETS, path), ADDRESS: address, "PATH": f"{folder}:{os.environ['PATH']}"}


def here(text: str, instance: dict[str, str]) -> str:
    for place in (*SOCKETS, ADDRESS):
        text = text.replace(place, instance[place])
    return text


@pytest.mark.parametrize("page, text", blocks("console"))
def test_a_console_prints_what_the_page_shows(page: str, text: str, instance: dict[str, str]) -> None:
    offset = 0
    for command, shown in steps(text):
        # An offset of the page is of another instance; it asks for what is behind the one before the newest.
        command = re.sub(r"since=\d+", f"since={offset - 1}", command)
        answer = subprocess.run(
            ["bash", "-c", here(command, instance)],
            env={**os.environ, "PATH": instance["PATH"], "TOKEN": "0123456789abcdef"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert answer.returncode == 0, answer.stderr
        offset = int(found[1]) if (found := re.search(r'"offset": (\d+)', answer.stdout)) else 0
        if shown:
            printed = [shape(line) for line in answer.stdout.splitlines() if line]
            # Channels that other blocks have made may stand between the lines of the page.
            assert [line for line in printed if line in {shape(one) for one in shown}] == [shape(one) for one in shown]


@pytest.mark.parametrize("page, text", blocks("python"))
def test_code_for_other_programs_runs(page: str, text: str, instance: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "other.py"
    file.write_text(here(text, instance))
    answer = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert answer.returncode == 0, answer.stderr
