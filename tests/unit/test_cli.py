"""The command as the operator meets it: a bad start is one sentence and status 2, before any worker
exists."""

from __future__ import annotations

import pytest
from fairlead import cli
from fairlead.cli import help as cli_help
from fairlead.cli import serve
from fairlead.settings.options import DIRECTIVES, SETTINGS, Settings
from fairlead.settings.sources import read_sources


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text("raise SystemExit('the app was run')")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("raise SystemExit('the package was imported')")
    (tmp_path / "pkg" / "app.py").write_text("raise SystemExit('the module was imported')")
    (tmp_path / "broken.py").write_text("\n\ndef f(:\n")


@pytest.fixture
def served(monkeypatch):
    """The settings that reached the master, which is not run."""
    reached: list[Settings] = []

    class NoMaster:
        def __init__(self, settings, log):
            reached.append(settings)

        def run(self):
            return 0

    monkeypatch.setattr(serve, "Master", NoMaster)
    return reached


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["--http", ":0", "none.py"], "--wsgi-file none.py: there is no such file in "),
        (["--http", ":0", "broken.py"], "SyntaxError: invalid syntax (broken.py line 3)."),
        (["--http", ":0", "--module", "broken"], "broken.py line 3)."),
        (["--http", ":0", "--module", "none.app:x"], "there is no module 'none' in "),
        (["--http", ":0", "--module", "pkg.none"], "there is no module 'pkg.none' in "),
        (["--http", ":0", "--mount", "/a=none.py"], "--mount /a=none.py: there is no such file"),
        (["--http", ":0", "app.py", "--chdir", "none"], "--chdir none: there is no such folder"),
        (["--http", ":0", "app.py", "--virtualenv", "pkg"], "--virtualenv pkg: it is no virtual environment"),
        (["--http", ":0"], "there is no application to serve"),
        (["app.py"], "there is no address to serve at"),
        (["--htp", ":0"], "--htp is no option of Fairlead; did you mean --http"),
    ],
)
def test_a_bad_start_is_one_sentence_and_status_2(served, capsys, arguments, part):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("fairlead: ") and part in error and error.count("\n") == 1
    assert served == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["app.py"], ["--module", "pkg.app:create()"], ["--module", "pkg"], ["--module", "sys"],
        ["--mount", "/a=pkg.app"],
        ["--chdir", "pkg", "--module", "app"], ["--chdir", "pkg", "app.py"],
        ["--pythonpath", "p*", "--module", "app"],
    ],
)  # fmt: skip
def test_a_good_start_is_checked_without_running_the_app(served, arguments):
    assert cli.main(["--http", ":0", *arguments]) == 0
    assert len(served) == 1


def test_greenlets_need_their_package(served, capsys, monkeypatch):
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["--http", ":0", "app.py", "--async", "10", "--greenlet"]) == 2
    assert "pip install greenlet" in capsys.readouterr().err


def test_warnings_are_logged_before_the_start(served, capfd):
    assert cli.main(["--http", ":0", "app.py", "--thunder-lock"]) == 0
    assert "warning: --thunder-lock (command line) is ignored" in capfd.readouterr().err


def test_no_arguments_show_the_shortest_start(capsys):
    assert cli.main([]) == 2
    assert "--http :8080 --wsgi-file app.py" in capsys.readouterr().err


def test_help_names_every_option(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for about in (*SETTINGS, *DIRECTIVES):
        for name in (about.name, *about.aliases):
            assert f"--{name}" in text
    assert max(map(len, cli_help.help_text(100).splitlines())) <= 110


def test_the_version_is_printed(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fairlead ")


def test_show_config_names_sources_and_gives_the_same_settings_again(tmp_path, capsys):
    (tmp_path / "in.ini").write_text("[uwsgi]\nhttp = 127.0.0.1:80\nenv = P=100%%\ndisable-logging\nfolder = %d\n")
    arguments = ["in.ini", "-p", "3", "app.py"]
    assert cli.main([*arguments, "--show-config"]) == 0
    text = capsys.readouterr().out
    assert "; in.ini:2\nhttp = 127.0.0.1:80\n" in text and "; command line\nprocesses = 3\n" in text
    (tmp_path / "out.ini").write_text(text)
    first, again = (Settings.of(read_sources(words, {}).given).as_plain() for words in (arguments, ["out.ini"]))
    del first["given"], again["given"]
    assert first == again
