//! A range of a file that is sent to a client, and how much of it has been.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Bytes of a file on their way to a socket. Only the connection's task touches it.
pub(crate) struct FileRange {
    pub(crate) file: Arc<File>,
    offset: u64,
    length: usize,
    sent: AtomicUsize,
}

impl FileRange {
    pub(crate) fn new(file: Arc<File>, offset: u64, length: usize) -> FileRange {
        FileRange {
            file,
            offset,
            length,
            sent: AtomicUsize::new(0),
        }
    }

    /// All of it, sent or not.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Where to go on, and how much is left.
    pub(crate) fn rest(&self) -> (u64, usize) {
        let sent = self.sent();
        (self.offset + sent as u64, self.length - sent)
    }

    /// So much more was sent; true if that was all.
    pub(crate) fn note_sent(&self, count: usize) -> bool {
        self.sent.fetch_add(count, Ordering::Relaxed) + count >= self.length
    }

    /// For file systems that know no sendfile.
    pub(crate) fn read(&self, into: &mut [u8]) -> std::io::Result<usize> {
        let (offset, left) = self.rest();
        let room = into.len().min(left);
        self.file.read_at(&mut into[..room], offset)
    }
}
