"""Binding: every kind of address, stale socket files, and the sentence for each failure."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from fairlead.errors import MasterError, SettingsError
from fairlead.master.listeners import bind_all
from fairlead.settings.options import Given, Settings


def settings(*pairs: tuple[str, str]) -> Settings:
    return Settings.of(Given(name, value, "test") for name, value in [("wsgi-file", "a.py"), *pairs])


@pytest.fixture
def bound():
    """Bind, and close at the end."""
    open_listeners = []

    def bind(*pairs: tuple[str, str]):
        made = bind_all(settings(*pairs))
        open_listeners.extend(made)
        return made

    yield bind
    for listener in open_listeners:
        listener.close()


def refusal(*pairs: tuple[str, str]) -> str:
    with pytest.raises(MasterError) as caught:
        bind_all(settings(*pairs))
    return str(caught.value)


def test_tcp_listeners_know_the_port_they_got(bound):
    http, other = bound(("http", "127.0.0.1:0"), ("http-socket", ":0"))
    port = http.socket.getsockname()[1]
    assert (http.kind, http.bound, http.url) == ("http", f"127.0.0.1:{port}", f"http://127.0.0.1:{port}")
    assert other.kind == "http-socket" and other.url.endswith(" (all interfaces)")
    socket.create_connection(("127.0.0.1", port)).close()


def test_the_uwsgi_protocol_is_named_in_the_address(bound, tmp_path):
    path = str(tmp_path / "s")
    options = [("http-socket", "127.0.0.1:0"), ("uwsgi-socket", ":0"), ("socket", path), ("socket", "127.0.0.1:0")]
    http, unix, tcp, everywhere = bound(*options)
    assert [one.kind for one in (http, unix, tcp, everywhere)] == ["http-socket", "socket", "socket", "uwsgi-socket"]
    assert (unix.url, tcp.url) == (f"unix:{path} (uwsgi)", f"uwsgi://{tcp.bound}")
    assert everywhere.url.startswith("uwsgi://localhost:") and everywhere.url.endswith(" (all interfaces)")


def test_protocol_http_makes_socket_another_http_socket(bound):
    one, other = bound(("socket", "127.0.0.1:0"), ("uwsgi-socket", "127.0.0.1:0"), ("protocol", "http"))
    assert (one.kind, one.url) == ("http-socket", f"http://{one.bound}")
    assert other.kind == "uwsgi-socket"


def test_ipv6_takes_both_families(bound):
    try:
        (listener,) = bound(("http", "[::]:0"))
    except MasterError:
        pytest.skip("this machine has no IPv6")
    port = listener.socket.getsockname()[1]
    assert listener.bound == f"[::]:{port}"
    socket.create_connection(("127.0.0.1", port)).close()


def test_unix_and_abstract_sockets_accept(bound, tmp_path):
    path = str(tmp_path / "s")
    for listener, target in zip(bound(("http", path), ("http", f"@{path}")), (path, f"\0{path}")):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(target)
        assert listener.bound == listener.address.text


def test_a_stale_socket_file_is_replaced_and_a_living_one_is_not(bound, tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    bound(("http", path))
    assert "another process already listens there" in refusal(("http", path))


def test_only_our_own_socket_file_is_removed(tmp_path):
    path = tmp_path / "s"
    (listener,) = bind_all(settings(("http", str(path))))
    path.unlink()
    path.write_text("somebody else's")
    listener.close()
    assert path.read_text() == "somebody else's"
    assert "which is no socket; remove it" in refusal(("http", str(path)))


def test_what_cannot_be_bound_is_told_and_nothing_stays_behind(tmp_path):
    path = tmp_path / "s"
    sentence = refusal(("http", str(path)), ("http", "192.0.2.1:0"))
    assert sentence.startswith("--http 192.0.2.1:0: this machine has no address 192.0.2.1")
    assert not path.exists()
    assert "the folder does not exist" in refusal(("http", str(tmp_path / "none" / "s")))
    assert "there is no host" in refusal(("http", "host.invalid:0"))


def test_a_queue_longer_than_the_kernels_is_refused():
    longest = int(Path("/proc/sys/net/core/somaxconn").read_text())
    with pytest.raises(SettingsError, match=rf"--listen {longest + 1} is more than this kernel's {longest}"):
        bind_all(settings(("http", ":0"), ("listen", str(longest + 1))))


def test_the_mode_is_set_before_anyone_can_connect(bound, tmp_path):
    path = tmp_path / "s"
    bound(("http", str(path)), ("chmod-socket", "606"), ("chown-socket", str(os.getuid())))
    assert path.stat().st_mode & 0o777 == 0o606


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b"])
def test_a_name_that_no_host_can_have_is_answered_in_a_sentence(host):
    with pytest.raises(MasterError, match="there is no host"):
        bind_all(settings(("http", f"{host}:0")))
