"""A new setting is its row in the engine's table and the code that uses it: tried in a copy of the sources.

The copy gets one more row and one more field; nothing else is written by hand. Then both bindings must compile as they
are, and what is made from the table must hold the new setting. Cargo's target folder is the repository's own, so that
crates of others are not built again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

ROW = """\
        /// The number of requests that a test may count.
        ///
        /// 7: enough for a test.
        http_counted_requests: Count => counted_requests = Number(7), (1, 9);

"""


def change(path: Path, before: str, new: str) -> None:
    """Puts `new` in front of the only line that begins with `before`."""
    text = path.read_text()
    assert len(re.findall(re.escape(before), text)) == 1, f"{path} is not as this test knows it"
    path.write_text(text.replace(before, new + before))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources that a build and the tools need."""
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    here = tmp_path / "copy"
    ignored = shutil.ignore_patterns("target", "__pycache__", "*.so")
    for name in ("Cargo.toml", "Cargo.lock", "crates", "bindings", "tools", "python"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, here / name, ignore=ignored)
        else:
            here.mkdir(exist_ok=True)
            shutil.copy(source, here / name)
    return here


@pytest.fixture
def target() -> Iterator[Path]:
    """Cargo's folder. To cargo the copy's crates are the repository's own, built a moment ago: what it noted of them
    goes, or `make generate` would go on with the copy's."""
    target = ROOT / Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    yield target.resolve()
    for noted in (target / "debug" / ".fingerprint").glob("fairlead-*"):
        shutil.rmtree(noted, ignore_errors=True)


@pytest.mark.timeout(600)  # it builds the engine
def test_a_row_and_its_use_are_all_that_a_new_setting_needs(copy: Path, target: Path) -> None:
    change(copy / "crates/engine/src/settings/table.rs", "        /// Header lines of a request.", ROW)
    settings = copy / "crates/front/src/settings.rs"
    change(
        settings,
        "    /// The number of header lines.",
        "    /// The number of requests that a test may count.\n    pub counted_requests: usize,\n",
    )
    settings.write_text(
        settings.read_text()
        + "\nimpl FrontSettings {\n    /// The use.\n    pub fn may_count(&self, count: usize) -> bool {\n"
        "        count < self.counted_requests\n    }\n}\n"
    )

    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    generate = [sys.executable, "tools/engine_settings.py"]
    made = subprocess.run(generate, cwd=copy, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines() == [
        "python/fairlead/settings/engine_table.py is new",
        "python/fairlead/_engine.pyi is new",
        "bindings/c/include/fairlead.h is new",
    ]
    check = ["cargo", "check", "--quiet", "--locked", "-p", "fairlead-c", "-p", "fairlead-python"]
    checked = subprocess.run(check, cwd=copy, env=environment, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr

    header = (copy / "bindings/c/include/fairlead.h").read_text()
    assert '#define FL_SETTING_HTTP_COUNTED_REQUESTS "http_counted_requests"\n' in header
    assert "/* Number, from 1 to 9, 7 by default. The number of requests that a test may count. 7: enough for" in header
    assert "    http_counted_requests: int\n" in (copy / "python/fairlead/_engine.pyi").read_text()
    program = (
        "import sys; sys.path.insert(0, 'python/fairlead/settings'); import engine_table;"
        "row = engine_table.ENGINE_SETTINGS['http_counted_requests']; print(row.kind, row.default, row.least, row.most)"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True, check=True)
    assert answer.stdout == "count 7 1.0 9.0\n"
