"""The library, built once, and C programs compiled against it.

Cargo's target folder is that of the environment (`CARGO_TARGET_DIR`) or the workspace's own. Programs find the library
by their run path, so nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINDING = ROOT / "bindings" / "c"
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")

#: The longest that any single step may take on a busy machine. Nothing waits for it to pass.
TIMEOUT_S = 60.0


@pytest.fixture(scope="session")
def library() -> Path:
    """`libfairlead.so`."""
    for tool in ("cargo", "cc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    subprocess.run(["cargo", "build", "--quiet", "--package", "fairlead-c"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return (ROOT / target) / "debug" / "libfairlead.so"


@pytest.fixture(scope="session")
def compiled(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """`compiled(source)`: a program, warnings being errors."""
    folder = tmp_path_factory.mktemp("c")

    def compile_(source: Path) -> Path:
        program = folder / source.stem
        command = ["cc", "-std=c99", "-g", *STRICT, f"-I{BINDING / 'include'}", str(source), "-o", str(program)]
        libraries = [f"-L{library.parent}", "-lfairlead", "-lpthread", f"-Wl,-rpath,{library.parent}"]
        subprocess.run(command + libraries, check=True)
        return program

    return compile_


class EchoServer(NamedTuple):
    """A running example program."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    def terminate(self) -> str:
        """Asks it to stop, waits, and answers what it printed since the start."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=TIMEOUT_S)
        return output


@pytest.fixture(scope="session", params=["echo", "echo_threads"])
def program(request: pytest.FixtureRequest, compiled: Callable[[Path], Path]) -> Path:
    """Each example in turn."""
    return compiled(BINDING / "examples" / f"{request.param}.c")


@pytest.fixture
def server(program: Path) -> Iterator[EchoServer]:
    """The example on a port that the system chose."""
    with subprocess.Popen([program, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
            assert found, f"the first line was {line!r}"
            yield EchoServer(process, int(found[1]))
        finally:
            process.kill()
