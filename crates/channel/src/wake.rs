//! Calls between processes: a thread of the called one waits in the kernel for a word of the region to change.
//!
//! A futex, since it needs nothing but the memory that all have: no descriptor to hand over, no path, no permission, and
//! whoever maps the region, at whatever time, can call everybody. The price is a thread that rings its loop's own bell.

use rustix::thread::futex;

use std::sync::atomic::{AtomicU32, Ordering};

/// Wakes the thread that waits.
pub(crate) fn call(calls: &AtomicU32) {
    calls.fetch_add(1, Ordering::SeqCst);
    // Cannot fail for a word that is mapped.
    let _ = futex::wake(calls, futex::Flags::empty(), 1);
}

/// Blocks until somebody calls, or has called since the call with the number `seen`. Answers the newest call's number.
pub(crate) fn wait(calls: &AtomicU32, seen: u32) -> u32 {
    loop {
        let now = calls.load(Ordering::SeqCst);
        if now != seen {
            return now;
        }
        // Ends early when the word has changed, or for a signal: it is looked at again.
        let _ = futex::wait(calls, futex::Flags::empty(), seen, None);
    }
}

/// The number of the newest call.
pub(crate) fn newest(calls: &AtomicU32) -> u32 {
    calls.load(Ordering::SeqCst)
}
