"""Files as responses: which of them the engine sends by itself, and `send_file`, which an application calls for it.

The engine is given a descriptor and sends the file without a byte passing through Python. An object that merely has a
`fileno()` may transform what it reads (`gzip.GzipFile` does), so a file that an application hands over to be *read* is
sent so only if its bytes are surely those of a regular file; one that it names to `send_file` is what it says.
"""

from __future__ import annotations

import io
import os
import stat
from tempfile import _TemporaryFileWrapper
from typing import Any, NamedTuple, Protocol, Union

from fairlead.current import current_request

__all__ = ["FileRange", "Sender", "range_of", "send_file"]

_PLAIN = (io.FileIO, io.BufferedReader, io.BufferedRandom)

Path = Union[str, bytes, "os.PathLike[Any]"]


class HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class Sender(Protocol):
    """The response of a running request, as far as files go."""

    def file(self, descriptor: int, offset: int, length: int) -> None:
        """Send the head if that has not left, then a range of a regular file. Raises OSError."""


class FileRange(NamedTuple):
    """So many bytes of an open regular file, from an offset."""

    descriptor: int
    offset: int
    length: int


def send_file(file: Path | HasDescriptor | int, position: int = 0, size: int | None = None) -> int:
    """Send a regular file, or `size` bytes of it from `position`, as the next part of the running request's body.

    `file` is a path, an open file or a descriptor, which stays open; where it was read to does not matter. Call it
    after `start_response`, and give that a Content-Length if this is the whole body. It returns when all was handed to
    the client's connection, and answers how many bytes that were. Raises LookupError outside a request, OSError when
    the file cannot be opened, is not a regular one, or cannot be sent.
    """
    task = current_request().task
    if task is None:
        raise LookupError("the request is over; call this from the application while it runs")
    sender: Sender = task.response
    for name, number in (("position", position), ("size", size)):
        if not isinstance(number, int) and (name, number) != ("size", None):
            raise TypeError(f"{name} is a number of bytes, not {type(number).__name__}")
    if isinstance(file, (str, bytes, os.PathLike)):
        with open(file, "rb", buffering=0) as opened:
            return _send(sender, opened.fileno(), position, size)
    if not isinstance(file, int) and not hasattr(file, "fileno"):
        raise TypeError(f"a file is a path, an open file or a descriptor, not {type(file).__name__}")
    return _send(sender, file if isinstance(file, int) else _descriptor_of(file), position, size)


def _descriptor_of(file: HasDescriptor) -> int:
    try:
        return file.fileno()
    except io.UnsupportedOperation:
        kind = type(file).__name__
        raise OSError(f"{kind} is a file without a descriptor; read it and send what you read") from None


def _send(sender: Sender, descriptor: int, position: int, size: int | None) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"descriptor {descriptor} is not a regular file; read it and send what you read")
    if position < 0 or (size is not None and size < 0):
        raise ValueError(f"{size} bytes from {position} are no part of a file; give 0 or more of both")
    left = max(0, status.st_size - position)
    length = left if size is None else min(size, left)
    sender.file(descriptor, position, length)
    return length


def range_of(file: Any) -> FileRange | None:
    """What `file.read()` would still give, if those are the bytes of a regular file; None if it must be read."""
    if type(file) is not io.BufferedReader:
        if isinstance(file, _TemporaryFileWrapper):
            file = file.file
        # A proxy (Django's File, for one) passes the plain file's own method on.
        file = getattr(getattr(file, "read", None), "__self__", None)
    if type(file) not in _PLAIN:
        return None
    try:
        if type(getattr(file, "raw", file)) is not io.FileIO or not file.readable():
            return None
        if file.writable():
            file.flush()
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        offset = file.tell()
    except (OSError, ValueError):
        return None  # reading it will raise what there is to say
    # Files of the kernel's own (/proc) have no length before they are read.
    return FileRange(file.fileno(), offset, status.st_size - offset) if status.st_size > offset else None
