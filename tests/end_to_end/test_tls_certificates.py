"""Certificates of TLS: which one is shown, whose certificates clients show, and what becomes of files
that change or were wrong from the beginning."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import certificates
from support.certificates import Pair, context, get, make, shown, upgrade
from support.server import TIMEOUT_S, Server

NOWHERE = "127.0.0.1:0"


# -- whose certificate


def test_the_certificate_is_that_of_the_name_that_was_asked_for(start: Callable[..., Server], tmp_path: Path) -> None:
    one, two = make(tmp_path, "one", names=["one.test"]), make(tmp_path, "two", names=["two.test", "*.two.test"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = start("secure.py", listen=("--https", f"{address},{one.https}", "--https", f"{address},{two.https}"))
    assert len(server.addresses) == 1
    for name, wanted in (("one.test", one), ("two.test", two), ("www.two.test", two)):
        with certificates.connect(server, context(one, two), name) as connection:
            assert connection.getpeercert(binary_form=True) == wanted.der()
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with certificates.connect(server, anyone, "three.test") as connection:
        assert connection.getpeercert(binary_form=True) == one.der()


@pytest.mark.parametrize("needs", [True, False])
def test_clients_show_certificates_if_they_must_or_may(
    serve: Callable[..., Server], pair: Pair, tmp_path_factory: pytest.TempPathFactory, needs: bool
) -> None:
    folder = tmp_path_factory.mktemp("clients")
    someone, stranger = make(folder, "someone"), make(folder, "stranger")
    option = f"{NOWHERE},{pair.https},,{'!' if needs else ''}{someone.certificate}"
    server = serve("secure.py", "--https-export-cert", listen=("--https", option))
    about = shown(server, context(pair, shows=someone))
    assert about["HTTPS_DN"] == "/O=Fairlead/CN=someone"
    assert about["HTTPS_CLIENT_CERTIFICATE"].encode("latin-1") == someone.der()
    assert about["HTTPS_CC"] == someone.certificate.read_text()
    mark = server.mark()
    with pytest.raises((ssl.SSLError, OSError)):
        shown(server, context(pair, shows=stranger))
    server.wait_for_line("warning: .* the TLS handshake failed", mark)
    if needs:
        with pytest.raises((ssl.SSLError, OSError)):
            shown(server, context(pair))
    else:
        assert not {"HTTPS_DN", "HTTPS_CLIENT_CERTIFICATE", "HTTPS_CC"} & set(shown(server, context(pair)))


def test_only_the_cipher_suites_that_were_chosen_are_spoken(serve: Callable[..., Server], pair: Pair) -> None:
    option = f"addr={NOWHERE},key={pair.key},cert={pair.certificate},ciphers=ECDHE-ECDSA-AES128-GCM-SHA256"
    server = serve("secure.py", listen=("--https2", option))
    old = context(pair)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with certificates.connect(server, old) as connection:
        assert (connection.cipher() or ("",))[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"
    old.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with pytest.raises(ssl.SSLError):
        certificates.connect(server, old)


# -- certificates that change


class Load:
    """Clients that come again and again; every handshake and answer has to succeed."""

    def __init__(self, server: Server, trusting: ssl.SSLContext) -> None:
        self.failures: list[BaseException] = []
        self.seen: set[bytes] = set()
        self._server, self._trusting = server, trusting
        self._is_over = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._come) for _ in range(3)]

    def _come(self) -> None:
        while not self._is_over.is_set():
            try:
                with certificates.connect(self._server, self._trusting) as connection:
                    assert get(connection)[0].status == 200
                    self.seen.add(connection.getpeercert(binary_form=True) or b"")
            except BaseException as error:
                self.failures.append(error)
            with self._changed:
                self._changed.notify_all()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures, self.failures[:3]

    def wait_for(self, certificate: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: certificate in self.seen or self.failures, TIMEOUT_S)
        assert not self.failures, self.failures[:3]
        assert certificate in self.seen, "the certificate was never shown"


@pytest.mark.parametrize("how", ["by itself", "SIGHUP"])
def test_a_certificate_is_replaced_under_load_and_no_handshake_fails(
    start: Callable[..., Server], tmp_path: Path, how: str
) -> None:
    old, new = make(tmp_path, "old"), make(tmp_path, "new")
    old_der, new_der = old.der(), new.der()
    both = context(old, new)
    server = start("secure.py", "--processes", "2", listen=("--https", f"{NOWHERE},{old.https}"))
    client = upgrade(server, both)
    with Load(server, both) as load:
        load.wait_for(old_der)
        old.replace_by(new)
        if how == "SIGHUP":
            server.signal(signal.SIGHUP)
            server.wait_for_line("reloaded: ")
        server.wait_for_line("info: new certificates are in use")
        load.wait_for(new_der)
    if how == "by itself":
        # The session that was open has gone on with the old one.
        client.send_text("still here")
        assert client.read_data().payload == b"still here"
        load.seen.clear()
        with certificates.connect(server, both) as connection:
            assert connection.getpeercert(binary_form=True) == new_der
    else:
        assert client.read_close()[0] == 1012
    client.close()


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("broken", "holds no certificate"),
        ("expired", "has expired"),
        ("mixed", "does not belong to"),
        ("gone", "cannot be read"),
    ],
)
def test_a_bad_certificate_on_a_reload_leaves_the_old_one_in_use(
    start: Callable[..., Server], tmp_path: Path, what: str, line: str
) -> None:
    pair = make(tmp_path)
    der, trusting = pair.der(), context(pair)
    server = start("secure.py", listen=("--https", f"{NOWHERE},{pair.https}"))
    mark = server.mark()
    if what == "broken":
        pair.certificate.write_text("no certificate")
    elif what == "expired":
        pair.replace_by(make(tmp_path, "expired", days=-1))
    elif what == "mixed":
        pair.key.write_bytes(make(tmp_path, "other").key.read_bytes())
    else:
        pair.certificate.unlink()
    server.signal(signal.SIGHUP)
    server.wait_for_line(f"error: the old certificates stay in use: --https .*{line}", mark)
    server.wait_for_line("reloaded: 1 new worker ready", mark)
    for _ in range(5):
        with certificates.connect(server, trusting) as connection:
            assert connection.getpeercert(binary_form=True) == der
            assert get(connection)[0].status == 200
    if what == "broken":  # and it is taken as soon as it is mended
        mended = make(tmp_path, "mended")
        wanted, both = mended.der(), context(mended)
        pair.replace_by(mended)
        server.wait_for_line("info: new certificates are in use", mark)
        with certificates.connect(server, both) as connection:
            assert connection.getpeercert(binary_form=True) == wanted


# -- bad starts, which no runner sees


def launched(*options: str) -> tuple[int, str]:
    server = Server.launch("--wsgi-file", str(Path(__file__).parents[1] / "support/apps/secure.py"), *options)
    return server.wait_for_end(), "\n".join(server.lines)


def test_a_start_that_cannot_work_is_one_sentence(tmp_path: Path, pair: Pair) -> None:
    other = make(tmp_path, "other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    for option, wanted in (
        (f"{NOWHERE},{tmp_path}/none.crt,{pair.key}", "none.crt cannot be read: no such file or directory; check"),
        (f"{NOWHERE},{garbage},{pair.key}", "garbage.pem holds no certificate; it needs"),
        (f"{NOWHERE},{pair.certificate},{other.key}", "other.key does not belong to the certificate"),
        (f"{NOWHERE},{pair.https},RC4-SHA", 'there is no cipher suite "RC4-SHA" here; choose among '),
    ):
        status, log = launched("--https", option)
        assert status == 2, log
        last = log.splitlines()[-1]
        assert last.startswith(f"fairlead: --https {option}: ") and wanted in last and last.endswith("."), log


def test_an_expired_certificate_at_the_start_is_served_with_a_warning(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    expired = make(tmp_path, "expired", days=-1)
    server = start("secure.py", listen=("--https", f"{NOWHERE},{expired.https}"))
    server.wait_for_line("warning: the certificate .*expired.crt has expired")
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with certificates.connect(server, anyone) as connection:
        assert get(connection)[0].status == 200
