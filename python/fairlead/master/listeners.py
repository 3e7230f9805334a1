"""Listening sockets: made and bound once by the master, inherited by every worker of every generation.

Binding, permissions and clean-up live here; nothing accepts. The invariant: what `bind_all` returns is bound
and listening, or nothing is left behind; so "ready" can never be said of a port that is not served, and a
reload cannot lose one. Every failure is one sentence with the address, the option and the way out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass

from fairlead.errors import MasterError, SettingsError
from fairlead.settings.kinds import Address
from fairlead.settings.options import Settings
from fairlead.settings.tls import SecureAddress

#: The kinds of listeners at which the uwsgi protocol is spoken.
UWSGI = frozenset({"socket", "uwsgi-socket"})

#: Where Linux keeps the longest queue it grants; a longer --listen would be cut in silence.
_LONGEST_QUEUE = "/proc/sys/net/core/somaxconn"


@dataclass
class Listener:
    """One bound socket. `kind` is the option it came from: "http", "http-socket", "https" (and "https2"),
    "https-socket", "http-to-https", "socket" (where the uwsgi protocol is spoken), "uwsgi-socket", "channels-socket",
    "channels-http"."""

    kind: str
    address: Address
    socket: socket.socket
    #: Device and inode of a UNIX socket's file, so that only our own file is ever removed.
    file_id: tuple[int, int] | None = None
    #: What it shows to clients that speak TLS, if they have to: one for each option that names this address.
    secure: tuple[SecureAddress, ...] = ()
    #: The port that "http-to-https" sends to; 0 for the usual one.
    https_port: int = 0

    @property
    def bound(self) -> str:
        """The address as it came to be: the port 0 is replaced by the kernel's choice."""
        if self.address.family != "tcp":
            return self.address.text
        port = self.socket.getsockname()[1]
        host = self.address.host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """What a newcomer can put into a browser, or after `uwsgi_pass` into a proxy's configuration."""
        is_uwsgi = self.kind in UWSGI
        if self.address.family != "tcp":
            return f"unix:{self.address.text}" + (" (uwsgi)" if is_uwsgi else "")
        scheme = "uwsgi" if is_uwsgi else "https" if self.secure else "http"
        if self.address.host in ("", "0.0.0.0", "::"):
            return f"{scheme}://localhost:{self.socket.getsockname()[1]} (all interfaces)"
        return f"{scheme}://{self.bound}"

    def close(self) -> None:
        """Close, and remove the file of a UNIX socket unless somebody else has put another in its place."""
        self.socket.close()
        if self.file_id is not None:
            with contextlib.suppress(OSError):
                if _file_id(self.address.name) == self.file_id:
                    os.unlink(self.address.name)
            self.file_id = None


def bind_all(settings: Settings, owner: tuple[int, int] | None = None) -> list[Listener]:
    """Bind all addresses of --http, --http-socket, --socket, --uwsgi-socket, --https, --https2, --https-socket and
    --http-to-https, in that order. The files of UNIX sockets are `owner`'s unless --chown-socket says otherwise: uWSGI
    makes them after it has become that user. Raises MasterError or SettingsError."""
    check_queue(settings.listen)
    listeners: list[Listener] = []
    wanted = [("http", address) for address in settings.http]
    wanted += [("http-socket", address) for address in settings.http_socket]
    # With --protocol http it is --http-socket under another name, in uWSGI as well.
    wanted += [("socket" if settings.protocol == "uwsgi" else "http-socket", address) for address in settings.socket]
    wanted += [("uwsgi-socket", address) for address in settings.uwsgi_socket]
    mode, owner = settings.chmod_socket, settings.chown_socket or owner
    try:
        for kind, address in wanted:
            listeners.append(bind(kind, address, settings.listen, mode, owner))
        for kind, secure in secure_addresses(settings):
            listeners.append(bind(kind, secure[0].address, settings.listen, mode, owner, secure[0].text))
            listeners[-1].secure = secure
        for to_https in settings.http_to_https:
            address = to_https.address
            listeners.append(bind("http-to-https", address, settings.listen, mode, owner, to_https.text))
            listeners[-1].https_port = to_https.port
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def secure_addresses(settings: Settings) -> list[tuple[str, tuple[SecureAddress, ...]]]:
    """The addresses with TLS, each with all options that name it. Port 0 is another one each time."""
    by_address: dict[object, tuple[str, tuple[SecureAddress, ...]]] = {}
    wanted = [("https", one) for one in settings.https]
    wanted += [("https2", one) for one in settings.https2]
    wanted += [("https-socket", one) for one in settings.https_socket]
    for number, (kind, one) in enumerate(wanted):
        is_router = kind != "https-socket"
        is_any = one.address.family == "tcp" and one.address.port == 0
        key = number if is_any else (is_router, one.address.text)
        first, others = by_address.get(key, (kind, ()))
        by_address[key] = (first, (*others, one))
    return list(by_address.values())


