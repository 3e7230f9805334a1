//! Descriptors that are not ours: a task waits for a database or another socket in the same wait as for its peer.
//!
//! What is watched is a duplicate, because epoll knows a descriptor once and two tasks may wait for the same one; and
//! because an app may close its own while somebody waits. A watch fires once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fairlead_channel::is_forked;

use crate::event::{Event, Token};
use crate::inbox::{lock, Shared};
use crate::poller::Interest;
use crate::slab::Slab;

/// Set in the keys of watches, never in those of connections.
pub(crate) const WATCH_BIT: u64 = 1 << 63;

/// All watches of a worker.
pub(crate) struct Watches {
    shared: Arc<Shared>,
    table: Mutex<Slab<Entry>>,
}

struct Entry {
    descriptor: OwnedFd,
    token: Token,
    fired: Arc<AtomicBool>,
}

/// A descriptor that is being watched; dropping it ends that.
pub struct Watch {
    watches: Arc<Watches>,
    key: u64,
    fired: Arc<AtomicBool>,
}

impl Watch {
    /// Watches until `descriptor` is ready, hung up or broken; then [`Event::Wake`] is reported with `token`.
    ///
    /// # Errors
    /// The system's: not an open descriptor, one that cannot be polled (a regular file), or none is free.
    pub(crate) fn start(
        watches: &Arc<Watches>,
        descriptor: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> std::io::Result<Self> {
        let descriptor = descriptor.try_clone_to_owned()?;
        let fired = Arc::new(AtomicBool::new(false));
        let key = lock(&watches.table).try_insert_with(|key| {
            let poller = &watches.shared.poller;
            poller.add(descriptor.as_fd(), WATCH_BIT | key, interest)?;
            Ok::<_, std::io::Error>(Entry {
                descriptor,
                token,
                fired: Arc::clone(&fired),
            })
        })?;
        Ok(Self {
            watches: Arc::clone(watches),
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
        if is_forked() {
            return; // the loop that watches is the parent's
        }
        drop(self.watches.end(self.key));
    }
}

impl Watches {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            table: Mutex::default(),
        }
    }

    /// The driver found the descriptor ready: `key` is the one that the poller has.
    pub(crate) fn fire(&self, key: u64) {
        if let Some(entry) = self.end(key & !WATCH_BIT) {
            entry.fired.store(true, Ordering::SeqCst);
            self.shared.report(Event::Wake(entry.token));
        }
    }

    fn end(&self, key: u64) -> Option<Entry> {
        let mut table = lock(&self.table);
        let entry = table.remove(key)?;
        // Not left to the closing: the app's own descriptor keeps the file open, and the kernel would go on watching it.
        let _ = self.shared.poller.remove(entry.descriptor.as_fd());
        Some(entry)
    }
}
