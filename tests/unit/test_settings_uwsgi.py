"""uWSGI's options that are no settings here: each one gets an answer, and none is lost in silence.

`uwsgi_2_0_options.txt` holds the names that `uwsgi --help` of release 2.0.31 prints.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fairlead.errors import SettingsError
from fairlead.settings import uwsgi
from fairlead.settings.files import LOOPS
from fairlead.settings.options import BY_NAME
from fairlead.settings.sources import Reading, read_sources
from fairlead.settings.uwsgi_answers import BY_OPTION, BY_PART
from fairlead.settings.uwsgi_rest import REST

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
    with pytest.raises(SettingsError, match="which Fairlead does not have; remove it and use "):
        ini(tmp_path, line)


def refused() -> list[str]:
    return [name for name in NAMES if name not in BY_NAME and (found := uwsgi.find(name)) and found.answer == "refused"]


def test_what_is_refused_names_the_nearest_thing_that_works() -> None:
    assert len(refused()) > 500
    for name in refused():
        found = uwsgi.find(name)
        assert found is not None and re.match(r"remove it( and use \S|: \S|$)", found.instead), name
        assert "`" not in found.instead
    parts = {what for what, _ in (*uwsgi.MISSING, *uwsgi.LATER, *REST)}
    assert set(BY_PART) == parts, "each missing part has an answer, and no answer is for another"


def test_an_option_that_is_recommended_is_one() -> None:
    blocks = {"ini", "if"}
    for text in (*BY_PART.values(), *BY_OPTION.values()):
        for name in re.findall(r"--([a-z][a-z0-9-]*)", text):
            assert name in BY_NAME or name in blocks, text


def test_each_answer_of_its_own_is_for_an_option_that_is_refused() -> None:
    for name in BY_OPTION:
        found = uwsgi.find(name)
        assert name not in BY_NAME and found is not None and found.answer == "refused", name


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("check-static = /srv", "remove it and use static-map = /=DIR."),
        ("del-header = Server", "remove it and use response-route-run = delheader:NAME."),
        ("log-5xx = true", "use final-route-status = ^[123] donotlog:, which leaves the lines of failed requests."),
        ("stop = app.pid", "remove it and use kill -TERM $(cat FILE)."),
        ("log-zero = true", "remove it."),
    ],
)
def test_an_answer_is_written_as_in_the_file(tmp_path: Path, line: str, answer: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ini(tmp_path, line)
    assert str(caught.value).endswith(answer)


def test_a_placeholder_may_begin_with_the_name_of_such_an_option(tmp_path: Path) -> None:
    reading = ini(tmp_path, "stop-after = 5\nhttp-timeout = %(stop-after)")
    assert ("http-timeout", "5") in [(given.name, given.value) for given in reading.given]


def test_uwsgis_other_names_for_a_setting_set_it(tmp_path: Path) -> None:
    for name in ("python-import", "shared-pyimport", "shared-py-import", "shared-python-import"):
        assert BY_NAME[name] is BY_NAME["import"]
    assert BY_NAME["chmod"] is BY_NAME["chmod-socket"]
