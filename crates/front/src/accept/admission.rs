//! Admission by room: accept tasks wait while the applications have no slot free.
//!
//! The connection stays in the kernel's queue meanwhile, where another process can take it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Lets accept tasks wait for room.
#[derive(Default)]
pub(crate) struct Gate {
    /// Accept tasks that wait. Only the front's thread counts.
    waiting: AtomicUsize,
    /// The next `open` has somebody to tell.
    is_waiting: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// There may be room again. One load when nobody waits for it.
    pub(crate) fn open(&self) {
        if self.is_waiting.load(Ordering::SeqCst) && self.is_waiting.swap(false, Ordering::SeqCst) {
            self.opened.notify_waiters();
        }
    }

    /// A connection may wait outside for lack of room.
    pub(crate) fn is_shut(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// True if there was none at first.
    pub(super) async fn wait_for_room(&self, has_room: impl Fn() -> bool) -> bool {
        if has_room() {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wait_for_opening(has_room).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        true
    }

    async fn wait_for_opening(&self, has_room: impl Fn() -> bool) {
        loop {
            let opened = self.opened.notified();
            let mut opened = std::pin::pin!(opened);
            opened.as_mut().enable();
            // Announced before the second question: who makes room after it sees the announcement.
            self.is_waiting.store(true, Ordering::SeqCst);
            if has_room() {
                return;
            }
            opened.await;
            if has_room() {
                return;
            }
        }
    }
}
