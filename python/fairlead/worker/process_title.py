"""The name under which a process is listed: `ps`, `top`, `pgrep` (`uwsgi.setprocname`).

Linux keeps two. The short one, 15 bytes, is written to /proc. The long one is the memory that held the arguments of the
program; whoever lists processes reads it there, so a new name is written over it and cut to its length. The
interpreter took its copy of the arguments before any code ran.
"""

from __future__ import annotations

import contextlib
import ctypes

from fairlead.logs import one_record

__all__ = ["rename_process"]


def rename_process(name: str) -> None:
    """Show this process as `name`, on one line. Where the system does not allow it, nothing happens, as in uWSGI."""
    data = one_record(name).replace("\n", " ").replace("\t", " ").encode()
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as file:
        file.write(data[:15])
    start, end = _arguments()
    if end - start > 1:
        ctypes.memmove(start, data[: end - start - 1].ljust(end - start, b"\0"), end - start)


def _arguments() -> tuple[int, int]:
    """Where the arguments lie in memory (proc(5), arg_start and arg_end); zeros if that is not told."""
    try:
        with open("/proc/self/stat", "rb") as file:
            # The name in parentheses may hold anything, so fields are counted from behind it: the third is next.
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[48 - 3]), int(fields[49 - 3])
    except (OSError, IndexError, ValueError):
        return 0, 0
