//! Threads whose wait in the engine is over stand in line for the GIL, a few of them at it at a time.
//!
//! A thread that wants the GIL looks every five milliseconds whether it has it, and pushes who has. Thousands that wake at
//! once (all clients of a room go, or get a message) do nothing but that: the time grows with their square, and nobody
//! else comes forward. So at most [`MOST`] of them ask for it, and the others sleep until one of these has got it. As starts
//! of tasks are let in by the admission queue, so are ends and messages here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use pyo3::Python;

/// Enough that a busy server of 64 clients never comes to a sleep here, which cost it 13 % with 32; while somebody holds the
/// GIL for long, their looks cost four per cent of a core.
const MOST: usize = 64;

/// The one of this process, as the GIL is.
static GIL_QUEUE: GilQueue = GilQueue::new();

/// Lets go of the GIL for `work`, and stands in line for it afterwards. For what many threads may do at once.
pub(crate) fn detach_in_line<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    let done = py.detach(|| {
        let done = work();
        GIL_QUEUE.enter();
        done
    });
    GIL_QUEUE.leave();
    done
}

struct GilQueue {
    /// Threads that ask for the GIL now.
    asking: AtomicUsize,
    /// Threads in `line`. Changed under its lock.
    sleeping: AtomicUsize,
    line: Mutex<VecDeque<Arc<Sleeper>>>,
}

struct Sleeper {
    thread: Thread,
    may_ask: AtomicBool,
}

impl GilQueue {
    const fn new() -> Self {
        Self {
            asking: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            line: Mutex::new(VecDeque::new()),
        }
    }

    /// Blocks until this thread may ask for the GIL. Without the GIL.
    fn enter(&self) {
        if self.try_enter() {
            return;
        }
        let mut line = self.lock();
        // First the count, then a second look; who leaves does it the other way round, so one of the two sees the other.
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        if self.try_enter() {
            self.sleeping.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let sleeper = Arc::new(Sleeper {
            thread: std::thread::current(),
            may_ask: AtomicBool::new(false),
        });
        line.push_back(Arc::clone(&sleeper));
        drop(line);
        while !sleeper.may_ask.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }

    /// This thread has the GIL: another may ask for it.
    fn leave(&self) {
        loop {
            self.asking.fetch_sub(1, Ordering::SeqCst);
            if self.sleeping.load(Ordering::SeqCst) == 0 || !self.try_enter() {
                return;
            }
            let next = self.lock().pop_front();
            if let Some(next) = next {
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
                next.may_ask.store(true, Ordering::SeqCst);
                next.thread.unpark();
                return;
            }
        }
    }

    fn try_enter(&self) -> bool {
        let more = |asking| (asking < MOST).then_some(asking + 1);
        self.asking
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Sleeper>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ask_at_a_time_and_all_come_to_it() {
        let queue = GilQueue::new();
        let (gil, most, served) = (Mutex::new(()), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..300 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        queue.enter();
                        most.fetch_max(queue.asking.load(Ordering::SeqCst), Ordering::SeqCst);
                        let held = gil.lock().unwrap();
                        queue.leave();
                        drop(held);
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(served.into_inner(), 300 * 50);
        assert!(most.into_inner() <= MOST);
        assert_eq!((queue.asking.into_inner(), queue.sleeping.into_inner()), (0, 0));
    }
}
