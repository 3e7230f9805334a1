//! Sleeping and waking: how no message is slept through.
//!
//! The loop says that it sleeps, and then looks at the tail once more. A publisher moves the tail, and then looks who
//! sleeps. Between the two steps of each stands a full fence, so at least one of them sees the other.
//!
//! Each sleep has a number of its own. A publisher wakes first, and says then that this sleep is over: one that dies in
//! between has woken the loop, and one that dies before leaves it asleep for the next to see. The number keeps a late
//! publisher from ending a later sleep, which it has not woken.

use crate::layout::{worker, Layout};
use crate::log::Log;
use crate::sync::{fence, Ordering};
use crate::words::Words;

/// The bit of the word that says that the loop sleeps, or is about to; above it stands the number of the sleep.
const ASLEEP: u64 = 1;

/// One sleep of one loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sleep(u64);

#[cfg(all(test, loom))]
impl Sleep {
    pub(crate) fn number(self) -> u64 {
        self.0 >> 1
    }
}

fn asleep(place: usize) -> usize {
    Layout::worker(place) + worker::ASLEEP
}

/// The loop at this place, which has read up to `cursor`, wants to sleep. False if there is something to read.
#[inline]
pub(crate) fn fall_asleep(log: Log<'_>, place: usize, cursor: u64) -> bool {
    let flag = log.words.atomic(asleep(place));
    let sleep = (flag.load(Ordering::Relaxed) | ASLEEP).wrapping_add(2);
    flag.store(sleep, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if log.tail() > cursor {
        flag.fetch_and(!ASLEEP, Ordering::SeqCst);
        return false;
    }
    true
}

/// The loop at this place is awake: nobody need wake it.
#[inline]
pub(crate) fn wake_up(words: Words<'_>, place: usize) {
    let flag = words.atomic(asleep(place));
    if flag.load(Ordering::Relaxed) & ASLEEP != 0 {
        flag.fetch_and(!ASLEEP, Ordering::SeqCst);
    }
}

/// Comes between moving the tail and the first [`sleep_of`].
#[inline]
pub(crate) fn before_waking() {
    fence(Ordering::SeqCst);
}

/// The sleep that the loop at this place has to be woken from, if it sleeps.
#[inline]
pub(crate) fn sleep_of(words: Words<'_>, place: usize) -> Option<Sleep> {
    let sleep = words.atomic(asleep(place)).load(Ordering::SeqCst);
    (sleep & ASLEEP != 0).then_some(Sleep(sleep))
}

/// It was woken from that: no other publisher need do it.
#[inline]
pub(crate) fn is_over(words: Words<'_>, place: usize, sleep: Sleep) {
    // Refused when the loop has seen it by itself, and may sleep again.
    let _ = words.put_if(asleep(place), sleep.0, sleep.0 & !ASLEEP);
}
