"""Certificates made for a test by the `openssl` command, and clients that trust them.

Keys are ECDSA, which takes a millisecond. A client's sockets fail at an end of the stream without close_notify, so a
test that reads an end has checked that it was said.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterable
from pathlib import Path

from support.raw_client import RawClient, Response, handshake_request
from support.server import TIMEOUT_S, Server


class Pair:
    """A certificate that signs itself, and its key."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate = folder / f"{name}.crt"
        self.key = folder / f"{name}.key"

    @property
    def https(self) -> str:
        """The last two parts of --https."""
        return f"{self.certificate},{self.key}"

    def replace_by(self, other: Pair) -> None:
        """Put another into the same place, file by file, as certbot does."""
        os.replace(other.certificate, self.certificate)
        os.replace(other.key, self.key)

    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())


def make(folder: Path, name: str = "localhost", *, names: Iterable[str] = (), days: int = 2) -> Pair:
    """`names` are those that the certificate is for, by default localhost and its address; `days` may be -1."""
    pair = Pair(folder, name)
    request = folder / f"{name}.csr"
    alternatives = ",".join(f"DNS:{one}" for one in names) or "DNS:localhost,IP:127.0.0.1"
    _openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", f"/O=Fairlead/CN={name}", "-addext", f"subjectAltName={alternatives}",
        "-keyout", str(pair.key), "-out", str(request),
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", str(request), "-signkey", str(pair.key), "-days", str(days),
        "-copy_extensions", "copyall", "-out", str(pair.certificate),
    )  # fmt: skip
    return pair


def _openssl(*arguments: str) -> None:
    made = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def context(*trusted: Pair, shows: Pair | None = None) -> ssl.SSLContext:
    """A client that trusts these, and shows a certificate of its own."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for pair in trusted:
        made.load_verify_locations(str(pair.certificate))
    if shows is not None:
        made.load_cert_chain(str(shows.certificate), str(shows.key))
    return made


def connect(
    server: Server,
    client: ssl.SSLContext,
    name: str = "localhost",
    listener: int = 0,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A connection whose handshake is done; one that resumes `session` if the server lets it."""
    raw = server.connect(listener)
    try:
        return client.wrap_socket(raw, server_hostname=name, suppress_ragged_eofs=False, session=session)
    except BaseException:
        raw.close()
        raise


def upgrade(server: Server, client: ssl.SSLContext, path: str = "/", behind: bytes = b"") -> RawClient:
    """An open WebSocket over TLS."""
    made = RawClient(connect(server, client))
    made.send_bytes(handshake_request(server.host_header, path) + behind)
    response = made.read_response()
    assert response.status == 101, response
    return made


def get(connection: socket.socket, path: str = "/", host: str = "localhost") -> tuple[Response, bytes]:
    """One request on a connection that stays open, and its answer."""
    connection.settimeout(TIMEOUT_S)
    client = RawClient(connection)
    client.send_bytes(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    response = client.read_response()
    return response, client.read_exactly(int(response.header("content-length") or 0))


def shown(server: Server, client: ssl.SSLContext) -> dict[str, str]:
    """What the app `secure.py` says of a request."""
    with connect(server, client) as connection:
        about: dict[str, str] = json.loads(get(connection)[1])
    return about
