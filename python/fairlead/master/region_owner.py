"""What the channels of an instance stand on: the region in memory, and the addresses of the server with its token.

Made once by the master, before the first worker; here is what can go wrong with it. Every failure is one sentence
with the option, the value and the way out.
"""

from __future__ import annotations

import contextlib
import os
import re

from fairlead._native import Channels
from fairlead.channels.server import ChannelsServer
from fairlead.errors import ChannelsError, MasterError
from fairlead.logs import Log
from fairlead.master.listeners import Listener, bind
from fairlead.master.privileges import Account
from fairlead.settings.options import Settings

#: Places that the workers of an instance leave free: for those of a reload that are on their way, and for successors of
#: single workers.
_SPARE_PLACES = 16

#: Connections that wait to be accepted, and the longest token.
_QUEUE = 64
_LONGEST_TOKEN = 1024

#: Seconds between two looks whether the channels' lock is to be had.
_RETRY_S = 1.0
#: Seconds between two looks whether a shared file is still there.
_LOOK_S = 1.0


class RegionOwner:
    """The channels as the master has them: `bind`, then privileges are dropped, then `make`. Both raise MasterError.

    `fd` is the region that the workers inherit, -1 before it is made.
    """

    def __init__(self, settings: Settings, log: Log) -> None:
        self.fd = -1
        self._size = 0
        #: When to look for members of the dead again, and whether the shared file is still there.
        self._forget_at: float | None = None
        self._look_at: float | None = None
        #: What was said already: that the channels are damaged, and why there are no new ones.
        self._is_told = False
        self._refusal = ""
        self._settings = settings
        self._log = log
        self._channels: Channels | None = None
        self._server: ChannelsServer | None = None
        self.listeners: list[Listener] = []
        self._token = b""

    def bind(self, account: Account) -> None:
        """Bind the addresses of the server, whose files are the account's, and read its token."""
        self.listeners, self._token = bind_server(self._settings, account)

    @property
    def places(self) -> int:
        """How many processes can be there at a time, those that are leaving included."""
        return Channels.PLACES

    def make(self) -> None:
        """Make the region, and open the server to programs outside, if there is one."""
        check_processes(self._settings)
        self._open()
        assert self._channels is not None
        is_shared = bool(self._settings.channels_file)
        self._look_at = 0.0 if is_shared else None
        if self.listeners or is_shared:
            self._server = ChannelsServer(self._channels, self._log, self.listeners, self._token, sweeps=is_shared)
            self._server.start()
        for listener in self.listeners:
            self._log.info(f"--{listener.kind} at {listener.bound}")

    def forget_members(self, now: float) -> None:
        """A worker has ended, in whatever way: its members are none any more, now or as soon as the channels' lock is
        to be had."""
        is_known = self._forget_at is not None
        self._forget_at = None
        try:
            if self._channels is not None:
                self._channels.forget_dead()
        except ChannelsError as error:
            self._forget_at = now + _RETRY_S
            if not is_known:
                self._log.warning(f"the members of a worker that has ended are still counted: {error}")

    @property
    def due_at(self) -> float | None:
        """When there is something to do, on the master's clock."""
        due = [at for at in (self._forget_at, self._look_at) if at is not None]
        return min(due) if due else None

    def on_time(self, now: float) -> str:
        """Do what was put off. Answers why the workers have to be replaced, or ""."""
        if self._forget_at is not None and self._forget_at <= now:
            self.forget_members(now)
        if self._look_at is None or self._look_at > now:
            return ""
        self._look_at = now + _LOOK_S
        why = self._why_lost()
        if not why and not self._is_told and self._channels is not None and self._channels.is_damaged:
            self._is_told = True
            self._log.error(
                f"--channels-file {self._settings.channels_file} is damaged: another program has written into it; stop "
                "all instances that share it and remove it"
            )
        return why if why and self._replace(why) else ""

    def renew(self) -> None:
        """Before new workers come: they get other channels if these are damaged."""
        if self._channels is not None and self._channels.is_damaged:
            self._replace("the channels are damaged")

    def _why_lost(self) -> str:
        """Why the shared file is not what it was, or ""."""
        path = self._settings.channels_file
        if self._channels is None or not path:
            return ""
        own = os.fstat(self.fd)
        if own.st_size != self._size:
            return f"--channels-file {path} was cut short while it was in use"
        try:
            there = os.stat(path)
        except FileNotFoundError:
            return f"--channels-file {path} was removed while it was in use"
        except OSError:
            return ""  # nobody can say
        if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            return f"--channels-file {path} was replaced while it was in use"
        return ""

    def _replace(self, why: str) -> bool:
        """Make the channels anew; whoever has the old ones is told with the next call. False, said once, if there are
        none to be had."""
        path, old = self._settings.channels_file, self._channels
        try:
            if path and os.fstat(self.fd).st_size != self._size:
                self._remove_own(path)
            self._open()
        except (MasterError, OSError) as error:
            if str(error) != self._refusal:
                self._log.error(f"{why}, and there is no new one: {error}")
            self._refusal = str(error)
            return False
        self._refusal = ""
        if old is not None:
            old.abandon()
        if self._server is not None and self._channels is not None:
            self._server.renew(self._channels)
        return True

    def _remove_own(self, path: str) -> None:
        """Remove what is left of the file that was cut short: an empty one would be taken for a new one, by those who
        still have it mapped as well."""
        with contextlib.suppress(FileNotFoundError):
            own, there = os.fstat(self.fd), os.stat(path)
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                os.unlink(path)

    def _open(self) -> None:
        self._channels = make_channels(self._settings)
        self.fd = self._channels.fileno()
        self._size = os.fstat(self.fd).st_size

    def refuse(self) -> None:
        """Take no new clients at the server; its addresses are free from now on."""
        if self._server is not None:
            self._server.refuse()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for listener in self.listeners:
            listener.close()


