"""What a worker asks the kernel about itself, for the module `uwsgi`: queues of its listeners, its memory."""

from __future__ import annotations

import errno
import os
import socket
import struct

from fairlead.os_threads import Socket

__all__ = ["memory", "queue_length"]

#: linux/sock_diag.h and linux/unix_diag.h: NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, UDIAG_SHOW_RQLEN, UNIX_DIAG_RQLEN.
_SOCK_DIAG, _BY_FAMILY, _SHOW_QUEUE, _QUEUE = 4, 20, 0x10, 4


def queue_length(fd: int) -> int:
    """Connections that wait to be accepted at a listener, for whichever process accepts next. Raises OSError."""
    with Socket(fileno=os.dup(fd)) as listener:
        if listener.family == socket.AF_UNIX:
            return _unix_queue(os.fstat(fd).st_ino)
        # struct tcp_info: of a listener, the number at offset 24 (tcpi_unacked) is the length of its queue.
        about = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    length: int = struct.unpack_from("I", about, 24)[0]
    return length


def _unix_queue(inode: int) -> int:
    """The kernel tells it by sock_diag(7) only: one question over netlink, one answer."""
    request = struct.pack("BBHIII2I", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, inode, _SHOW_QUEUE, 0xFFFFFFFF, 0xFFFFFFFF)
    head = struct.pack("IHHII", 16 + len(request), _BY_FAMILY, 1, 0, 0)  # NLM_F_REQUEST
    with Socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.sendto(head + request, (0, 0))
        answer = kernel.recv(8192)
    _, kind, _, _, _ = struct.unpack_from("IHHII", answer)
    if kind != _BY_FAMILY:
        raise OSError(errno.ENOENT, "the kernel does not tell the queue of a UNIX socket")
    at = 16 + 16  # behind both headers come attributes: length, type, value, padded to four bytes
    while at + 4 <= len(answer):
        size, name = struct.unpack_from("HH", answer, at)
        if name == _QUEUE:
            return int(struct.unpack_from("I", answer, at + 4)[0])
        at += max(4, size + 3 & ~3)
    return 0


def memory() -> tuple[int, int]:
    """Resident and virtual memory of this process; the last that was known if the kernel does not tell."""
    global _known
    try:
        virtual, resident = os.pread(_statm(), 256, 0).split()[:2]
        page = os.sysconf("SC_PAGESIZE")
        _known = int(resident) * page, int(virtual) * page
    except (OSError, ValueError):  # no descriptor is free, or the application has closed ours
        pass
    return _known


def _statm() -> int:
    """/proc/self/statm, opened once: statistics must be told when no other descriptor is to be had."""
    global _statm_fd
    if _statm_fd < 0:
        _statm_fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    return _statm_fd


_statm_fd = -1
_known = (0, 0)
