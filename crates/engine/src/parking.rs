//! Where threads wait for what the front reports by token (body bytes, room in a response).
//!
//! Only the threads host waits here; its tokens come from this file, so that a wake-up finds its thread. The waits of
//! coroutine hosts travel as events through the loop instead.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use fairlead_worker::Token;

#[derive(Default)]
pub(crate) struct Parking {
    threads: Mutex<(Token, HashMap<Token, Thread>)>,
}

impl Parking {
    /// Blocks until `ask`, given the token to register, says that the wait is over. False when `limit` passed first.
    pub(crate) fn wait(&self, limit: Duration, ask: impl Fn(Token) -> bool) -> bool {
        let token = {
            let mut threads = self.lock();
            threads.0 += 1;
            let token = threads.0;
            threads.1.insert(token, std::thread::current());
            token
        };
        let deadline = Instant::now() + limit;
        let over = loop {
            if ask(token) {
                break true;
            }
            // A wake-up between the question and this line is remembered by the park.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            std::thread::park_timeout(left);
        };
        self.lock().1.remove(&token);
        over
    }

    pub(crate) fn wake(&self, token: Token) {
        if let Some(thread) = self.lock().1.get(&token) {
            thread.unpark();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Token, HashMap<Token, Thread>)> {
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
        let over = parking.wait(Duration::from_secs(10), |token| {
            let was = ready.swap(true, Ordering::SeqCst);
            parking.wake(token);
            was
        });
        assert!(over);
    }

    #[test]
    fn the_limit_ends_the_wait() {
        assert!(!Parking::default().wait(Duration::from_millis(1), |_| false));
    }
}
