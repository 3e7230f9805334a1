"""The file of --logto while it is rotated: when it is opened anew, by whom, and what becomes of lines meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairlead.logs import Log
from fairlead.master.log_file import LOOK_EVERY_S, LogFile
from fairlead.master.privileges import Account
from fairlead.worker.output import OutputFile


@pytest.fixture(autouse=True)
def output(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Standard output and error are led elsewhere here."""
    kept = [os.dup(1), os.dup(2)]
    yield
    for number, fd in enumerate(kept, 1):
        os.dup2(fd, number)
        os.close(fd)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def opened(path: Path, log: Log) -> LogFile:
    return LogFile(str(path), Account.of(None, None), log, 0.0)


def test_a_file_that_keeps_its_name_is_left_alone(path: Path, log: Log) -> None:
    file = opened(path, log)
    log.info("one")
    assert [file.why_to_reopen(LOOK_EVERY_S * second) for second in range(1, 5)] == [""] * 4
    assert file.reopen("SIGUSR1") is None
    log.info("two")
    assert len(path.read_text().splitlines()) == 2


def test_a_look_costs_nothing_before_it_is_due(path: Path, log: Log) -> None:
    file = opened(path, log)
    path.rename(path.with_name("log.1"))
    path.touch()
    assert file.why_to_reopen(LOOK_EVERY_S / 2) == ""
    assert file.why_to_reopen(LOOK_EVERY_S) == "another file has its name"


def test_no_line_is_lost_when_the_file_is_renamed(path: Path, log: Log) -> None:
    file = opened(path, log)
    log.info("before")
    old = path.rename(path.with_name("log.1"))
    log.info("meanwhile")
    command = file.reopen("SIGUSR1")
    log.info("after")
    about = path.stat()
    assert command == {"command": "log", "path": str(path), "file": (about.st_dev, about.st_ino)}
    assert [line.split(": ", 1)[1] for line in old.read_text().splitlines()] == ["before", "meanwhile"]
    new = [line.split(": ", 1)[1] for line in path.read_text().splitlines()]
    assert new == [f"--logto {path} was opened anew: SIGUSR1", "after"]


def test_a_name_that_is_free_is_taken_at_the_second_look_only(path: Path, log: Log) -> None:
    """logrotate's `create` makes the file in the moment after it has renamed the old one."""
    file = opened(path, log)
    path.unlink()
    assert file.why_to_reopen(LOOK_EVERY_S) == ""
    assert file.why_to_reopen(LOOK_EVERY_S * 2) == "it was renamed or removed"
    path.touch()
    assert file.why_to_reopen(LOOK_EVERY_S * 3) == "another file has its name"


def test_a_file_that_cannot_be_opened_anew_is_said_once_and_the_old_one_stays_in_use(path: Path, log: Log) -> None:
    file = opened(path, log)
    old = path.rename(path.with_name("log.1"))
    path.mkdir()
    assert file.reopen("SIGUSR1") is None and file.reopen("SIGUSR1") is None
    log.info("goes on")
    first, second = old.read_text().splitlines()
    assert f"error: --logto {path} cannot be opened anew: is a directory; lines go to the old file still." in first
    assert second.endswith("info: goes on")
    path.rmdir()
    assert file.reopen("SIGUSR1") is not None


def test_a_fifo_in_its_place_holds_nobody_up(path: Path, log: Log) -> None:
    file = opened(path, log)
    path.unlink()
    os.mkfifo(path)
    assert file.reopen("SIGUSR1") is None
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert file.reopen("SIGUSR1") is None
    os.close(reader)


def test_what_is_no_file_is_not_looked_at(log: Log) -> None:
    file = opened(Path(os.devnull), log)
    assert file.due_at == float("inf") and file.why_to_reopen(1e9) == ""
    assert file.reopen("SIGUSR1") is None


def worker(path: Path) -> OutputFile:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    return OutputFile()


def file_of(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino


def test_a_worker_follows_again_and_again(path: Path) -> None:
    output = worker(path)
    for number in (1, 2):
        path.rename(path.with_name(f"log.{number}"))
        path.touch()
        output.follow(str(path), file_of(path))
        os.write(1, b"out\n")
        os.write(2, b"err\n")
        assert path.read_text() == "out\nerr\n"
    assert os.get_inheritable(1) and os.get_inheritable(2)


def test_a_worker_takes_no_other_file_than_the_masters(path: Path) -> None:
    output = worker(path)
    old = path.rename(path.with_name("log.1"))
    path.touch()
    others = file_of(path)
    path.rename(path.with_name("the masters"))
    path.symlink_to("/dev/null")  # somebody who may write there has led it elsewhere
    output.follow(str(path), others)
    os.write(2, b"here\n")
    assert old.read_text() == "here\n"
    path.unlink()
    path.with_name("the masters").rename(path)
    output.follow(str(path), others)
    os.write(2, b"there\n")
    assert path.read_text() == "there\n"


def test_what_an_application_has_led_elsewhere_is_left_alone(path: Path) -> None:
    output = worker(path)
    own = path.with_name("own")
    fd = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(fd, 1)
    os.close(fd)
    path.rename(path.with_name("log.1"))
    path.touch()
    output.follow(str(path), file_of(path))
    os.write(1, b"out\n")
    os.write(2, b"err\n")
    assert (own.read_text(), path.read_text()) == ("out\n", "err\n")
