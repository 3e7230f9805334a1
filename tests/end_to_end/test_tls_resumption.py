"""Resumption of TLS sessions: a session ticket (RFC 5077, RFC 8446 §4.6.1) of one process opens in all of an instance,
over its reloads, and only where the certificates are still those that it was given under."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import certificates
from support.certificates import Pair, context, get, make
from support.server import APPS, TIMEOUT_S, Server

NOWHERE = "127.0.0.1:0"
PROCESSES = 3
#: Far more than it takes until each process has had one.
ENOUGH = 60

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def speaking(version: ssl.TLSVersion, *trusted: Pair) -> ssl.SSLContext:
    only = context(*trusted)
    only.minimum_version = only.maximum_version = version
    return only


def a_session(server: Server, client: ssl.SSLContext, listener: int = 0) -> ssl.SSLSession:
    """That of a connection that was made anew. Its ticket comes, at the latest, with the first answer."""
    with certificates.connect(server, client, listener=listener) as connection:
        get(connection)
        assert not connection.session_reused
        session = connection.session
    assert session is not None and session.has_ticket
    return session


def processes(server: Server, client: ssl.SSLContext, session: ssl.SSLSession) -> Iterator[tuple[int, bool]]:
    """Who answers connection after connection, and whether it has resumed the session. They stay open, so that the
    next one goes to whoever has fewer."""
    with ExitStack() as open_ones:
        for _ in range(ENOUGH):
            connection = open_ones.enter_context(certificates.connect(server, client, session=session))
            yield json.loads(get(connection, "/process")[1]), bool(connection.session_reused)


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], pair: Pair) -> Server:
    return serve("secure.py", "--processes", str(PROCESSES), listen=("--https", f"{NOWHERE},{pair.https}"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_by_every_process_of_an_instance(
    server: Server, pair: Pair, version: ssl.TLSVersion
) -> None:
    client = speaking(version, pair)
    seen = set()
    for process, is_resumed in processes(server, client, a_session(server, client)):
        assert is_resumed, f"process {process}, after {seen}"
        seen.add(process)
        if len(seen) == PROCESSES:
            break
    assert len(seen) == PROCESSES


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_after_a_reload(start: Callable[..., Server], pair: Pair, version: ssl.TLSVersion) -> None:
    server = start("secure.py", listen=("--https", f"{NOWHERE},{pair.https}"))
    client = speaking(version, pair)
    session = a_session(server, client)
    before = next(processes(server, client, session))
    server.signal(signal.SIGHUP)
    server.wait_for_line("reloaded: ")
    for process, is_resumed in processes(server, client, session):
        assert is_resumed
        if process != before[0]:
            return
    raise AssertionError("no new worker answered")


#: Keys change every six hours; here every half second.
HURRIED = """
from fairlead.master import ticket_keys
ticket_keys.ROTATE_EVERY_S = 0.5
from fairlead.cli import main
raise SystemExit(main())
"""


def test_a_session_is_forgotten_with_its_key_and_new_ones_are_resumed(pair: Pair, trusting: ssl.SSLContext) -> None:
    options = ("--wsgi-file", str(APPS / "secure.py"), "--async", "10", "--greenlet", "--processes", "2")
    process = subprocess.Popen(
        [sys.executable, "-c", HURRIED, "--https", f"{NOWHERE},{pair.https}", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with Server(process) as server:
        server.wait_until_ready()

        def is_resumed(session: ssl.SSLSession) -> bool:
            with certificates.connect(server, trusting, session=session) as connection:
                return bool(connection.session_reused)

        old = a_session(server, trusting)
        ends = time.monotonic() + TIMEOUT_S
        while is_resumed(old):
            assert time.monotonic() < ends
        while not is_resumed(a_session(server, trusting)):
            assert time.monotonic() < ends


def test_a_session_ends_with_the_certificate_that_it_began_with(start: Callable[..., Server], tmp_path: Path) -> None:
    old, new = make(tmp_path, "old"), make(tmp_path, "new")
    client, new_der = context(old, new), new.der()
    server = start("secure.py", listen=("--https", f"{NOWHERE},{old.https}"))
    session = a_session(server, client)
    old.replace_by(new)
    server.wait_for_line("info: new certificates are in use")
    with certificates.connect(server, client, session=session) as connection:
        assert not connection.session_reused
        assert connection.getpeercert(binary_form=True) == new_der


def test_a_session_is_not_resumed_where_other_certificates_are_shown(
    start: Callable[..., Server], pair: Pair, tmp_path: Path
) -> None:
    """Else whoever can send connections of one site to another one's port would make the client believe it is there."""
    other = make(tmp_path, "other", names=["localhost"])
    server = start("secure.py", listen=("--https", f"{NOWHERE},{pair.https}", "--https", f"{NOWHERE},{other.https}"))
    client = context(pair, other)
    session = a_session(server, client)
    with certificates.connect(server, client, listener=1, session=session) as connection:
        assert not connection.session_reused
        assert connection.getpeercert(binary_form=True) == other.der()


def test_no_session_is_resumed_where_clients_show_certificates(
    start: Callable[..., Server], pair: Pair, tmp_path: Path
) -> None:
    someone = make(tmp_path, "someone")
    server = start("secure.py", listen=("--https", f"{NOWHERE},{pair.https},,{someone.certificate}"))
    client = context(pair, shows=someone)
    with certificates.connect(server, client) as connection:
        get(connection)
        session = connection.session
    assert session is None or not session.has_ticket
