//! Descriptors that are not ours: a unit waits for a database or another socket in the same wait as for its peer.
//!
//! What is watched is a duplicate, because epoll knows a descriptor once and two units may wait for the same one; and
//! because an app may close its own while somebody waits. A watch fires once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::inbox::{lock, Event, Shared};
use crate::poller::Interest;
use crate::Token;

/// Set in the keys of watches, never in those of connections.
pub(crate) const WATCH_BIT: u64 = 1 << 63;

/// All watches of a worker, by the number in their key.
#[derive(Default)]
pub(crate) struct Watches {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Grows with each watch, so that a readiness of the last tenant is recognised.
    count: u32,
}

struct Entry {
    key: u64,
    descriptor: OwnedFd,
    token: Token,
    fired: Arc<AtomicBool>,
}

/// A descriptor that is being watched; dropping it ends that.
pub struct Watch {
    shared: Arc<Shared>,
    key: u64,
    fired: Arc<AtomicBool>,
}

impl Watch {
    /// Watches until `descriptor` is ready, hung up or broken; then [`Event::Wake`] is reported with `token`.
    ///
    /// # Errors
    /// The system's: not an open descriptor, one that cannot be polled (a regular file), or none is free.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        descriptor: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> std::io::Result<Self> {
        let descriptor = descriptor.try_clone_to_owned()?;
        let fired = Arc::new(AtomicBool::new(false));
        let mut table = lock(&shared.watches.table);
        table.count = table.count.wrapping_add(1) & 0x7fff_ffff;
        let count = table.count;
        let index = table.free.pop().unwrap_or_else(|| {
            table.entries.push(None);
            (table.entries.len() - 1) as u32
        });
        let key = WATCH_BIT | u64::from(count) << 32 | u64::from(index);
        if let Err(error) = shared.poller.add(descriptor.as_fd(), key, interest) {
            table.free.push(index);
            return Err(error);
        }
        table.entries[index as usize] = Some(Entry {
            key,
            descriptor,
            token,
            fired: Arc::clone(&fired),
        });
        drop(table);
        Ok(Self {
            shared: Arc::clone(shared),
            key,
            fired,
        })
    }

    /// True once the descriptor was ready.
    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.shared.watches.end(&self.shared, self.key));
    }
}

impl Watches {
    /// The driver found the descriptor ready.
    pub(crate) fn fire(&self, shared: &Shared, key: u64) {
        if let Some(entry) = self.end(shared, key) {
            entry.fired.store(true, Ordering::SeqCst);
            shared.report(Event::Wake(entry.token));
        }
    }

    fn end(&self, shared: &Shared, key: u64) -> Option<Entry> {
        let mut table = lock(&self.table);
        let index = key as u32;
        let slot = table.entries.get_mut(index as usize)?;
        let entry = slot.take_if(|entry| entry.key == key)?;
        table.free.push(index);
        // Not left to the closing: the app's own descriptor keeps the file open, and the kernel would go on watching it.
        let _ = shared.poller.remove(entry.descriptor.as_fd());
        Some(entry)
    }
}
