"""What the operator reads when a command or a configuration cannot be: input, exit status, text, in one table.

The texts stand whole, because they are what is read. A text may be improved, and then it changes here too; who adds a
refusal adds a row. `{folder}` is where the command runs. In the configurations of the table the section's head is left
out, so the first line shown is app.ini:2.
"""

# ruff: noqa: E501
# A text that is broken into pieces is not found by who searches for it.

from __future__ import annotations

from typing import NamedTuple

import pytest
from fairlead import cli
from fairlead.cli import serve
from fairlead.errors import MasterError

SERVES = ("--http", "127.0.0.1:0", "app.py")


class Row(NamedTuple):
    """One input: words of the command line, or lines of app.ini behind them, or variables of the environment."""

    words: tuple[str, ...]
    says: str
    ini: str = ""
    environ: tuple[tuple[str, str], ...] = ()
    status: int = 2


TABLE = (
    # The command line
    Row((), "usage: fairlead --http :8080 --wsgi-file app.py   (--help lists all options)"),
    Row((*SERVES, "--proceses", "2"), "--proceses is no option of Fairlead; did you mean --processes or --http-processes; see --help."),
    Row((*SERVES, "-Q"), "-Q is no option of Fairlead; see --help."),
    Row((*SERVES, "--threads"), "--threads has no value; it needs a whole number from 1 to 65535."),
    Row((*SERVES, "--processes", "many"), "--processes was given 'many' (command line); it needs a whole number from 1 to 4096."),
    Row((*SERVES, "--harakiri", "20s"), "--harakiri was given '20s' (command line); it needs a number of seconds, 0 or more."),
    Row(("--http", "8080", "app.py"), "--http was given '8080' (command line); a port needs its colon: write :8080."),
    Row(("--http", ":99999", "app.py"), "--http was given ':99999' (command line); port 99999 is above 65535."),
    Row((*SERVES, "--chmod-socket", "999"), "--chmod-socket was given '999' (command line); it needs an octal file mode such as 660."),
    Row((*SERVES, "--chmod-socket", "66o"), "'66o' is neither an option nor an application (app.py, module:callable) nor a configuration file (.ini, .yaml, .json); if it is meant for --chmod-socket, that needs an octal file mode such as 660; see --help."),
    Row((*SERVES, "--greenlet", "true", "--async", "9"), "'true' is neither an option nor an application (app.py, module:callable) nor a configuration file (.ini, .yaml, .json); --greenlet takes no value on the command line; see --help."),
    Row(("--http", ":0", "app.py:app"), "'app.py:app' mixes a file and a callable; write app.py --callable app."),
    Row(("--http", ":0", "config.ru"), "--rack (command line) needs Ruby, which is not in this version yet; remove it and use uWSGI itself for that application, behind a --route with uwsgi:."),
    # Other servers' options
    Row((*SERVES, "--bind", "0.0.0.0:80"), "--bind is no option of Fairlead; Fairlead calls this option of gunicorn --http ADDRESS, or --http PATH for a UNIX socket."),
    Row((*SERVES, "--host", "0.0.0.0"), "--host is no option of Fairlead; Fairlead calls this option of uvicorn and granian --http HOST:PORT."),
    Row((*SERVES, "--port", "80"), "--port is no option of Fairlead; Fairlead calls this option of uvicorn and granian --http :PORT."),
    Row((*SERVES, "--ssl-certfile", "a.crt"), "--ssl-certfile is no option of Fairlead; Fairlead calls this option of uvicorn --https ADDRESS,CERT,KEY."),
    Row((*SERVES, "--log-level", "info"), "--log-level is no option of Fairlead; it is an option of uvicorn, gunicorn and granian, to which nothing here corresponds: each line says how serious it is; --disable-logging leaves the requests out."),
    Row((*SERVES, "--reload"), "--reload is no option of Fairlead; Fairlead calls this option of uvicorn, gunicorn and granian --py-autoreload SECONDS, or kill -HUP $(cat PIDFILE)."),
    Row((*SERVES, "-b", "0.0.0.0:80"), "--buffer-size was given '0.0.0.0:80' (command line); -b is --buffer-size here; gunicorn's -b ADDRESS is --http ADDRESS."),
    Row(("--http", ":0", "-w", "4"), "--module was given '4' (command line); -w is --module here; gunicorn's -w N is --processes N."),
    Row((*SERVES, "-k", "gevent"), "-k is no option of Fairlead; Fairlead calls this option of gunicorn --threads N, --gevent N, --asyncio N, or --async N --greenlet."),
    # uWSGI's options
    Row((*SERVES, "--cache2", "name=x"), "--cache2 (command line) needs the cache, which Fairlead does not have; remove it and use a dict in each worker, or Redis."),
    Row(("app.ini",), "--check-static (app.ini:4) needs other ways to serve static files than --static-map, which is not in this version yet; remove it and use static-map = /=DIR.", ini="http = :0\nwsgi-file = app.py\ncheck-static = /srv"),
    Row((*SERVES, "app.ini"), "--master was given 'maybe' (app.ini:2); it needs no value, or true, on, yes or 1, or false, off, no or 0 to clear it.", ini="master = maybe"),
    # Configuration files
    Row((*SERVES, "none.ini"), "--ini none.ini (command line) cannot be read: no such file or directory."),
    Row((*SERVES, "app.ini:none"), "app.ini has no section [none]; it has: uwsgi.", ini="processes = 2"),
    Row((*SERVES, "app.ini"), "app.ini:2 has no =: 'processes 2'; write processes = 2, or ; in front of a comment.", ini="processes 2"),
    Row((*SERVES, "app.ini"), "proceses (app.ini:2) is no option, and no placeholder uses it; did you mean processes? Set a variable of your own with set-placeholder, or call it something else.", ini="proceses = 2"),
    Row((*SERVES, "app.ini"), "domain (app.ini:2) is no option and --strict is set.", ini="domain = a\nstrict = true"),
    Row((*SERVES, "app.ini"), "--catch-exceptions was given 'false ; dev only' (app.ini:2); it needs no value, or true, on, yes or 1, or false, off, no or 0 to clear it; a comment stands on a line of its own.", ini="catch-exceptions = false ; dev only"),
    Row((*SERVES, "app.ini"), "--http-socket was given ':1 ; web' (app.ini:2); it needs :port, host:port, [ipv6]:port, the path of a UNIX socket, or @name of an abstract one; a comment stands on a line of its own.", ini="http-socket = :1 ; web"),
    Row((*SERVES, "app.ini"), "env (app.ini:2) holds a NUL character; remove it.", ini="env = A=x\0y"),
    Row((*SERVES, "app.ini"), "%(b) in app.ini:2 names 'b', which is not set above it; set it first.", ini="logto = %(b)"),
    Row((*SERVES, "app.ini"), "if-env (app.ini:2) is never closed; add endif =.", ini="if-env = HOME"),
    Row((*SERVES, "app.ini"), "--ini app.ini (app.ini:2) includes itself; remove one of the two.", ini="ini = app.ini"),
    # The environment
    Row((), "--http was given '80' (environment variable FAIRLEAD_HTTP); a port needs its colon: write :80.", environ=(("FAIRLEAD_HTTP", "80"), ("FAIRLEAD_WSGI_FILE", "app.py"))),
    Row((), "there is no application to serve; add --wsgi-file app.py or --module package.module.", environ=(("FAIRLEAD_HTTP", ":0"),)),
    # What cannot run together
    Row(("app.py",), "there is no address to serve at; add --http :8080."),
    Row(("--http", ":0"), "there is no application to serve; add --wsgi-file app.py or --module package.module."),
    Row((*SERVES, "--greenlet"), "--greenlet requires async mode; add --async N, the connections at a time per worker."),
    Row((*SERVES, "app.ini"), "--gevent-monkey-patch without gevent would stop the worker; add --gevent N (app.ini:2).", ini="gevent-monkey-patch = true"),
    Row((*SERVES, "--channels-http", ":0"), "--channels-http :0 would let everybody publish; add --channels-http-token-file FILE."),
    # What the machine has not
    Row(("--http", ":0", "none.py"), "--wsgi-file none.py: there is no such file in {folder}; check the path, or --chdir."),
    Row(("--http", ":0", "broken.py"), "--wsgi-file broken.py cannot be loaded: SyntaxError: invalid syntax (broken.py line 1)."),
    Row(("--http", ":0", "--module", "none:app"), "--module none:app: there is no module 'none' in {folder} or on the module path; check the name, --chdir, --pythonpath or --virtualenv."),
    Row((*SERVES, "--chdir", "none"), "--chdir none: there is no such folder; check the path."),
    Row((*SERVES, "--virtualenv", "none"), "--virtualenv none: there is no such folder; create it with python -m venv."),
    Row((*SERVES, "--logto", "none/log"), "--logto none/log: there is no folder none; create it."),
    Row((*SERVES, "--static-map", "/s=none"), "--static-map /s=none: it cannot be read: No such file or directory (os error 2)."),
    Row((*SERVES, "--https", ":0,none.crt,none.key"), "--https :0,none.crt,none.key: none.crt cannot be read: no such file or directory; check the path and who may read it."),
    Row((*SERVES, "--route", "^/( last:"), '--route "^/( last:": the regular expression "^/(" cannot be used: unclosed group.'),
    Row((*SERVES, "app.ini"), "--route: goto:end has no --route-label end behind it (app.ini:2).", ini="route-run = goto:end"),
    Row((*SERVES, "--processes", "200"), "--processes 200 is more than 112: the channels have places for 128 processes, and a reload needs some of them; start several instances behind a proxy."),
    # Commands for a running instance
    Row(("publish", "room", "text"), "publish: the following arguments are required: --to; see fairlead publish --help."),
    Row(("publish", "--to", "none.sock", "room", "text"), "none.sock: there is no such socket; is an instance with this --channels-socket running?"),
    Row(("channels", "--to", "none.sock", "more"), "channels: unrecognized arguments: more; see fairlead channels --help."),
)  # fmt: skip


class Free:
    """No master: a row that gets so far has nothing to refuse."""

    def __init__(self, *arguments: object) -> None:
        pass

    def run(self) -> int:
        raise MasterError("it would start")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.says[:50])
def test_the_text_is_what_the_table_says(row, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve, "Master", Free)
    for name, value in row.environ:
        monkeypatch.setenv(name, value)
    (tmp_path / "app.py").write_text("")
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "app.ini").write_text(f"[uwsgi]\n{row.ini}\n")
    assert cli.main(row.words) == row.status
    output, error = capsys.readouterr()
    says = row.says.replace("{folder}", str(tmp_path))
    assert (output, error) == ("", says + "\n" if says.startswith("usage") else f"fairlead: {says}\n")


def test_no_text_of_the_table_is_there_twice():
    assert len({row.says for row in TABLE}) >= len(TABLE) - 1  # "no application", from two sources
