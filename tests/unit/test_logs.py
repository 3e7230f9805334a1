"""Lines of the log: their form, their atomicity, and that a client cannot forge one."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime
from types import SimpleNamespace

import pytest
from fairlead.errors import MasterError
from fairlead.logs import AccessLog, Log, escaped, redirect_output


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def ended(code: int, reason: str, by: str, who: str, why: str) -> SimpleNamespace:
    return SimpleNamespace(code=code, reason=reason, by=by, who=who, why=why)


def written(pipe) -> str:
    return os.read(pipe[0], 65536).decode()


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        ("UTC0", 0.0, "1970-01-01 00:00:00.000+00:00"),
        ("UTC0", 1.9996, "1970-01-01 00:00:01.999+00:00"),
        ("XXX-5:45", 1_795_000_000.25, "2026-11-18 16:51:40.250+05:45"),
        ("XXX3:30", 7.007, "1969-12-31 20:30:07.007-03:30"),
    ],
)
def test_a_line_has_time_with_its_zone_process_and_level(pipe, monkeypatch, zone, moment, shown):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        Log(pipe[1], clock=lambda: moment).warning("text")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert written(pipe) == f"{shown} [{os.getpid()}] warning: text\n"
    assert datetime.fromisoformat(shown).utcoffset() is not None


def test_the_time_is_formatted_anew_each_second(pipe):
    times = iter([10.2, 10.9, 11.0])
    log = Log(pipe[1], clock=lambda: next(times))
    for _ in range(3):
        log.info("x")
    stamps = [line[17:23] for line in written(pipe).splitlines()]
    assert stamps == ["10.200", "10.900", "11.000"]


def test_requests_and_sessions_have_one_line_each(pipe):
    access = AccessLog(Log(pipe[1]))
    access.request("127.0.0.1", "GET", "/a?b", "HTTP/1.1", 200, 512, 0.00123)
    access.session("[::1]:5000", "/ws", 12.34, (3, 30, 48), (4, 40, 48), ended(1000, "", "peer", "client", ""))
    lines = [line.split("] ", 1)[1] for line in written(pipe).splitlines()]
    assert lines == [
        'request: 127.0.0.1 "GET /a?b HTTP/1.1" 200, 512 bytes in 1.2 ms',
        'session: [::1]:5000 "/ws" 101, 12.3 s, received 3 messages 30 bytes (48 on the wire), '
        "sent 4 messages 40 bytes (48 on the wire), closed 1000 by client",
    ]


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ((1000, "bye", "peer", "client", ""), 'closed 1000 "bye" by client'),
        ((4000, 'x"\n\x1b[2J é', "peer", "client", ""), 'closed 4000 "x\\"\\n\\x1b[2J \\xe9" by client'),
        ((1005, "", "peer", "client", ""), "closed 1005 by client"),
        ((1011, "", "local", "app", ""), "closed 1011 by app"),
        ((1012, "", "local", "server", "reload"), "closed 1012 by server: reload"),
        ((1002, "frame without a mask", "local", "server", "violation"),
         'closed 1002 "frame without a mask" by server: violation'),
        ((1006, "", "lost", "client", "no Close came"), "lost by client: no Close came"),
        ((1006, "", "lost", "server", "ping time-out"), "dropped by server: ping time-out"),
        ((1006, "", "lost", "app", ""), "dropped by app"),
        (None, "lost"),
    ],
)  # fmt: skip
def test_a_sessions_line_says_who_has_closed_and_why(pipe, end, shown):
    end = end and ended(*end)
    AccessLog(Log(pipe[1])).session("a", "/ws", 1.0, (0, 0, 0), (0, 0, 0), end)
    assert written(pipe).endswith(f"sent 0 messages 0 bytes (0 on the wire), {shown}\n")


@pytest.mark.parametrize("requests", [False, True])
@pytest.mark.parametrize("sessions", [False, True])
def test_lines_of_requests_and_of_sessions_are_switched_apart(pipe, requests, sessions):
    access = AccessLog(Log(pipe[1]), requests, sessions)
    access.request("a", "GET", "/", "HTTP/1.1", 200, 0, 0.0)
    access.session("a", "/ws", 1.0, (0, 0, 0), (0, 0, 0), None)
    os.write(pipe[1], b"end")
    text = written(pipe)
    assert ("request: " in text, "session: " in text) == (requests, sessions)


def test_a_line_that_is_wanted_is_written_although_the_access_log_is_disabled(pipe):
    access = AccessLog(Log(pipe[1]), False, False)
    access.request("a", "GET", "/", "HTTP/1.1", 200, 0, 0.0, always=True)
    access.session("a", "/ws", 1.0, (0, 0, 0), (0, 0, 0), None, always=True)
    assert len(written(pipe).splitlines()) == 2


def test_variables_of_the_app_stand_at_the_end_and_cannot_forge_a_line(pipe):
    access = AccessLog(Log(pipe[1]))
    variables = {b"user": b"joe", b"x": 'é" \n'.encode(), b"raw": b"\xff"}
    access.request("a", "GET", "/", "HTTP/1.1", 200, 0, 0.0, variables)
    access.session("a", "/ws", 1.0, (0, 0, 0), (0, 0, 0), None, {b"a b": b""})
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
