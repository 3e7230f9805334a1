"""Lines of the log leave without anybody waiting, whatever kind of file takes them, and lost ones are counted."""

from __future__ import annotations

import errno
import os
import pty
import re
import resource
import signal
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fairlead import log_writer
from fairlead.log_writer import LogWriter

LINE = b"x" * 999 + b"\n"


def lost_line(count: int) -> bytes:
    return b"%d lost\n" % count


def read_until(fd: int, end: bytes) -> bytes:
    got = b""
    while end not in got:
        data = os.read(fd, 65536)
        assert data, got[-200:]
        got += data
    return got


def pipe() -> tuple[int, int]:
    return os.pipe()


def stream() -> tuple[int, int]:
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


def terminal() -> tuple[int, int]:
    reader, writer = pty.openpty()
    tty.setraw(writer)  # else it makes CR LF of LF
    return reader, writer


def as_on_older_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "pwritev", refuse)


def as_after_a_drop_of_privileges(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_older_kernels(monkeypatch)

    def refuse(*args: Any) -> int:
        raise PermissionError(errno.EACCES, "permission denied")

    monkeypatch.setattr(log_writer, "os", Others(os, open=refuse))


class Others:
    """A module with some names replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self.__dict__.update(vars(module), **names)


def as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


WAYS = [as_here, as_on_older_kernels, as_after_a_drop_of_privileges]


@pytest.fixture(params=[pipe, stream, terminal], ids=lambda make: make.__name__)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    reader, writer = request.param()
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.timeout(20)
def test_nobody_waits_for_a_reader_and_what_is_lost_is_counted(ends, way, monkeypatch):
    reader, writer = ends
    way(monkeypatch)
    monkeypatch.setattr(log_writer, "MOST_BYTES", 200_000)  # a terminal is slow
    log = LogWriter(writer, lost_line)
    count = 2200  # with what the kernel's buffers hold
    for _ in range(count):
        log.put(LINE)
    log.finish(0.0)
    got = read_until(reader, b"lost\n")
    *lines, last, rest = got.split(b"\n")
    assert rest == b"" and set(lines) == {LINE[:-1]}
    lost = int(re.fullmatch(rb"(\d+) lost", last)[1])
    assert lost > 0 and len(lines) + lost == count
    log.put(b"and on\n")
    read_until(reader, b"and on")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_reader_that_keeps_up_gets_all_lines_of_all_threads_in_order(way, monkeypatch):
    reader, writer = os.pipe()
    way(monkeypatch)
    log = LogWriter(writer, lost_line)

    def write(name: bytes) -> None:
        for number in range(200):
            log.put(b"%s %d\n" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.finish(15.0)
    log.put(b"end\n")
    lines = read_until(reader, b"end\n").splitlines()
    for name in (b"a", b"b", b"c"):
        assert [line for line in lines if line.startswith(name)] == [b"%s %d" % (name, number) for number in range(200)]
    os.close(reader)
    os.close(writer)


def test_a_line_is_in_the_log_before_the_call_returns(ends):
    reader, writer = ends
    os.set_blocking(reader, False)
    LogWriter(writer, lost_line).put(b"here\n")
    assert os.read(reader, 100).strip() == b"here"


def test_a_signal_handler_may_log_at_any_moment():
    reader, writer = os.pipe()
    log = LogWriter(writer, lost_line)
    before = signal.signal(signal.SIGALRM, lambda *_: log.put(b"handler\n"))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    drain = threading.Thread(target=read_until, args=(reader, b"end\n"))
    drain.start()
    try:
        for _ in range(5000):
            log.put(b"line\n")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    log.finish(15.0)
    log.put(b"end\n")
    drain.join(15)
    assert not drain.is_alive()
    os.close(reader)
    os.close(writer)


def test_errors_stop_nobody_and_are_counted_once_it_goes_on(tmp_path):
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    full = os.open("/dev/full", os.O_WRONLY)
    spare = os.dup(fd)
    log = LogWriter(fd, lost_line)
    os.dup2(full, fd)
    log.look()
    for _ in range(3):
        log.put(LINE)
    os.dup2(spare, fd)
    log.look()
    log.put(b"again\n")
    assert (tmp_path / "log").read_bytes() == b"3 lost\nagain\n"
    for one in (fd, full, spare):
        os.close(one)


def test_a_line_that_the_full_disk_has_cut_off_does_not_run_into_the_next_one(tmp_path):
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = LogWriter(fd, lost_line)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a disk that is full: write(2) takes what there is room for, and then fails (SIGXFSZ is ignored in Python).
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
    try:
        for _ in range(4):
            log.put(LINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.put(b"again\n")
    log.put(b"and again\n")
    assert (tmp_path / "log").read_bytes() == LINE + LINE[:500] + b"\n3 lost\nagain\nand again\n"
    os.close(fd)


@pytest.mark.parametrize("make", [pipe, stream], ids=lambda make: make.__name__)
def test_a_reader_that_has_gone_stops_nobody_and_the_next_one_is_told_how_many_are_lost(make):
    reader, writer = make()
    log = LogWriter(writer, lost_line)
    log.put(b"before\n")
    os.close(reader)
    for _ in range(5):
        log.put(LINE)
    reader, other = make()
    os.dup2(other, writer)
    log.look()
    log.put(b"again\n")
    log.finish(15.0)
    assert read_until(reader, b"again\n") == b"5 lost\nagain\n"
    for fd in (reader, writer, other):
        os.close(fd)


@pytest.mark.timeout(20)
def test_a_reader_that_goes_while_lines_wait_for_it_ends_the_wait():
    reader, writer = os.pipe()
    log = LogWriter(writer, lost_line)
    count = 200
    for _ in range(count):
        log.put(LINE)
    assert log._waiting, "the pipe holds 64 KiB"
    os.close(reader)
    log.finish(15.0)
    assert not any(isinstance(one, bytes) for one in log._waiting)
    reader, other = os.pipe()
    os.dup2(other, writer)
    log.look()
    log.put(b"again\n")
    log.finish(15.0)
    found = read_until(reader, b"again\n")
    lost = int(re.fullmatch(rb"\n?(\d+) lost\nagain\n", found)[1])
    assert count - 66 <= lost < count
    for fd in (reader, writer, other):
        os.close(fd)


def test_it_follows_a_descriptor_that_is_led_elsewhere(ends, tmp_path, monkeypatch):
    reader, writer = ends
    monkeypatch.setattr(log_writer, "LOOK_EVERY_S", 0.0)
    as_on_older_kernels(monkeypatch)
    log = LogWriter(writer, lost_line)
    log.put(b"there\n")
    log.finish(15.0)
    with open(tmp_path / "log", "ab") as file:
        os.dup2(file.fileno(), writer)
    log.put(b"here\n")
    log.finish(15.0)
    assert (tmp_path / "log").read_bytes() == b"here\n"
    assert os.read(reader, 100).strip() == b"there"


def test_a_descriptor_that_the_app_closed_and_gave_to_a_client_gets_no_line(monkeypatch):
    reader, writer = os.pipe()
    as_on_older_kernels(monkeypatch)
    log = LogWriter(writer, lost_line)
    log.put(b"one\n")
    client, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), log._copy)
    log.put(b"two\n")
    log.finish(15.0)
    assert read_until(reader, b"two\n") == b"one\ntwo\n"
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    for one in (client, theirs):
        one.close()
    for fd in (reader, writer, log._copy if log._copy != -1 else os.dup(0)):
        os.close(fd)


def test_a_forked_child_logs_while_the_parent_waits_for_its_reader():
    reader, writer = os.pipe()
    log = LogWriter(writer, lost_line)
    for _ in range(200):
        log.put(LINE)
    pid = os.fork()
    if pid == 0:
        log.put(b"child\n")
        log.finish(15.0)
        os._exit(0)
    got = read_until(reader, b"child\n")
    assert os.waitpid(pid, 0)[1] == 0
    log.put(b"end\n")
    got += read_until(reader, b"end\n")
    assert got.count(LINE) == 200 and got.count(b"child\n") == 1
    os.close(reader)
    os.close(writer)


def test_without_a_thread_the_next_line_tries_again(monkeypatch: pytest.MonkeyPatch):
    def refuse(work: Callable[[], object], name: str) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(log_writer, "start_thread", refuse)
    reader, writer = os.pipe()
    log = LogWriter(writer, lost_line)
    for _ in range(100):
        log.put(LINE)
    read_until(reader, LINE * 10)
    log.put(b"end\n")
    assert b"end" in read_until(reader, b"end\n")
    os.close(reader)
    os.close(writer)
