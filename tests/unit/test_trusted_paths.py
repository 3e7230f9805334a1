"""What root opens for the operator, and what another user can make of the way there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fairlead.errors import MasterError
from fairlead.master.certificates import Certificates
from fairlead.master.listeners import bind_all
from fairlead.master.privileges import Account
from fairlead.master.region_owner import bind_server
from fairlead.master.trusted_paths import ForeignLink, open_by_root
from fairlead.settings.options import Given, Settings

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be led elsewhere")

NOBODY, OTHER = 65534, 54321


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """`secret` is root's own, `theirs` the folder of another user, all else lies in root's."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            os.chmod(folder, folder.stat().st_mode | 0o011)
    (tmp_path / "secret").write_text("root's own")
    os.chmod(tmp_path / "secret", 0o600)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("theirs")
    (theirs / "deeper").mkdir()
    (theirs / "deeper" / "file").write_text("deeper")
    for one in (theirs, *theirs.rglob("*")):
        os.chown(one, NOBODY, NOBODY)
    return tmp_path


def link(place: Path, name: str, target: str | Path, owner: int = 0) -> Path:
    made = place / name
    made.symlink_to(target)
    os.chown(made, owner, owner, follow_symlinks=False)
    return made


def read(path: str | Path) -> str:
    with open(open_by_root(str(path), os.O_RDONLY), encoding="ascii") as file:
        return file.read()


def test_what_the_operator_names_is_read_whosever_folder_it_lies_in(place: Path) -> None:
    assert read(place / "secret") == "root's own"
    assert read(place / "theirs" / "file") == "theirs"
    assert read(place / "theirs" / "deeper" / "file") == "deeper"


def test_roots_own_links_are_followed_as_certbot_makes_them(place: Path) -> None:
    (place / "archive").mkdir()
    (place / "live").mkdir()
    (place / "archive" / "key7.pem").write_text("key")
    link(place, "live/key.pem", "../archive/key7.pem")
    link(place, "newest", place / "live")
    link(place, "lib", "theirs")
    assert read(place / "live" / "key.pem") == "key"
    assert read(place / "newest" / "key.pem") == "key"
    # From root's link into a folder of somebody else's.
    assert read(place / "lib" / "file") == "theirs"
    assert read(place / "lib" / "deeper" / ".." / "file") == "theirs"


@pytest.mark.parametrize("target", ["../secret", "/etc/shadow", "deeper/file"])
@pytest.mark.parametrize("owner", [NOBODY, 0])
def test_no_link_in_somebody_elses_folder_is_followed(place: Path, target: str, owner: int) -> None:
    path = link(place, "theirs/link", target, owner)
    with pytest.raises(ForeignLink):
        read(path)


def test_nor_one_that_stands_for_a_folder_on_the_way(place: Path) -> None:
    link(place, "theirs/link", place, NOBODY)
    with pytest.raises(ForeignLink):
        read(place / "theirs" / "link" / "secret")


@pytest.mark.parametrize("owner", [OTHER, 0])
def test_in_a_folder_of_roots_in_which_a_group_may_write_its_links_are_not_followed(place: Path, owner: int) -> None:
    groups = place / "groups"
    groups.mkdir()
    os.chown(groups, 0, OTHER)
    os.chmod(groups, 0o775)
    path = link(place, "groups/link", "../secret", owner)
    if owner:
        with pytest.raises(ForeignLink):
            read(path)
    else:
        assert read(path) == "root's own"


def test_in_a_folder_of_everybodys_roots_links_count_only_where_nobody_can_replace_them(place: Path) -> None:
    shared = place / "shared"
    shared.mkdir()
    os.chmod(shared, 0o1777)
    assert read(link(place, "shared/link", "../secret")) == "root's own"
    os.chmod(shared, 0o777)
    with pytest.raises(ForeignLink):
        read(shared / "link")


def test_a_second_name_of_roots_file_in_somebody_elses_folder_is_not_read(place: Path) -> None:
    os.link(place / "secret", place / "theirs" / "hard")
    with pytest.raises(ForeignLink, match="second name"):
        read(place / "theirs" / "hard")
    os.link(place / "theirs" / "file", place / "theirs" / "own")
    assert read(place / "theirs" / "own") == "theirs"


@pytest.mark.timeout(10)
def test_a_fifo_of_somebody_elses_holds_root_not_up(place: Path) -> None:
    os.mkfifo(place / "theirs" / "fifo")
    with pytest.raises(OSError, match="no regular file"):
        read(place / "theirs" / "fifo")


def test_links_that_lead_in_a_circle_have_an_end(place: Path) -> None:
    link(place, "a", "b")
    link(place, "b", "a")
    with pytest.raises(OSError):
        read(place / "a")


def test_root_writes_through_no_link_either(place: Path) -> None:
    link(place, "theirs/link", place, NOBODY)
    with pytest.raises(ForeignLink):
        open_by_root(str(place / "theirs" / "link" / "secret"), os.O_WRONLY | os.O_CREAT)
    os.close(open_by_root(str(place / "theirs" / "new"), os.O_WRONLY | os.O_CREAT, 0o640))
    assert (place / "theirs" / "new").stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError):
        open_by_root(str(place / "none" / "new"), os.O_WRONLY | os.O_CREAT)


def settings(*pairs: tuple[str, str]) -> Settings:
    always = [("wsgi-file", "a.py"), ("http", "127.0.0.1:0")]
    return Settings.of(Given(name, value, "test") for name, value in [*always, *pairs])


def certificate(path: Path, account: Account) -> None:
    listeners = bind_all(settings(("https", f"127.0.0.1:0,{path},{path}")))
    try:
        Certificates(listeners, None, 0.0, account.open_to_read).close()  # type: ignore[arg-type]
    finally:
        for listener in listeners:
            listener.close()


def token(path: Path, account: Account) -> None:
    given = settings(("channels-http", "127.0.0.1:0"), ("channels-http-token-file", str(path)))
    for listener in bind_server(given, account)[0]:
        listener.close()


@pytest.mark.parametrize("use", [certificate, token])
@pytest.mark.parametrize("uid", [None, NOBODY])
def test_no_key_certificate_or_token_leads_root_to_another_file(
    place: Path, use: Callable[[Path, Account], None], uid: int | None
) -> None:
    account = Account.of(uid, None)
    (place / "secret").write_text("word")
    path = link(place, "theirs/link", "../secret", NOBODY)
    why = "permission denied" if uid else "a link on the way is another user's, who could lead it elsewhere"
    with pytest.raises(MasterError, match=re.escape(f"{path} cannot be read: {why}")):
        use(path, account)
    use(place / "secret", account)  # root's alone, and read before the drop
    os.chmod(place / "secret", 0o644)
    if uid:
        use(path, account)  # what the user may read, its link may lead to
    assert os.geteuid() == 0


def test_who_is_not_root_opens_as_ever(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    path = link(place, "theirs/link", "../secret", NOBODY)
    os.close(Account.of(None, None).open_to_read(str(path)))
