"""Listening sockets: made and bound once by the master, inherited by every worker of every generation.

Binding, permissions and clean-up live here; nothing accepts. The invariant: what `bind_all` returns is bound
and listening, or nothing is left behind; so "ready" can never be said of a port that is not served, and a
reload cannot lose one (D7). Every failure is one sentence with the address, the option and the way out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass

from fairlead.errors import MasterError, SettingsError
from fairlead.settings import Settings
from fairlead.settings_kinds import Address

#: Where Linux keeps the longest queue it grants; a longer --listen would be cut in silence.
_LONGEST_QUEUE = "/proc/sys/net/core/somaxconn"


@dataclass
class Listener:
    """One bound socket. `kind` is the option it came from, "http" or "http-socket"."""

    kind: str
    address: Address
    socket: socket.socket
    #: Device and inode of a UNIX socket's file, so that only our own file is ever removed.
    file_id: tuple[int, int] | None = None

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
        """What a newcomer can put into a browser."""
        if self.address.family != "tcp":
            return f"unix:{self.address.text}"
        if self.address.host in ("", "0.0.0.0", "::"):
            return f"http://localhost:{self.socket.getsockname()[1]} (all interfaces)"
        return f"http://{self.bound}"

    def close(self) -> None:
        """Close, and remove the file of a UNIX socket unless somebody else has put another in its place."""
        self.socket.close()
        if self.file_id is not None:
            with contextlib.suppress(OSError):
                if _file_id(self.address.name) == self.file_id:
                    os.unlink(self.address.name)
            self.file_id = None


def bind_all(settings: Settings) -> list[Listener]:
    """Bind all addresses of --http and --http-socket, in that order. Raises MasterError or SettingsError."""
    _check_queue(settings.listen)
    listeners: list[Listener] = []
    wanted = [("http", address) for address in settings.http]
    wanted += [("http-socket", address) for address in settings.http_socket]
    try:
        for kind, address in wanted:
            listeners.append(_bind(kind, address, settings))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _check_queue(length: int) -> None:
    """uWSGI aborts here as well (spec §4.2)."""
    with contextlib.suppress(OSError, ValueError), open(_LONGEST_QUEUE, encoding="ascii") as file:
        longest = int(file.read())
        if length > longest:
            raise SettingsError(
                f"--listen {length} is more than this kernel's {longest}; lower it, or raise net.core.somaxconn."
            )


def _bind(kind: str, address: Address, settings: Settings) -> Listener:
    what = f"--{kind} {address.text}"
    try:
        bound = _bound_tcp(address) if address.family == "tcp" else _bound_unix(address)
    except socket.gaierror:
        raise MasterError(f"{what}: there is no host {address.host!r}; use an address of this machine.") from None
    except OSError as error:
        raise MasterError(f"{what}: {_why(error, address)}.") from None
    listener = Listener(kind, address, bound)
    try:
        if address.family == "unix":
            listener.file_id = _file_id(address.name)
            if settings.chmod_socket is not None:
                os.chmod(address.name, settings.chmod_socket)
            if settings.chown_socket is not None:
                os.chown(address.name, *settings.chown_socket)
        listener.socket.listen(settings.listen)
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


def _bound_unix(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if address.family == "unix":
            _remove_stale(address.name)
        sock.bind(f"\0{address.name}" if address.family == "abstract" else address.name)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket file of a server that is gone; leave one that answers, and anything that is no
    socket."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # A full queue (EAGAIN) is a live server as well: only a refusal proves that nobody listens.
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def _file_id(path: str) -> tuple[int, int]:
    about = os.stat(path)
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
