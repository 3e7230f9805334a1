"""Lines of the log: their form, their atomicity, and that a client cannot forge one."""

from __future__ import annotations

import os
import re

import pytest
from fairlead.errors import MasterError
from fairlead.logs import AccessLog, Log, escaped, redirect_output


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def written(pipe) -> str:
    return os.read(pipe[0], 65536).decode()


def test_a_line_has_time_process_and_level(pipe):
    Log(pipe[1], clock=lambda: 0.0).warning("text")
    assert re.fullmatch(rf"(1969-12-31|1970-01-01) \d\d:\d\d:\d\d \[{os.getpid()}\] warning: text\n", written(pipe))


def test_the_time_is_formatted_anew_each_second(pipe):
    times = iter([10.2, 10.9, 11.0])
    log = Log(pipe[1], clock=lambda: next(times))
    for _ in range(3):
        log.info("x")
    stamps = [line[:19] for line in written(pipe).splitlines()]
    assert stamps[0] == stamps[1] != stamps[2]


def test_requests_and_sessions_have_one_line_each(pipe):
    access = AccessLog(Log(pipe[1]))
    access.request("127.0.0.1", "GET", "/a?b", "HTTP/1.1", 200, 512, 0.00123)
    access.session("::1", "/ws", 12.34, (3, 30), (4, 40), 1000, "peer")
    access.session("::1", "/ws", 1.0, (0, 0), (0, 0), 1006, "lost")
    lines = [line.split("] ", 1)[1] for line in written(pipe).splitlines()]
    assert lines == [
        'request: 127.0.0.1 "GET /a?b HTTP/1.1" 200, 512 bytes in 1.2 ms',
        'session: ::1 "/ws" 101, 12.3 s, received 3 messages 30 bytes, sent 4 messages 40 bytes, closed 1000 by peer',
        'session: ::1 "/ws" 101, 1.0 s, received 0 messages 0 bytes, sent 0 messages 0 bytes, lost',
    ]


def test_a_disabled_access_log_writes_nothing(pipe):
    access = AccessLog(Log(pipe[1]), enabled=False)
    access.request("a", "GET", "/", "HTTP/1.1", 200, 0, 0.0)
    os.write(pipe[1], b"end")
    assert written(pipe) == "end"


def test_a_line_that_is_wanted_is_written_although_the_access_log_is_disabled(pipe):
    access = AccessLog(Log(pipe[1]), enabled=False)
    access.request("a", "GET", "/", "HTTP/1.1", 200, 0, 0.0, always=True)
    access.session("a", "/ws", 1.0, (0, 0), (0, 0), 1006, "lost", always=True)
    assert len(written(pipe).splitlines()) == 2


def test_variables_of_the_app_stand_at_the_end_and_cannot_forge_a_line(pipe):
    access = AccessLog(Log(pipe[1]))
    variables = {b"user": b"joe", b"x": 'é" \n'.encode(), b"raw": b"\xff"}
    access.request("a", "GET", "/", "HTTP/1.1", 200, 0, 0.0, variables)
    access.session("a", "/ws", 1.0, (0, 0), (0, 0), 1006, "lost", {b"a b": b""})
    first, second = written(pipe).splitlines()
    assert first.endswith(' in 0.0 ms, user="joe", x="\\xe9\\" \\n", raw="\\udcff"')
    assert second.endswith(', lost, a b=""')


@pytest.mark.parametrize(
    "text, shown",
    [
        ("/plain", "/plain"),
        ('/"', '/\\"'),
        ("/a\nb\r", "/a\\nb\\r"),
        ("/\\n", "/\\\\n"),
        ("/é\x1b", "/\\xe9\\x1b"),
    ],
)
def test_a_client_cannot_forge_a_line(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize(
    "text, shown",
    [
        ("tab\tand 日本\u3000語 and 👩\u200d🚀", "tab\tand 日本\u3000語 and 👩\u200d🚀"),
        ("one\n2026-11-30 12:00:00 [1] info: two\n", "one\n\t2026-11-30 12:00:00 [1] info: two"),
        ("one\r\ntwo\rthree", "one\n\ttwo\\rthree"),
        ("\x1b[2J\x07\x00\x7f\x9b1m", "\\x1b[2J\\x07\\x00\\x7f\\x9b1m"),
        ("a\x0b\x0c\x1c\x85\u2028\u2029b", "a\\x0b\\x0c\\x1c\\x85\\u2028\\u2029b"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_a_record_is_one_line_or_its_further_lines_are_marked(pipe, text, shown):
    Log(pipe[1]).info(text)
    assert written(pipe).partition("] info: ")[2] == shown + "\n"


def test_an_exceptions_text_cannot_forge_a_record(pipe):
    Log(pipe[1]).exception("raised", ValueError("x\n2026-11-30 12:00:00 [1] info: forged"))
    first, *rest = written(pipe).splitlines()
    assert first.endswith("error: raised") and rest and all(line.startswith("\t") for line in rest)


def test_an_exception_brings_its_hint_and_traceback(pipe):
    log = Log(pipe[1])
    try:
        exec("uwsgi.version")
    except NameError as error:
        log.exception("the app raised NameError", error)
    text = written(pipe)
    assert "error: the app raised NameError (add `import uwsgi` at the top of the file)\n\tTraceback" in text
    assert text.endswith("\n\tNameError: name 'uwsgi' is not defined\n")


def test_a_record_has_a_limit_and_says_what_was_cut(pipe):
    log = Log(pipe[1])
    log.info("<" + "x" * 40_000_000 + ">")
    first = written(pipe).rstrip("\n")
    assert len(first) < 33_000 and first.endswith("x>")
    assert re.search(r"info: <x+ \[… 39967234 characters cut …\] x+>$", first)
    log.exception("the app raised ValueError", ValueError("y" * 40_000_000 + " at the end"))
    rest = written(pipe)
    assert len(rest) < 33_000 and rest.endswith("y at the end\n") and "characters cut" in rest


def test_a_closed_log_stops_nobody():
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    Log(writer).info("lost")


def test_a_log_file_that_cannot_be_opened_is_told():
    with pytest.raises(MasterError, match=r"--logto /nope/x cannot be opened: no such file or directory\."):
        redirect_output("/nope/x")
