//! Sleeping and waking: how no message is slept through.
//!
//! The loop says that it sleeps, and then looks at the tail once more. A publisher moves the tail, and then looks who
//! sleeps. Between the two steps of each stands a full fence, so at least one of them sees the other.

use crate::layout::{worker, Layout};
use crate::log::Log;
use crate::sync::{fence, Ordering};
use crate::words::Words;

fn asleep(place: usize) -> usize {
    Layout::worker(place) + worker::ASLEEP
}

/// The loop at this place, which has read up to `cursor`, wants to sleep. False if there is something to read.
#[inline]
pub(crate) fn fall_asleep(log: Log<'_>, place: usize, cursor: u64) -> bool {
    let flag = log.words.atomic(asleep(place));
    flag.store(1, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if log.tail() > cursor {
        flag.store(0, Ordering::SeqCst);
        return false;
    }
    true
}

/// The loop at this place is awake: nobody need wake it.
#[inline]
pub(crate) fn wake_up(words: Words<'_>, place: usize) {
    let flag = words.atomic(asleep(place));
    if flag.load(Ordering::Relaxed) != 0 {
        flag.store(0, Ordering::SeqCst);
    }
}

/// Comes between moving the tail and the first [`has_to_be_woken`].
#[inline]
pub(crate) fn before_waking() {
    fence(Ordering::SeqCst);
}

/// True for one publisher for each sleep: it has to wake the loop at this place.
#[inline]
pub(crate) fn has_to_be_woken(words: Words<'_>, place: usize) -> bool {
    words.take(asleep(place))
}
