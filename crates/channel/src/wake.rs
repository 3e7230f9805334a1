//! Wake-ups between processes: a thread of the woken one waits in the kernel for a word of the region to change.
//!
//! A futex, since it needs nothing but the memory that all have: no descriptor to hand over, no path, no permission, and
//! whoever maps the region, at whatever time, can wake everybody. The price is a thread that wakes its own loop.

use rustix::thread::{futex, Timespec};

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Wakes the thread that waits.
pub(crate) fn wake(wakes: &AtomicU32) {
    #[cfg(test)]
    crate::words::crash::point();
    wakes.fetch_add(1, Ordering::SeqCst);
    // Cannot fail for a word that is mapped.
    let _ = futex::wake(wakes, futex::Flags::empty(), 1);
}

/// Blocks until somebody wakes, or has since the wake-up with the number `seen`. Answers the newest one's number; `seen`
/// again if there was none within `limit`. Looks by itself every `longest`.
pub(crate) fn wait(wakes: &AtomicU32, seen: u32, limit: Option<Duration>, longest: Option<Duration>) -> u32 {
    let until = limit.map(|limit| Instant::now() + limit);
    loop {
        let now = wakes.load(Ordering::SeqCst);
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if now != seen || left.is_some_and(|left| left.is_zero()) {
            return now;
        }
        let left = match (left, longest) {
            (Some(left), Some(longest)) => Some(left.min(longest)),
            (left, longest) => left.or(longest),
        };
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        // Ends early when the word has changed, or for a signal: it is looked at again.
        let _ = futex::wait(wakes, futex::Flags::empty(), seen, left.as_ref());
    }
}

/// The number of the newest wake-up.
pub(crate) fn newest(wakes: &AtomicU32) -> u32 {
    wakes.load(Ordering::SeqCst)
}
