"""The scoreboard: how many connections each worker has, in a file in memory that all workers of one master share.

The master makes the file and says which cell belongs to whom; workers write their own count and read the
others' (crates/front/src/scoreboard.rs), so that a new connection goes to one that has few. A cell is 8 bytes, a
little-endian number. The invariant: a cell of nobody says "absent", so a dead worker neither attracts
connections nor keeps others from taking them. Cells belong to processes, not to worker ids: during a reload
there are two processes for one id.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from itertools import count

from fairlead.errors import MasterError

_CELL = 8
_ABSENT = b"\xff" * _CELL


class Scoreboard:
    """`fd` is what the workers inherit. Raises MasterError when the system has no memory to share."""

    def __init__(self) -> None:
        try:
            self.fd = os.memfd_create("fairlead-scoreboard")
        except OSError as error:
            raise MasterError(
                f"--processes: no memory can be shared between the workers: {(error.strerror or '').lower()}."
            ) from None

    def free_cell(self, taken: Collection[int | None]) -> int:
        """The lowest cell that nobody has, cleared."""
        cell = next(cell for cell in count() if cell not in taken)
        self.clear(cell)
        return cell

    def clear(self, cell: int) -> None:
        """Its process has ended, in whatever way."""
        os.pwrite(self.fd, _ABSENT, cell * _CELL)

    def close(self) -> None:
        os.close(self.fd)
