"""Opening files as root where other users have a say on the way: no link of theirs is followed.

Who may write in a folder can put a link there, and root would read or write whatever that leads to. So root walks to
a file itself, by descriptors: it follows links in its own folders (certbot's in /etc/letsencrypt/live), and none in
anybody else's. The invariant: what is opened is what the operator has named, or what root alone has led that name to.
"""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["ForeignLink", "is_roots_alone", "open_by_root"]

#: Links and folders on the way to a file. Linux follows 40 links.
_MOST_STEPS = 200

_TO_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ForeignLink(OSError):
    """Another user could have led the path elsewhere."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.ELOOP, what)


def open_by_root(path: str, flags: int, mode: int = 0o600) -> int:
    """open(2) as root, for an absolute path. Raises OSError, and ForeignLink where it would have to follow one."""
    if is_roots_alone(path):
        return os.open(path, flags | os.O_CLOEXEC, mode)
    folder = os.open("/", _TO_FOLDER)
    rest = [*reversed(path.split("/"))]
    try:
        for _ in range(_MOST_STEPS):
            name = rest.pop()
            if name in ("", ".") and rest:
                continue
            about = _about(folder, name, is_last=not rest)
            if about is not None and stat.S_ISLNK(about.st_mode):
                if not _is_roots_alone_in(os.fstat(folder), about):
                    raise ForeignLink("a link on the way is another user's, who could lead it elsewhere")
                target = os.readlink(name, dir_fd=folder)
                rest += reversed(target.split("/"))
                if target.startswith("/"):
                    folder = _replaced(folder, os.open("/", _TO_FOLDER))
            elif rest:
                folder = _replaced(folder, os.open(name, _TO_FOLDER, dir_fd=folder))
            else:
                return _open_last(folder, name, flags, mode)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    finally:
        os.close(folder)


def _about(folder: int, name: str, is_last: bool) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if not is_last:
            raise
        return None  # to be made, if the flags say so


def _replaced(fd: int, by: int) -> int:
    os.close(fd)
    return by


def _open_last(folder: int, name: str, flags: int, mode: int) -> int:
    """The file itself, in a folder in which others have a say."""
    # A FIFO without another end must not hold root up.
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=folder)
    try:
        about = os.fstat(fd)
        if stat.S_ISREG(about.st_mode):
            os.set_blocking(fd, True)
            # The kernel's protected_hardlinks may be off.
            if about.st_nlink > 1 and about.st_uid != os.fstat(folder).st_uid:
                raise ForeignLink("it is a second name of a file that is not its folder's owner's")
        elif flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EINVAL, "it is no regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_roots_alone(path: str) -> bool:
    """Whether root alone decides which file the path names: all folders on the way are root's, those of links too, and
    not everybody may write there. What lies in /proc is the kernel's (/dev/stderr leads there)."""
    here = "/"
    rest = [*reversed(path.split("/"))]
    for _ in range(_MOST_STEPS):
        if here == "/proc" or here.startswith("/proc/"):
            return True
        try:
            about = os.lstat(here)
        except OSError:
            return False
        if stat.S_ISLNK(about.st_mode):
            target = os.readlink(here)
            rest += reversed(target.split("/"))
            here = "/" if target.startswith("/") else os.path.dirname(here)
            continue
        if not rest:
            return True
        there = os.path.normpath(os.path.join(here, rest.pop()))
        try:
            entry = os.lstat(there)
        except OSError:
            entry = None
        if not _is_roots_alone_in(about, entry):
            return False
        here = there
        if not rest and entry is None:
            return True  # to be made, by root in root's folder
    return False


def _is_roots_alone_in(folder: os.stat_result, entry: os.stat_result | None) -> bool:
    if folder.st_uid != 0:
        return False
    is_roots_own = entry is not None and entry.st_uid == 0
    if folder.st_mode & stat.S_IWOTH:
        # Such as /tmp: what is there already and root's, nobody else can replace.
        return bool(folder.st_mode & stat.S_ISVTX) and is_roots_own
    # Such as /var/log where a group may write there: what one of it has put there is not root's.
    is_groups = bool(folder.st_mode & stat.S_IWGRP) and folder.st_gid != 0
    return not is_groups or entry is None or is_roots_own
