"""Every command, option and file of every page is one that Fairlead understands, and that a shell reads as it stands.

Here nothing is served but by pages whose examples no other test starts: what is a command for Fairlead is read as
`fairlead --show-config` reads it. That the examples do what their pages say is the other files' of this folder.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from documentation.pages import Line, configurations_of_ours, lines, pages, spans, text_of, write
from fairlead.cli.command import COMMANDS
from fairlead.errors import FairleadError, SettingsError
from fairlead.settings.options import BY_NAME, Settings
from fairlead.settings.sources import read_sources
from faults.machine import get
from support.server import Server

PAGES = pages()
LINES = [line for page in PAGES for line in lines(page)]
#: Their commands are run by other files of this folder; those of the examples by tests/faults and tests/browser.
RUN_ELSEWHERE = {"howto/channels.md", "explain/concurrency.md", "start/coming-from-uwsgi.md", "howto/tls.md"}
#: Programs of others that the pages call.
OTHERS = {
    *("cd", "curl", "django-admin", "kill", "openssl", "pg_dump", "pip", "printf", "python", "python3", "ulimit"),
    *("make", "uwsgi", "ruby", "cargo"),
}
#: The page shows how a start is refused, which test_page_examples.py holds.
REFUSED = "start/coming-from-uwsgi.md --show-config"
#: Pages that name what uWSGI has and Fairlead has not.
NAMES_OF_OTHERS = {"start/coming-from-uwsgi.md", "reference/uwsgi-compatibility.md"}
#: Options of other programs, and of `fairlead publish` and `channels`.
OTHER_OPTIONS = {"to", "watch", "binary", "name", "ulimit"}
APP = 'def application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"served"]\n'


def own(line: Line) -> list[list[str]]:
    """The words of each call of `fairlead` in a line, without its name."""
    found = []
    for part in re.split(r"\s(?:\||&&)\s", line.text):
        words = shlex.split(part, comments=True)
        if words and Path(words[0]).name == "fairlead":
            found.append([word for word in words[1:] if word != "&"])
    return found


def is_server(words: list[str]) -> bool:
    return words[0] not in COMMANDS and "--version" not in words and "--help" not in words


def understand(words: list[str]) -> Settings:
    """What `--show-config` does with these words, without printing it."""
    reading = read_sources(words, {})
    return Settings.of(reading.given, reading.magic)


def test_the_pages_show_commands_at_all() -> None:
    assert len(LINES) > 60
    assert {line.where.partition(":")[0] for line in LINES} >= {*RUN_ELSEWHERE, "../README.md", "howto/routes.md"}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.where)
def test_a_shell_reads_a_line_as_it_stands(line: Line) -> None:
    alone = re.sub(r"'[^']*'", "''", line.text)
    assert "!" not in alone, f"an interactive shell replaces !… by an earlier command; put it into '…': {line.text}"
    patterns = re.sub(r'"[^"]*"|dist/fairlead-\*\.whl', '""', alone)
    assert not re.search(r"[*?\[]", patterns), f"a shell looks for files of that name: {line.text}"
    answer = subprocess.run(["bash", "-n"], input=line.text, text=True, capture_output=True)
    assert answer.returncode == 0, answer.stderr
    first = shlex.split(line.text, comments=True)[0]
    assert Path(first).name in {"fairlead", *OTHERS}, f"who is {first}?"


@pytest.mark.parametrize(
    "line, words", [(line, words) for line in LINES for words in own(line)], ids=lambda one: getattr(one, "where", "")
)
def test_fairlead_understands_a_command(
    line: Line, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(line.files, tmp_path)
    if words[0] in COMMANDS:
        with pytest.raises(FairleadError, match="/channels"):  # understood: what is missing is the instance
            COMMANDS[words[0]]([*words[1:-1], "text"] if words[-1] == "-" else words[1:])
    elif is_server(words) and f"{line.where.partition(':')[0]} {words[0]}" != REFUSED:
        understand([word for word in words if word != "--show-config"])


@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".md")])
def test_options_inside_sentences_exist_and_take_their_values(page: str) -> None:
    found = []
    for where, span in spans(page):
        if not re.match(r"--[a-z]", span) or page in NAMES_OF_OTHERS or "…" in span or span[-1] in ".?":
            continue
        name = re.match(r"--([\w-]+)", span)[1]  # type: ignore[index]
        if name in OTHER_OPTIONS:
            continue
        if name not in BY_NAME:
            found.append(f"{where}: there is no --{name}")
            continue
        words = shlex.split(span)
        if re.search(r"[*!]", re.sub(r"'[^']*'|\"[^\"]*\"", "", span)):
            found.append(f"{where}: a shell does not leave {span!r} as it is; put the value into '…'")
        if len(words) == 1 or any(re.fullmatch(r"[A-Z_]+|/[A-Z]+=\w+", word) for word in words[1:]):
            continue
        try:
            read_sources([word for word in words if word != "fairlead"], {})
        except SettingsError as error:
            found.append(f"{where}: {span!r}: {error}")
    assert not found, "\n".join(found)


def test_curl_speaks_http_2_as_the_page_shows(tmp_path: Path) -> None:
    (line,) = [line for line in lines("howto/http2.md") if line.text.startswith("curl ")]
    (tmp_path / "app.py").write_text(APP)
    with Server.start(tmp_path / "app.py") as server:
        words = shlex.split(line.text.replace("127.0.0.1:8080", server.host_header))
        answer = subprocess.run([*words, "--silent", "--write-out", " %{http_version}"], capture_output=True, text=True)
        assert answer.stdout == "served 2"


STARTED = [
    (line, words)
    for line in LINES
    for words in own(line)
    if line.where.partition(":")[0] not in RUN_ELSEWHERE | {"howto/django.md"}
    and is_server(words)
    and not line.where.startswith("../examples/")
]


@pytest.mark.parametrize("line, words", STARTED, ids=lambda one: getattr(one, "where", ""))
def test_a_command_starts_a_server(line: Line, words: list[str], tmp_path: Path) -> None:
    write({name: free(body) for name, body in line.files.items()}, tmp_path)
    if "app.py" not in line.files:
        (tmp_path / "app.py").write_text(APP)
    files = [str(tmp_path / word) if word.endswith(".ini") else word for word in words]
    serves(tmp_path, ["--chdir", str(tmp_path), *files])


CONFIGURATIONS = [
    one
    for page in PAGES
    if page.endswith(".md")
    for one in configurations_of_ours(page)
    if "; before.ini" not in one.text
]


@pytest.mark.parametrize("one", CONFIGURATIONS, ids=lambda one: one.where)
def test_a_configuration_file_starts_a_server(one: Line, tmp_path: Path) -> None:
    for name in re.findall(r"^wsgi-file = (.+)$", one.text, re.MULTILINE):
        (tmp_path / name).write_text(APP)
    (tmp_path / "one.ini").write_text(free(one.text))
    serves(tmp_path, ["--chdir", str(tmp_path), str(tmp_path / "one.ini")])


def free(text: str) -> str:
    """The addresses that are listened on, with a free port."""
    return re.sub(r"(--(?:http|socket) |^http = )(?:127\.0\.0\.1)?:80\d\d", r"\g<1>127.0.0.1:0", text, flags=re.M)


def serves(folder: Path, words: list[str]) -> None:
    """These options serve: an answer comes, or for an address of another protocol the server is ready."""
    server = Server.launch(*shlex.split(free(shlex.join(words))))
    try:
        server.wait_until_ready()
        if "--socket" not in words and "--http-to" not in words and "--http-enable-proxy-protocol" not in words:
            assert get(server, "/")[0] in (200, 404)
    finally:
        server.stop()


def in_units(text: str) -> float | None:
    """`32 KiB`, `75 s`, `240 bytes`, `off` as the number that a setting has."""
    found = re.match(r"(\d+) (s|bytes|KiB|MiB)\b", text)
    units = {"s": 1, "bytes": 1, "KiB": 1024, "MiB": 1024 * 1024}
    return int(found[1]) * units[found[2]] if found else 0 if text == "off" else None


def test_limits_on_the_page_are_the_defaults_of_their_settings() -> None:
    rows = [
        row.split(" | ") for row in re.findall(r"^\| (.*) \|$", text_of("explain/safe-by-default.md"), re.MULTILINE)
    ]
    limits = {cells[2]: in_units(cells[1]) for cells in rows if len(cells) == 5 and cells[2].startswith("`--")}
    wanted = {f"`--{name}`": about.default for name, about in BY_NAME.items() if type(about.default) in (int, float)}
    checked = {option: limit for option, limit in limits.items() if limit is not None and option in wanted}
    assert len(checked) >= 10
    assert checked == {option: wanted[option] for option in checked}
