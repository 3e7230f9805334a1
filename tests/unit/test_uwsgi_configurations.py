"""Ten configurations as they are found around uWSGI: `--show-config` says in one go all that has to change in each.

`uwsgi_configurations/NAME.ini` is written for these tests, with the sets of options that such deployments have; the
file NAME.txt beside it is what the command prints to standard error. That a list is complete is shown by doing what it
says: with the lines gone that it names, nothing is left to say.
"""

from __future__ import annotations

import re
import shutil
import sysconfig
from pathlib import Path

import pytest
from fairlead import cli
from support.certificates import make

CONFIGURATIONS = Path(__file__).with_name("uwsgi_configurations")
NAMES = sorted(path.stem for path in CONFIGURATIONS.glob("*.ini"))


@pytest.fixture(autouse=True)
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the configurations name: applications, a virtual environment, a folder of files, a certificate."""
    monkeypatch.chdir(tmp_path)
    for name in ("api", "live", "chat", "feed", "site", "vassal", "web", "logs"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the application was run')\n")
    for package, modules in (("shop", ["wsgi"]), ("site_", ["wsgi", "startup", "admin"])):
        (tmp_path / package).mkdir()
        for module in ("__init__", *modules):
            (tmp_path / package / f"{module}.py").write_text("")
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    place = {"base": "venv", "platbase": "venv"}
    Path(sysconfig.get_path("purelib", scheme, place)).mkdir(parents=True)
    for folder in ("assets", "log"):
        (tmp_path / folder).mkdir()
    make(tmp_path, "site")
    for name in NAMES:
        shutil.copy(CONFIGURATIONS / f"{name}.ini", tmp_path)
    return tmp_path


def shown(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main(["--show-config", f"{name}.ini"])
    output, error = capsys.readouterr()
    return status, output, error


def test_there_are_ten() -> None:
    assert len(NAMES) == 10


@pytest.mark.parametrize("name", NAMES)
def test_all_that_has_to_change_is_told_at_once(
    name: str, deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = shown(name, capsys)
    assert error.replace(str(deployment), "{folder}") == (CONFIGURATIONS / f"{name}.txt").read_text()
    refused = [line for line in error.splitlines() if ": warning: " not in line]
    assert status == (2 if refused else 0)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_change_when_that_is_done(
    name: str, deployment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every line that is refused is made a comment; what is left is what a start would take."""
    _, _, error = shown(name, capsys)
    file = deployment / f"{name}.ini"
    lines = file.read_text().splitlines()
    for sentence in error.splitlines():
        if ": warning: " not in sentence:
            number = int(re.findall(rf"{name}\.ini:(\d+)", sentence)[0])
            lines[number - 1] = f"; {lines[number - 1]}"
    file.write_text("\n".join(lines))
    status, output, rest = shown(name, capsys)
    assert [line for line in rest.splitlines() if ": warning: " not in line] == []
    assert status == 0 and "[uwsgi]" in output