def make_channels(settings: Settings) -> Channels:
    """The region that all workers share. Raises MasterError when it cannot be had."""
    size, longest = settings.channels_memory, settings.channels_max_message
    path = settings.channels_file
    option = f"--channels-file {path}" if path else f"--channels-memory {size >> 20}"
    try:
        if path:
            return Channels.in_file(path, size, longest)
        return Channels.in_memory(size, longest)
    except ValueError as error:
        raise MasterError(f"{option}: {error}.") from None
    except OSError as error:
        # The engine's text has the number behind it, which helps nobody.
        why = os.strerror(error.errno) if error.errno else str(error)
        raise MasterError(f"{option}: {why.lower()}.") from None


def check_processes(settings: Settings) -> None:
    """Raises MasterError for more workers than the channels have places for."""
    most = Channels.PLACES - _SPARE_PLACES
    if settings.processes > most:
        raise MasterError(
            f"--processes {settings.processes} is more than {most}: the channels have places for {Channels.PLACES} "
            "processes, and a reload needs some of them; start several instances behind a proxy."
        )


def bind_server(settings: Settings, account: Account) -> tuple[list[Listener], bytes]:
    """Bind --channels-socket and --channels-http, and read the token. Raises MasterError.

    It comes before privileges are dropped: a folder such as /run and the token's file may be root's. The files belong
    to whom the workers run as.
    """
    token = read_token(settings.channels_http_token_file, account) if settings.channels_http is not None else b""
    wanted = (("channels-socket", settings.channels_socket), ("channels-http", settings.channels_http))
    listeners: list[Listener] = []
    try:
        for kind, address in wanted:
            if address is not None:
                listeners.append(bind(kind, address, _QUEUE, settings.channels_socket_mode, account.owner))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners, token


def read_token(path: str, account: Account) -> bytes:
    """The token of --channels-http. Raises MasterError."""
    what = f"--channels-http-token-file {path}"
    try:
        with open(account.open_to_read(path), "rb") as file:
            token = file.read(_LONGEST_TOKEN + 1).strip()
    except OSError as error:
        raise MasterError(f"{what} cannot be read: {(error.strerror or '').lower()}.") from None
    if not token:
        raise MasterError(f"{what} is empty; write a long random text into it.")
    if len(token) > _LONGEST_TOKEN or not re.fullmatch(rb"[!-~]+", token):
        raise MasterError(f"{what} holds no token: one word of at most {_LONGEST_TOKEN} visible ASCII characters.")
    return token
