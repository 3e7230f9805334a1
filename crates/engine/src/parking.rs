//! Where threads wait for what front and worker report by token (body bytes, room, a message).
//!
//! Tokens of threads come from this file and carry [`THREAD_TOKEN`], so that a wake-up finds its thread at once, whoever
//! reports it; those of coroutines travel as events to the runner. Besides the threads runner's own these are threads that a
//! coroutine has started: they must not need the runner, which may be waiting for them.

use std::sync::{Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use fairlead_worker::{Slab, Token, THREAD_TOKEN};

#[derive(Default)]
pub(crate) struct Parking {
    threads: Mutex<Slab<Thread>>,
}

impl Parking {
    /// Blocks until `ask`, given the token to register, says that the wait is over. False when `limit` passed first.
    pub(crate) fn wait(&self, limit: Option<Duration>, mut ask: impl FnMut(Token) -> bool) -> bool {
        let key = self.lock().insert(std::thread::current());
        let token = THREAD_TOKEN | key;
        // A limit beyond what the clock can name is none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let over = loop {
            if ask(token) {
                break true;
            }
            // A wake-up between the question and this line is remembered by the park.
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(left) if left.is_zero() => break false,
                Some(left) => std::thread::park_timeout(left),
            }
        };
        self.lock().remove(key);
        over
    }

    pub(crate) fn wake(&self, token: Token) {
        if let Some(thread) = self.lock().get(token & !THREAD_TOKEN) {
            thread.unpark();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<Thread>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;

    #[test]
    fn a_wake_up_between_question_and_sleep_is_not_lost() {
        let parking = Arc::new(Parking::default());
        let ready = Arc::new(AtomicBool::new(false));
        let over = parking.wait(Some(Duration::from_secs(10)), |token| {
            let was = ready.swap(true, Ordering::SeqCst);
            parking.wake(token);
            was
        });
        assert!(over);
    }

    #[test]
    fn a_limit_that_no_clock_can_name_is_none() {
        let mut asked = 0;
        let parking = Parking::default();
        assert!(parking.wait(Some(Duration::MAX), |token| {
            asked += 1;
            parking.wake(token);
            asked == 2
        }));
    }

    #[test]
    fn the_limit_ends_the_wait() {
        assert!(!Parking::default().wait(Some(Duration::from_millis(1)), |_| false));
    }
}