def check_queue(length: int) -> None:
    """Raises SettingsError for a queue that the kernel would cut; uWSGI aborts here as well (compat §4.2)."""
    with contextlib.suppress(OSError, ValueError), open(_LONGEST_QUEUE, encoding="ascii") as file:
        longest = int(file.read())
        if length > longest:
            raise SettingsError(
                f"--listen {length} is more than this kernel's {longest}; lower it, or raise net.core.somaxconn."
            )


def bind(
    kind: str,
    address: Address,
    queue: int,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
    text: str = "",
) -> Listener:
    """Bind one address of the option `kind`; `mode` and `owner` are for the file of a UNIX socket, which nobody can
    connect to before it has them. `text` is what the operator wrote, if it is more than the address. Raises
    MasterError."""
    what = f"--{kind} {text or address.text}"
    try:
        bound = _bound_tcp(address) if address.family == "tcp" else _bound_unix(address, mode)
    except (socket.gaierror, UnicodeError):  # UnicodeError: a label that is empty or longer than 63 bytes
        raise MasterError(f"{what}: there is no host {address.host!r}; use an address of this machine.") from None
    except OSError as error:
        raise MasterError(f"{what}: {_why(error, address)}.") from None
    listener = Listener(kind, address, bound)
    try:
        if address.family == "unix":
            listener.file_id = _take_file(address.name, owner)
        listener.socket.listen(queue)
    except OSError as error:
        listener.close()
        raise MasterError(f"{what}: {_why(error, address)}.") from None
    return listener


def _bound_tcp(address: Address) -> socket.socket:
    # No host means IPv4 only, as in uWSGI; [::] takes both, which is Linux's default made explicit.
    family, _, _, _, target = socket.getaddrinfo(
        address.host or "0.0.0.0", address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Else a restart would have to wait for the old connections' TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(target)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_unix(address: Address, mode: int | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = None
    try:
        if address.family == "unix":
            _remove_stale(address.name)
            if mode is not None:
                # On Linux the file gets the socket's mode: by its name somebody could have led us to another file.
                os.fchmod(sock.fileno(), mode)
                mask = os.umask(0)
        sock.bind(f"\0{address.name}" if address.family == "abstract" else address.name)
    except BaseException:
        sock.close()
        raise
    finally:
        if mask is not None:
            os.umask(mask)
    return sock


def _take_file(path: str, owner: tuple[int, int] | None) -> tuple[int, int]:
    """Device and inode of a socket's file, which is `owner`'s from now on. By its descriptor: who may write in the
    folder could put a link in its place."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(fd)
        if not stat.S_ISSOCK(about.st_mode) or about.st_nlink != 1:
            raise OSError(errno.EEXIST, "")
        if owner is not None and owner != (about.st_uid, about.st_gid):
            os.chown(f"/proc/self/fd/{fd}", *owner)
    finally:
        os.close(fd)
    return about.st_dev, about.st_ino


def _remove_stale(path: str) -> None:
    """Remove the socket file of a server that is gone; leave one that answers, and anything that is no
    socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # A full queue (EAGAIN) is a live server as well: only a refusal proves that nobody listens.
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def _file_id(path: str) -> tuple[int, int]:
    about = os.lstat(path)
    return about.st_dev, about.st_ino


def _why(error: OSError, address: Address) -> str:
    reasons = {
        errno.EADDRINUSE: "another process already listens there; stop it or choose another address",
        errno.EADDRNOTAVAIL: f"this machine has no address {address.host}; use one of its own, or none",
        errno.EEXIST: "there is a file of that name which is no socket; remove it or choose another path",
        errno.ENOENT: "the folder does not exist; create it",
    }
    if error.errno in (errno.EACCES, errno.EPERM):
        if address.family == "tcp":
            return "not permitted; ports below 1024 need root, or choose a port above"
        return "not permitted; check the owner of the folder and of the socket"
    known = reasons.get(error.errno or 0)
    return known or f"cannot listen there: {(error.strerror or str(error)).lower()}"
