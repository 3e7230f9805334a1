"""The rights of root: what the master does while it has them, how it gives them up, and what it leaves to one process
that keeps them.

Files of the operator's (--logto, --pidfile, certificates, keys, tokens) are opened before the drop, because they may
lie where only root writes or reads. The invariant: root follows no link on which somebody else has a say
(trusted_paths.py); there the user that the master becomes opens the file, so that a link leads no further than that
user could go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import signal
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairlead.errors import MasterError
from fairlead.master.trusted_paths import ForeignLink, is_roots_alone, open_by_root
from fairlead.os_threads import wait_ready

__all__ = ["Account", "FileRemover", "Pidfile"]


@dataclass(frozen=True)
class Account:
    """Whom the master becomes by --uid and --gid; None is what it is."""

    uid: int | None
    gid: int | None
    #: In passwd; "" for an id without an entry.
    name: str = ""

    @classmethod
    def of(cls, uid: int | None, gid: int | None) -> Account:
        """The group that comes with the user, unless --gid names another. Raises MasterError where it is not known."""
        if uid is None or uid == os.getuid():
            return cls(uid, gid)
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            if gid is None:
                raise MasterError(
                    f"--uid {uid}: this user has no entry in passwd, so its group is not known; give --gid too."
                ) from None
            return cls(uid, gid)
        return cls(uid, entry.pw_gid if gid is None else gid, entry.pw_name)

    @property
    def is_another(self) -> bool:
        """Whether becoming it gives up rights."""
        return self.uid is not None and self.uid != os.getuid()

    @property
    def owner(self) -> tuple[int, int] | None:
        """For chown(2): whose the files are that the instance makes."""
        if self.uid is None and self.gid is None:
            return None
        return (-1 if self.uid is None else self.uid, -1 if self.gid is None else self.gid)

    def become(self) -> None:
        """Groups first: afterwards there is no right left to change them. Raises MasterError.

        uWSGI keeps root's groups when only --uid is given; here the user's own are taken instead.
        """
        try:
            if self.is_another or (self.gid is not None and self.gid != os.getgid()):
                self._take_groups()
            if self.gid is not None and self.gid != os.getgid():
                os.setgid(self.gid)
            if self.is_another and self.uid is not None:
                os.setuid(self.uid)
        except OSError as error:
            raise MasterError(
                f"--uid {self.uid} --gid {self.gid}: {(error.strerror or '').lower()}; start as root, or leave them "
                "out."
            ) from None

    def open(self, path: str, flags: int, mode: int) -> int:
        """open(2), before this account is become. Raises OSError."""
        path = os.path.abspath(path)
        if os.geteuid() != 0:
            return os.open(path, flags | os.O_CLOEXEC, mode)
        if self.is_another and not is_roots_alone(path):
            with self._acting():
                return os.open(path, flags | os.O_CLOEXEC, mode)
        return open_by_root(path, flags, mode)

    def open_to_read(self, path: str) -> int:
        """The same for a file that is only read, such as a key that nobody but root may read. It may lie in anybody's
        folder; behind a link that is another user's it is what this account may read. Raises OSError."""
        path = os.path.abspath(path)
        if os.geteuid() != 0:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return open_by_root(path, os.O_RDONLY)
        except ForeignLink:
            if not self.is_another:
                raise
            with self._acting():
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _take_groups(self) -> None:
        if self.name and self.gid is not None:
            os.initgroups(self.name, self.gid)
        else:
            os.setgroups([] if self.gid is None else [self.gid])

    @contextlib.contextmanager
    def _acting(self) -> Iterator[None]:
        group, groups = os.getegid(), os.getgroups()
        self._take_groups()
        try:
            if self.gid is not None:
                os.setegid(self.gid)
            if self.uid is not None:
                os.seteuid(self.uid)
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)


class Pidfile:
    """The file of --pidfile. As long as this object has it, no other instance takes it."""

    def __init__(self, path: str, account: Account) -> None:
        """Raises MasterError: it cannot be written, or another instance that runs has it."""
        self.path = os.path.abspath(path)
        try:
            self._fd = account.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            self._is_regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
            if self._is_regular:
                self._lock(path)
                os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise MasterError(f"--pidfile {path} cannot be written: {(error.strerror or '').lower()}.") from None

    @property
    def file_id(self) -> tuple[int, int]:
        about = os.fstat(self._fd)
        return about.st_dev, about.st_ino

    def remove(self) -> None:
        """Remove it, unless somebody has put another in its place. After a drop of privileges this may fail; then
        FileRemover does it."""
        if self._is_regular:
            _remove(os.path.basename(self.path), self.file_id, os.path.dirname(self.path))
        os.close(self._fd)

    def _lock(self, path: str) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise MasterError(
                f"--pidfile {path} belongs to another instance that runs, process {pid}; stop it or choose another "
                "path."
            ) from None


class FileRemover:
    """A process that stays root and does one thing: when the master has ended, in whatever way, it removes the files
    that only root may remove. `files`: absolute paths, each with device and inode: only our own are ever removed.

    A descriptor of the folder that is kept from before the drop is no substitute: unlinkat(2) asks for the rights of
    who calls it, not of who opened the folder. It forks before there is any thread, so the child finds no lock taken.
    """

    def __init__(self, files: Sequence[tuple[str, tuple[int, int]]]) -> None:
        """Raises MasterError when the system has no process left."""
        reader, self._writer = os.pipe()
        try:
            # Opened now: later somebody may lead the path elsewhere.
            folders = [os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path, _ in files]
            self._pid = os.fork()
        except OSError as error:
            raise MasterError(f"--uid: what root has to remove at the end cannot be noted: {error.strerror}.") from None
        if self._pid == 0:
            try:
                _wait_for_end(reader, folders)
                for (path, file_id), folder in zip(files, folders):
                    _remove(os.path.basename(path), file_id, folder)
            finally:
                os._exit(0)
        for fd in (reader, *folders):
            os.close(fd)

    def close(self) -> None:
        """The master ends: wait until the files are gone, but not for a process that somebody has stopped."""
        os.close(self._writer)
        with contextlib.suppress(OSError):
            ended = os.pidfd_open(self._pid)
            wait_ready(ended, 1.0)
            os.close(ended)
            os.waitpid(self._pid, os.WNOHANG)


def _wait_for_end(reader: int, folders: Sequence[int]) -> None:
    """In the remover: keep nothing of the master's but the pipe's end, which is readable once the master has ended."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    os.chdir("/")
    kept = sorted([reader, *folders])
    for low, high in zip([-1, *kept], [*kept, os.sysconf("SC_OPEN_MAX")]):
        os.closerange(low + 1, high)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
        comm.write("fairlead-files")
    while os.read(reader, 1):
        pass


def _remove(name: str, file_id: tuple[int, int], folder: int | str) -> None:
    with contextlib.suppress(OSError):
        fd = folder if isinstance(folder, int) else os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            about = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if (about.st_dev, about.st_ino) == file_id:
                os.unlink(name, dir_fd=fd)
        finally:
            if fd is not folder:
                os.close(fd)
