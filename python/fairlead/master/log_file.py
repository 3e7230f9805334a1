"""The file of --logto: it is opened anew when logrotate has renamed or removed it, by SIGUSR1, by --touch-logreopen.

Standard output and error of the master lead there, and those of the workers that it starts. A worker that runs is told
where the new file is, and takes what it finds there if that is the very file that the master has opened
(worker/output.py). The invariant: lines go to the old file until the new one is open, so none is lost, and none waits.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from fairlead.logs import Log, redirect_output
from fairlead.master.privileges import Account

__all__ = ["LOOK_EVERY_S", "LogFile"]

#: How often it is looked whether the name still leads to the file.
LOOK_EVERY_S = 1.0


class LogFile:
    """Made before privileges are dropped. The descriptors are led to the file for as long as the process lives."""

    def __init__(self, path: str, account: Account, log: Log, now: float) -> None:
        """Raises MasterError when it cannot be opened."""
        self._path = os.path.abspath(path)
        self._account = account
        self._log = log
        redirect_output(path, account.open)
        log.look()
        about = os.fstat(2)
        self._file = (about.st_dev, about.st_ino)
        #: A terminal or a FIFO is not rotated.
        self._is_regular = stat.S_ISREG(about.st_mode)
        self._is_missing = False
        self._refusal = ""
        self.due_at = now + LOOK_EVERY_S if self._is_regular else float("inf")

    def why_to_reopen(self, now: float) -> str:
        """What has become of the name, or "". Looks only when it is due."""
        if now < self.due_at:
            return ""
        self.due_at = now + LOOK_EVERY_S
        was_missing, self._is_missing = self._is_missing, False
        try:
            about = os.stat(self._path)
        except FileNotFoundError:
            # Who renames it may make the new one in the next moment, with an owner and a mode that we would not guess.
            self._is_missing = True
            return "it was renamed or removed" if was_missing else ""
        except OSError:
            return ""  # nobody can say
        return "" if (about.st_dev, about.st_ino) == self._file else "another file has its name"

    def reopen(self, why: str) -> dict[str, Any] | None:
        """Open it anew. Answers the command for workers that run; None if it is the same file still, or cannot be
        opened, of which the log tells once."""
        if not self._is_regular:
            self._log.warning(f"{why}: --logto {self._path} is no regular file, and is not opened anew")
            return None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            fd = self._account.open(self._path, flags, 0o640)
        except OSError as error:
            self._refuse((error.strerror or str(error)).lower())
            return None
        try:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                self._refuse("it is no regular file any more")
                return None
            self._refusal = ""
            if (about.st_dev, about.st_ino) == self._file:
                return None
            self._file = (about.st_dev, about.st_ino)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
        finally:
            os.close(fd)
        self._log.look()
        self._log.info(f"--logto {self._path} was opened anew: {why}")
        return {"command": "log", "path": self._path, "file": self._file}

    def _refuse(self, why: str) -> None:
        if why != self._refusal:
            self._refusal = why
            self._log.error(
                f"--logto {self._path} cannot be opened anew: {why}; lines go to the old file still. This process "
                f"runs as user {os.geteuid()}: let whoever renames the file make a new one for it"
            )
