"""What the master prepares for the channels: addresses that belong to whom the workers run as, and the token."""

from __future__ import annotations

import os
import stat

import pytest
from fairlead.errors import MasterError
from fairlead.logs import Log
from fairlead.master.privileges import Account
from fairlead.master.region_owner import RegionOwner, bind_server
from fairlead.settings.options import Given, Settings

US = Account.of(None, None)


def settings(*pairs: tuple[str, str]) -> Settings:
    always = [("wsgi-file", "a.py"), ("http", "127.0.0.1:0")]
    return Settings.of(Given(name, value, "test") for name, value in [*always, *pairs])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("pairs", "owner"),
    [
        ([], (0, 0)),
        ([("uid", "65534")], (65534, 65534)),  # with the user's own group
        ([("uid", "65534"), ("gid", "1")], (65534, 1)),
        ([("gid", "65534")], (0, 65534)),
    ],
)
def test_the_socket_belongs_to_whom_the_workers_run_as(tmp_path, pairs, owner):
    path = str(tmp_path / "server")
    given = settings(("channels-socket", path), *pairs)
    (listener,), _ = bind_server(given, Account.of(given.uid, given.gid))
    about = os.stat(path)
    listener.close()
    assert (about.st_uid, about.st_gid) == owner and stat.S_IMODE(about.st_mode) == 0o600
    assert not os.path.exists(path)


def test_no_address_is_left_behind_when_another_cannot_be_had(tmp_path):
    path, token = str(tmp_path / "server"), tmp_path / "token"
    token.write_text("s3cret")
    with pytest.raises(MasterError, match="--channels-http"):
        bind_server(
            settings(
                ("channels-socket", path), ("channels-http", "192.0.2.1:1"), ("channels-http-token-file", str(token))
            ),
            US,
        )
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    ("text", "token"), [(b"s3cret", b"s3cret"), (b"\n s3cret \r\n", b"s3cret"), (b"x" * 1024, b"x" * 1024)]
)
def test_the_token_is_the_word_in_its_file(tmp_path, text, token):
    (tmp_path / "token").write_bytes(text)
    (listener,), found = bind_server(
        settings(("channels-http", "127.0.0.1:0"), ("channels-http-token-file", str(tmp_path / "token"))), US
    )
    listener.close()
    assert found == token


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"two words", "no token"),
        (b"\xff", "no token"),
        (b"x" * 1025, "no token"),
    ],
)
def test_a_file_without_a_token_is_refused(tmp_path, text, part):
    (tmp_path / "token").write_bytes(text)
    with pytest.raises(MasterError, match=part):
        bind_server(
            settings(("channels-http", "127.0.0.1:0"), ("channels-http-token-file", str(tmp_path / "token"))), US
        )


def test_more_processes_than_a_reload_has_places_for_are_refused():
    RegionOwner(settings(("processes", "112")), Log()).make()
    with pytest.raises(MasterError) as refused:
        RegionOwner(settings(("processes", "113")), Log()).make()
    assert str(refused.value).startswith("--processes 113 is more than 112: the channels have places for 128 processes")
