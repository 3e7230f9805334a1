"""Reading certificates, seeing that they change, and which set is kept; what is in them nobody here can tell."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fairlead.errors import MasterError
from fairlead.master.certificates import Certificates
from fairlead.master.listeners import Listener, bind_all
from fairlead.settings.options import Given, Settings


class Told:
    """A log, and a worker, that keep what they are told."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.infos: list[str] = []
        self.sent: list[dict] = []

    def error(self, text: str) -> None:
        self.errors.append(text)

    def info(self, text: str) -> None:
        self.infos.append(text)

    def send(self, message: dict) -> None:
        self.sent.append(message)


@pytest.fixture
def listeners(tmp_path: Path):
    for name in ("a.crt", "a.key"):
        (tmp_path / name).write_text(f"first {name}")
    given = [
        ("wsgi-file", "a.py"),
        ("http", "127.0.0.1:0"),
        ("https", f"127.0.0.1:0,{tmp_path}/a.crt,{tmp_path}/a.key"),
    ]
    made = bind_all(Settings.of(Given(name, value, "test") for name, value in given))
    yield made
    for listener in made:
        listener.close()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def certificates(listeners: list[Listener], told: Told):
    made = Certificates(listeners, told, 0.0)  # type: ignore[arg-type]
    yield made
    made.close()


def content(certificates: Certificates, place: tuple[int, int]) -> str:
    plain = json.loads(os.pread(certificates.fd, place[1], place[0]))
    assert plain[0] is None, "the listener of --http"
    return plain[1]["certificates"][0][0][1]


def change(path: Path, text: str, at: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(at, at))


def test_without_tls_nothing_is_read_and_nothing_is_due():
    certificates = Certificates([], None, 0.0)  # type: ignore[arg-type]
    assert certificates.for_worker() is None and certificates.due_at == []
    certificates.renew([])


def test_a_worker_is_told_where_the_files_lie(certificates):
    about = certificates.for_worker()
    assert about["is_first"] and about["fallback"] is None
    assert content(certificates, about["latest"]) == "first a.crt"


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(listeners, tmp_path, told):
    (tmp_path / "a.key").unlink()
    with pytest.raises(MasterError, match=r"^--https .*a\.key cannot be read: no such file or directory; check"):
        Certificates(listeners, told, 0.0)


def test_a_change_is_taken_when_the_files_have_come_to_rest(certificates, tmp_path, told):
    first = certificates.for_worker()["latest"]
    certificates.on_message({"at": list(first), "refused": ""})
    change(tmp_path / "a.crt", "second a.crt", 1)
    certificates.on_time(1.0, [told])
    change(tmp_path / "a.key", "second a.key", 2)
    certificates.on_time(2.0, [told])
    assert told.sent == [], "one of them has just changed"
    certificates.on_time(2.5, [told])
    assert told.sent == [], "it is not time to look"
    certificates.on_time(3.0, [told])
    (message,) = told.sent
    assert content(certificates, message["latest"]) == "second a.crt"
    assert content(certificates, first) == "first a.crt", "what was said before stays where it is"
    about = certificates.for_worker()
    assert (about["latest"], about["fallback"], about["is_first"]) == (message["latest"], first, False)
    certificates.on_message({"at": list(message["latest"]), "refused": ""})
    assert told.infos == ["new certificates are in use"]
    assert certificates.for_worker()["fallback"] is None


def test_a_set_that_is_refused_is_given_to_nobody_else(certificates, tmp_path, told):
    first = certificates.for_worker()["latest"]
    certificates.on_message({"at": list(first), "refused": ""})
    change(tmp_path / "a.crt", "broken", 1)
    certificates.renew([told])
    second = told.sent[-1]["latest"]
    for _ in range(3):  # as many workers
        certificates.on_message({"at": list(second), "refused": "it is broken."})
    assert told.errors == ["the old certificates stay in use: it is broken."]
    assert certificates.for_worker()["latest"] == first
    certificates.renew([told])
    assert len(told.sent) == 1, "the same files again are no news"
    change(tmp_path / "a.crt", "mended", 2)
    certificates.renew([told])
    assert content(certificates, told.sent[-1]["latest"]) == "mended"
    assert content(certificates, first) == "first a.crt"


def test_files_that_vanish_leave_the_old_set_in_use(certificates, tmp_path, told):
    (tmp_path / "a.crt").unlink()
    certificates.renew([told])
    assert "the old certificates stay in use: " in told.errors[0] and "a.crt cannot be read" in told.errors[0]
    assert told.sent == []


def test_workers_are_told_when_the_keys_of_session_tickets_change(certificates, told):
    place = certificates.for_worker()["ticket_keys"]["at"]
    before = os.pread(certificates.fd, place[1], place[0])
    due_at = max(certificates.due_at)
    certificates.on_time(due_at - 1, [told])
    assert told.sent == []
    certificates.on_time(due_at, [told])
    assert told.sent == [{"command": "ticket_keys"}], "and no key"
    assert os.pread(certificates.fd, place[1], place[0]) != before
    assert content(certificates, certificates.for_worker()["latest"]) == "first a.crt"
    assert max(certificates.due_at) > due_at
