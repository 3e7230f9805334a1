//! How long a request's task has waited for its client: for more of the body, or for room to send.
//!
//! Whoever limits how long an application may take (harakiri) leaves this time out: it is the client's, and has limits of
//! its own. Only what really waits comes here; a verb that finds what it wants costs nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct ClientTime(Mutex<Waits>);

#[derive(Default)]
struct Waits {
    /// How many wait now (an application may hand its request to threads), and since when any does.
    waiting: u32,
    since: Option<Instant>,
    total: Duration,
}

impl ClientTime {
    pub(crate) fn begin(&self) {
        let mut waits = self.lock();
        waits.waiting += 1;
        waits.since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn end(&self) {
        let mut waits = self.lock();
        waits.waiting = waits.waiting.saturating_sub(1);
        if waits.waiting == 0 {
            let waited = waits.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            waits.total += waited;
        }
    }

    /// Also of a wait that still lasts.
    pub(crate) fn total(&self) -> Duration {
        let waits = self.lock();
        waits.total + waits.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
