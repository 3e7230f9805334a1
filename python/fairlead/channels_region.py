"""The channels' region as the master has it: it makes the memory, hands it to the workers, and forgets the dead.

The only part of the engine that the master touches, and no more of it than that: the region is only words to it, so
that nothing an application publishes can harm the master.
"""

from __future__ import annotations

from fairlead._native import Channels
from fairlead.errors import ChannelsError, MasterError
from fairlead.logs import Log
from fairlead.settings import Settings

__all__ = ["ChannelsRegion"]


class ChannelsRegion:
    """`fd` is what the workers inherit. Raises MasterError when the memory or the file cannot be had."""

    def __init__(self, settings: Settings) -> None:
        size, longest = settings.channels_memory, settings.channels_max_message
        path = settings.channels_file
        try:
            self.native = Channels.in_file(path, size, longest) if path else Channels.in_memory(size, longest)
        except ValueError as error:
            raise MasterError(f"--channels-file {path}: {error}.") from None
        except OSError as error:
            option = f"--channels-file {path}" if path else f"--channels-memory {size >> 20}"
            raise MasterError(f"{option}: {(error.strerror or str(error)).lower()}.") from None
        self.fd = self.native.fileno()

    def forget_members(self, log: Log) -> None:
        """A worker has ended, in whatever way: its members are none any more."""
        try:
            self.native.forget_dead()
        except ChannelsError as error:
            log.warning(f"the members of a worker that has ended are still counted: {error}")
