//! A region's file before it is mapped: one process at a time opens it, and it has room for all its pages.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use crate::error::RegionError;
use crate::layout::SMALLEST_REGION;

/// Between two looks at a file that somebody else is opening, which takes some milliseconds.
const NAP: Duration = Duration::from_millis(2);

/// Takes the file's own lock, which is held while it is made or opened; waits for it so long.
pub(crate) fn lock_file(file: &File, patience: Duration) -> Result<(), RegionError> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if begun.elapsed() < patience => std::thread::sleep(NAP),
            Err(Errno::WOULDBLOCK) => return Err(RegionError::BeingMade),
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Takes the room for all its pages now. A write into a mapped page for which there is none kills the process.
pub(crate) fn reserve(file: &File, size: usize, is_new: bool) -> Result<(), RegionError> {
    loop {
        return match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size as u64) {
            Ok(()) => Ok(()),
            Err(Errno::INTR) => continue,
            // A file system that cannot take room ahead. What is written takes it, and harms only what is new.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if is_new => fill(file, size),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(no_room(error.into(), size)),
        };
    }
}

fn fill(file: &File, size: usize) -> Result<(), RegionError> {
    let zeros = vec![0; SMALLEST_REGION.min(size)];
    let mut at = 0;
    while at < size {
        let count = zeros.len().min(size - at);
        file.write_all_at(&zeros[..count], at as u64)
            .map_err(|error| no_room(error, size))?;
        at += count;
    }
    Ok(())
}

fn no_room(error: io::Error, size: usize) -> RegionError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => RegionError::NoRoom(size),
        _ => error.into(),
    }
}
