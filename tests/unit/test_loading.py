"""How an application is found and loaded, and the one sentence when it cannot be. Each case runs in its own
process, because loading changes `sys.path`, `sys.modules`, the folder and the environment for good."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fairlead
import pytest

#: The folder of Fairlead's own modules.
PACKAGE = f"{Path(fairlead.__file__).parent}/"

PROGRAM = """
import json, os, sys
from fairlead.errors import LoadError
from fairlead.worker.loading import load_application
from fairlead.settings.options import Settings
import types
sys.modules["uwsgi"] = uwsgi = types.ModuleType("uwsgi")
try:
    loaded = load_application(Settings.from_plain(json.loads(sys.argv[1])))
    answers = {point: app({}, None) for point, app in loaded.mounts.items()}
    print(json.dumps({"answers": answers, "files": loaded.files, "cwd": os.getcwd(), "path": sys.path[:3],
                      "modules": [name for name in sys.modules if name.startswith("uwsgi_file")]}))
except LoadError as error:
    print(json.dumps({"error": str(error)}))
"""

APP = "def application(environ, start_response):\n    return 'app'\n"


@pytest.fixture
def load(tmp_path):
    def run(files: dict[str, str], **settings: object):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(settings)],
            cwd=tmp_path, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_file_runs_as_a_module_of_uwsgis_name(load, tmp_path):
    got = load(
        {"sub/my.app.py": f"{APP}import sys\nassert sys.modules[__name__].application\n"},
        wsgi_file="sub/my.app.py",
    )
    assert got["answers"] == {"": "app"}
    assert got["modules"] == ["uwsgi_file_sub_my_app_py"]
    assert str(tmp_path / "sub/my.app.py") in got["files"]
    assert not any(path.startswith(PACKAGE) for path in got["files"])


@pytest.mark.parametrize(
    "module, callable_name, text",
    [
        ("pkg.app", "", APP),
        ("pkg.app:other", "", "def other(e, s): return 'app'"),
        ("pkg.app", "other", "def other(e, s): return 'app'"),
        ("pkg.app:create()", "", "def create():\n    return lambda e, s: 'app'"),
        ("pkg.app:holder.wsgi", "", "class holder:\n    wsgi = staticmethod(lambda e, s: 'app')"),
    ],
)
def test_a_module_names_its_callable_in_uwsgis_ways(load, module, callable_name, text):
    got = load({"pkg/__init__.py": "", "pkg/app.py": text}, module=module, callable=callable_name)
    assert got["answers"] == {"": "app"}


def test_a_dict_of_applications_replaces_the_callable(load):
    own = "applications = {'/': lambda e, s: 'root', '/a/': lambda e, s: 'a', '/b': 'other'}\n"
    assert load({"a.py": own + "def other(e, s): return 'b'"}, wsgi_file="a.py")["answers"] == {
        "": "root", "/a": "a", "/b": "b",
    }  # fmt: skip
    theirs = "import uwsgi\nuwsgi.applications = {'': lambda e, s: 'theirs'}\n"
    assert load({"a.py": theirs + APP}, wsgi_file="a.py")["answers"] == {"": "theirs"}


def test_mounts_load_files_and_modules(load):
    files = {"a.py": APP, "b.py": "def app(e, s): return 'b'"}
    got = load(files, wsgi_file="a.py", mount=[["/b", "b:app"], ["/c", "a.py"]])
    assert got["answers"] == {"": "app", "/b": "b", "/c": "app"}


def test_the_process_is_prepared_before_the_app_is_loaded(load, tmp_path):
    files = {
        "srv/app.py": "import os, early, lib\nassert lib.where == 'second'\n"
        "def application(e, s): return [os.environ['A'], early.done]\n",
        "srv/early.py": "done = 1",
        "srv/one/lib.py": "where = 'first'",
        "srv/two/lib.py": "where = 'second'",
        "srv/after/x": "",
    }
    got = load(
        files, wsgi_file="app.py", chdir=str(tmp_path / "srv"), chdir2="after", env=[["A", "1"]],
        imports=["early"], pythonpath=["one", "tw*"],
    )  # fmt: skip
    assert got["answers"] == {"": ["1", 1]}
    assert got["path"] == [str(tmp_path / folder) for folder in ("srv/two", "srv/one", "srv")]
    assert got["cwd"] == str(tmp_path / "srv/after")


def test_a_virtual_environments_packages_are_found(load, tmp_path):
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    files = {
        "app.py": "import inside, extra\ndef application(e, s): return inside.x + extra.x",
        f"venv/lib/{version}/site-packages/inside.py": "x = 'in'",
        f"venv/lib/{version}/site-packages/e.pth": str(tmp_path / "editable"),
        "editable/extra.py": "x = 'side'",
    }
    assert load(files, wsgi_file="app.py", virtualenv="venv")["answers"] == {"": "inside"}


@pytest.mark.parametrize(
    "text, settings, parts",
    [
        (APP, {"wsgi_file": "none.py"}, ["--wsgi-file none.py: there is no such file in "]),
        ("def f(:\n", {"wsgi_file": "a.py"}, ["SyntaxError: ", "(a.py line 1)."]),
        ("x = 1\nimport nothing_like_it\n", {"wsgi_file": "a.py"}, ["'nothing_like_it'", "a.py line 2"]),
        (
            "x = 1\nraise ValueError('bad\\n thing')\n",
            {"module": "a"},
            ["ValueError: bad thing (", "a.py line 2"],
        ),
        ("x = uwsgi.version\n", {"wsgi_file": "a.py"}, ["NameError", "add `import uwsgi`"]),
        ("import sys\nsys.exit(3)\n", {"wsgi_file": "a.py"}, ["SystemExit: 3", "line 2"]),
        (APP, {"module": "b"}, ["there is no module 'b' in "]),
        (APP, {"module": "a.b"}, ["'a.b'"]),
        (
            "import b.c",
            {"module": "a"},
            ["cannot be loaded: ModuleNotFoundError: No module named 'b'", "a.py line 1"],
        ),
        (APP, {"wsgi_file": "a.py", "callable": "app"}, ["has no callable 'app'; define it"]),
        ("app = print", {"wsgi_file": "a.py"}, ["has no callable 'application'; add --callable app."]),
        ("application = 3", {"wsgi_file": "a.py"}, ["application is int, not a callable"]),
        ("def f(): 1/0", {"module": "a:f()"}, ["f() failed: ZeroDivisionError", "line 1"]),
        (APP, {"wsgi_file": "a.py", "imports": ["nope"]}, ["--import nope: there is no module 'nope'"]),
        (APP, {"wsgi_file": "a.py", "virtualenv": "nope"}, ["--virtualenv nope: there is no such folder"]),
        (APP, {"wsgi_file": "a.py", "chdir": "nope"}, ["--chdir nope: no such file or directory"]),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_sentence(load, text, settings, parts):
    error = load({"a.py": text}, **settings)["error"]
    assert all(part in error for part in parts), error
    assert "\n" not in error and error.endswith(".")


def test_a_virtual_environment_of_another_python_is_told_apart(load):
    error = load({"a.py": APP, "venv/lib/python2.7/x": ""}, wsgi_file="a.py", virtualenv="venv")["error"]
    assert "it is made for python2.7, but this is Python" in error


def test_the_longest_mount_that_holds_the_path_is_found():
    from fairlead.worker.loading import Loaded

    def root(): ...
    def chat(): ...

    loaded = Loaded({"": root, "/chat/v2": chat}, ())
    assert loaded.find("/chat/v2") == loaded.find("/chat/v2/room") == ("/chat/v2", chat)
    assert loaded.find("/chat/v22") == loaded.find("/") == loaded.find("") == ("", root)
    assert Loaded({"/chat": chat}, ()).find("/other") is None
    assert loaded.application is root


def test_looking_does_not_need_the_app_to_run(tmp_path):
    from fairlead.worker.loading import compile_source, read_source

    path = tmp_path / "latin.py"
    path.write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n1/0\n")
    assert compile_source(read_source(str(path), "x"), str(path), "x").co_filename == str(path)
    assert Path(path).exists()
