"""The command as the operator meets it: a bad start is one sentence and status 2, before any worker
exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from fairlead import cli
from fairlead.cli import checks, serve
from fairlead.cli import command as command_module
from fairlead.cli import help as cli_help
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
        (["--htp", ":0", "app.py"], "--htp is no option of Fairlead; did you mean --http"),
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
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    for options, package in (
        (["--async", "10", "--greenlet"], "greenlet"),
        (["--gevent", "10"], "'fairlead[gevent]'"),
        (["--asyncio", "10", "--asyncio-loop", "uvloop"], "'fairlead[asyncio]'"),
    ):
        assert cli.main(["--http", ":0", "app.py", *options]) == 2
        assert f"; pip install {package}.\n" in capsys.readouterr().err


def test_warnings_are_logged_before_the_start(served, capfd):
    assert cli.main(["--http", ":0", "app.py", "--thunder-lock"]) == 0
    assert "warning: --thunder-lock (command line) is ignored" in capfd.readouterr().err


def test_no_arguments_show_the_shortest_start(capsys, monkeypatch):
    for variable in [name for name in os.environ if name.startswith(("FAIRLEAD_", "UWSGI_"))]:
        monkeypatch.delenv(variable)
    assert cli.main([]) == 2
    assert "--http :8080 --wsgi-file app.py" in capsys.readouterr().err


def test_the_environment_alone_starts_a_server(served, monkeypatch):
    monkeypatch.setenv("FAIRLEAD_HTTP", "127.0.0.1:0")
    monkeypatch.setenv("FAIRLEAD_WSGI_FILE", "app.py")
    assert cli.main([]) == 0
    assert served[0].wsgi_file == "app.py"


def test_show_config_checks_all_that_a_start_checks_and_starts_nothing(tmp_path, capsys, served):
    (tmp_path / "in.ini").write_text(
        "[uwsgi]\nhttp = :0\nwsgi-file = none.py\nroute = ^/( last:\nroute-run = goto:end\nroute-run = goto:other\n"
        "route-label = end\nstatic-map = /s=none\nhttps = :0,none.crt,none.key\nimport = none\nlogto = none/log\n"
        "channels-http = :0\nchannels-http-token-file = none\nthunder-lock = true\nprocesses = 126\n"
    )
    assert cli.main(["--show-config", "in.ini"]) == 2
    output, error = capsys.readouterr()
    assert "http = :0" in output
    told = [re.findall(r"in\.ini:(\d+)", line) for line in error.splitlines()]
    assert sorted(int(lines[0]) for lines in told) == [3, 4, 6, 8, 9, 10, 11, 13, 14, 15]
    assert error.splitlines()[0].startswith("fairlead: warning: --thunder-lock (in.ini:14) is ignored")
    assert served == []


def test_a_start_tells_all_of_it_too(tmp_path, capsys, served):
    assert cli.main(["--http", ":0", "none.py", "--static-map", "/s=none", "--route", "^/( last:"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3 and served == []


def test_a_broken_file_is_the_workers_to_tell_under_autoreload(served, capsys):
    assert cli.main(["--http", ":0", "broken.py", "--py-autoreload", "1"]) == 0
    assert cli.main(["--http", ":0", "none.py", "--py-autoreload", "1"]) == 2
    assert cli.main(["--http", ":0", "broken.py", "--py-autoreload", "1", "--show-config"]) == 2
    assert "SyntaxError" in capsys.readouterr().err and len(served) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--show-config", "--http", ":0", "app.py"],
                                       ["publish", "--help"], ["channels", "--help"]])  # fmt: skip
@pytest.mark.parametrize("full", ["stdout", "stderr", "pipe"])
def test_what_cannot_be_printed_is_no_traceback(arguments, full):
    with open("/dev/full", "w") as disk:
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        how.update({full: disk} if full != "pipe" else {})
        process = subprocess.Popen([sys.executable, "-m", "fairlead", *arguments], stdin=subprocess.DEVNULL, **how)
        if full == "pipe":
            process.stdout.close()  # before it has written anything: it is still being loaded
            error = process.stderr.read().decode()
            process.stderr.close()
        else:
            error = "".join((text or b"").decode() for text in process.communicate(timeout=30))
    status = process.wait(30)
    if full == "stdout":
        assert (status, error) == (2, "fairlead: standard output cannot be written: no space left on device.\n")
    else:
        assert status == 0 and "Traceback" not in error and "Exception ignored" not in error


def test_a_complaint_that_cannot_be_printed_keeps_its_status():
    with open("/dev/full", "w") as disk:
        how = {"stdout": disk, "stderr": disk, "stdin": subprocess.DEVNULL}
        assert subprocess.run([sys.executable, "-m", "fairlead", "--bogus"], **how, timeout=30).returncode == 2


def test_bytes_that_are_no_text_are_shown_as_what_they_are(capsys):
    assert cli.main(["--show-config", "--http", ":0", "app.py", "--env", "A=\udcff"]) == 0
    assert r"env = A=\udcff" in capsys.readouterr().out


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


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    for command in ("publish", "channels"):
        monkeypatch.setitem(command_module.COMMANDS, command, interrupted)
        assert cli.main([command]) == 130
    monkeypatch.setattr(command_module, "serve", interrupted)
    assert cli.main(["--http", ":0", "app.py"]) == 130
    assert capsys.readouterr() == ("", "")
