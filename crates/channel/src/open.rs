//! How channels come into a process: made in memory, inherited, or found in a file.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::channels::Channels;
use crate::error::RegionError;
use crate::region::Region;

impl Channels {
    /// New channels in memory without a name, of `size` bytes; `longest` is the most that a message may have.
    ///
    /// # Errors
    /// A size that no region has, or the system's.
    pub fn in_memory(size: usize, longest: usize) -> Result<Channels, RegionError> {
        Ok(Channels::over(Region::in_memory(size)?, longest))
    }

    /// The channels in the file of this name, made if there is none. A file that is there keeps its size.
    ///
    /// # Errors
    /// A file that is none of ours, of another release or another user; the system's.
    pub fn in_file(path: &Path, size: usize, longest: usize) -> Result<Channels, RegionError> {
        Ok(Channels::over(Region::in_file(path, size)?, longest))
    }

    /// The channels that another process has made, by the descriptor it gave us.
    ///
    /// # Errors
    /// As for a file.
    pub fn inherited(descriptor: OwnedFd, longest: usize) -> Result<Channels, RegionError> {
        Ok(Channels::over(Region::inherited(descriptor)?, longest))
    }

    /// The region's descriptor, for processes that are to inherit it.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.region.descriptor()
    }
}
