"""What docs/start/coming-from-uwsgi.md says about names and options is so: both are compared with what runs.

`uwsgi_2_0_names.txt` holds `dir(uwsgi)` of a request under release 2.0.31. Each of these names is either there, or on
the page with what to use instead; so a name that joins the module leaves the page with the same commit.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation.pages import ROOT
from faults.machine import get
from support.server import Server

PAGE = (ROOT / "docs" / "start" / "coming-from-uwsgi.md").read_text(encoding="utf-8")
NAMES = set(Path(__file__).with_name("uwsgi_2_0_names.txt").read_text(encoding="utf-8").split())
APP = """
import uwsgi


def application(environ, start_response):
    start_response("200 OK", [])
    return ["\\n".join(dir(uwsgi)).encode()]
"""


def section(title: str) -> str:
    """The page from a heading to the next one of the same kind."""
    marks, _, _ = title.partition(" ")
    found = re.search(rf"^{re.escape(title)}$(.*?)(?=^#{{2,{len(marks)}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no heading {title!r}"
    return found[1]


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """The names of the module `uwsgi` in a request."""
    app = tmp_path_factory.mktemp("names") / "app.py"
    app.write_text(APP, encoding="utf-8")
    with Server.start(app, "--threads", "2") as server:
        status, body = get(server, "/")
        assert status == 200
        yield set(body.decode().split())


def test_each_name_of_uwsgi_is_there_or_on_the_page(present: set[str]) -> None:
    cells = re.findall(r"^\| (`.*?) \|", section("### Names that are absent"), re.MULTILINE)
    told = set(re.findall(r"`(\w+)`", " ".join(cells)))
    assert len(told) > 40
    assert told & present == set(), "the page calls these absent"
    assert NAMES - present - told == set(), "these are absent, and the page does not say so"


def test_the_tables_of_options_are_those_of_the_settings() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "import uwsgi_options as o, sys; sys.stdout.buffer.write(o.page().encode())"],
        cwd=ROOT / "tools",
        capture_output=True,
    )
    assert answer.returncode == 0, answer.stderr.decode()
    assert answer.stdout.decode() == PAGE, "run `make docs`"
