"""uWSGI's options that are no settings here: each one gets an answer, and none is lost in silence.

`uwsgi_2_0_options.txt` holds the names that `uwsgi --help` of release 2.0.31 prints.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fairlead.errors import SettingsError
from fairlead.settings import uwsgi
from fairlead.settings.files import LOOPS
from fairlead.settings.options import BY_NAME
from fairlead.settings.sources import Reading, read_sources

NAMES = Path(__file__).with_name("uwsgi_2_0_options.txt").read_text(encoding="utf-8").split()


def ini(folder: Path, text: str) -> Reading:
    file = folder / "app.ini"
    file.write_text(f"[uwsgi]\n{text}\n", encoding="utf-8")
    return read_sources(["--ini", str(file)], {})


def test_every_option_of_uwsgi_has_an_answer() -> None:
    blocks = {*LOOPS, "endfor", "endif"}
    assert len(NAMES) > 900
    unknown = [
        name
        for name in NAMES
        if name not in BY_NAME and not uwsgi.find(name) and name not in blocks and not name.startswith("if-")
    ]
    assert unknown == [], "in a file each of these would be taken as a placeholder, in silence"


@pytest.mark.parametrize("line", ["del-header = X-Powered-By", "stop = app.pid", "max-requests-delta = 5"])
def test_an_option_that_is_missing_is_refused_in_a_file_as_well(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match="which Fairlead does not have; remove it"):
        ini(tmp_path, line)


def test_a_placeholder_may_begin_with_the_name_of_such_an_option(tmp_path: Path) -> None:
    reading = ini(tmp_path, "stop-after = 5\nhttp-timeout = %(stop-after)")
    assert ("http-timeout", "5") in [(given.name, given.value) for given in reading.given]


def test_uwsgis_other_names_for_a_setting_set_it(tmp_path: Path) -> None:
    for name in ("python-import", "shared-pyimport", "shared-py-import", "shared-python-import"):
        assert BY_NAME[name] is BY_NAME["import"]
    assert BY_NAME["chmod"] is BY_NAME["chmod-socket"]
