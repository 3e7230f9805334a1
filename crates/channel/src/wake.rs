//! Wake-ups between processes: a thread of the woken one waits in the kernel for a word of the region to change.
//!
//! A futex, since it needs nothing but the memory that all have: no descriptor to hand over, no path, no permission, and
//! whoever maps the region, at whatever time, can wake everybody. The price is a thread that wakes its own loop.

use rustix::thread::futex;

use std::sync::atomic::{AtomicU32, Ordering};

/// Wakes the thread that waits.
pub(crate) fn wake(wakes: &AtomicU32) {
    wakes.fetch_add(1, Ordering::SeqCst);
    // Cannot fail for a word that is mapped.
    let _ = futex::wake(wakes, futex::Flags::empty(), 1);
}

/// Blocks until somebody wakes, or has since the wake-up with the number `seen`. Answers the newest one's number.
pub(crate) fn wait(wakes: &AtomicU32, seen: u32) -> u32 {
    loop {
        let now = wakes.load(Ordering::SeqCst);
        if now != seen {
            return now;
        }
        // Ends early when the word has changed, or for a signal: it is looked at again.
        let _ = futex::wait(wakes, futex::Flags::empty(), seen, None);
    }
}

/// The number of the newest wake-up.
pub(crate) fn newest(wakes: &AtomicU32) -> u32 {
    wakes.load(Ordering::SeqCst)
}
