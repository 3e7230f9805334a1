//! The desk between front and host: who may start now, and who waits.
//!
//! The invariant: `running` units hold a slot, at most `slots` of them; a request waits in `waiting` only while all
//! slots are taken, and in `given` from the moment it has a slot until the host takes it. A slot comes back when its
//! request is dropped, whatever became of it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Desk<R> {
    state: Mutex<State<R>>,
    given: Condvar,
}

struct State<R> {
    slots: usize,
    running: usize,
    waiting: VecDeque<R>,
    given: VecDeque<R>,
    closed: bool,
}

/// What becomes of a slot that came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// A waiting request got it: the host must look.
    Passed,
    /// It is free: the front may accept again.
    Free,
}

impl<R> Desk<R> {
    pub(crate) fn new(slots: usize) -> Self {
        let state = State {
            slots: slots.max(1),
            running: 0,
            waiting: VecDeque::new(),
            given: VecDeque::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), given: Condvar::new() }
    }

    /// A request arrives. True if it got a slot: the host must look.
    pub(crate) fn put(&self, request: R) -> bool {
        let mut state = self.lock();
        if state.running < state.slots {
            state.running += 1;
            state.given.push_back(request);
            self.given.notify_one();
            true
        } else {
            state.waiting.push_back(request);
            false
        }
    }

    pub(crate) fn take(&self) -> Option<R> {
        self.lock().given.pop_front()
    }

    /// Blocks until a request is given, the desk is closed or the time is over.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Option<R> {
        let mut state = self.lock();
        loop {
            if let Some(request) = state.given.pop_front() {
                return Some(request);
            }
            if state.closed {
                return None;
            }
            match limit {
                None => state = self.given.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let (guard, time) =
                        self.given.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
                    state = guard;
                    if time.timed_out() {
                        return state.given.pop_front();
                    }
                }
            }
        }
    }

    pub(crate) fn release(&self) -> Released {
        let mut state = self.lock();
        if let Some(request) = state.waiting.pop_front() {
            state.given.push_back(request);
            self.given.notify_one();
            return Released::Passed;
        }
        state.running -= 1;
        Released::Free
    }

    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        state.running < state.slots && state.waiting.is_empty()
    }

    pub(crate) fn running(&self) -> usize {
        self.lock().running
    }

    /// Threads that wait get `None` from now on, once all given requests are taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.given.notify_all();
    }

    /// Takes what nobody will serve any more.
    pub(crate) fn clear(&self) -> Vec<R> {
        let mut state = self.lock();
        let State { waiting, given, .. } = &mut *state;
        waiting.drain(..).chain(given.drain(..)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_beyond_the_slots_waits_for_one_to_come_back() {
        let desk = Desk::new(1);
        assert!(desk.put("a"));
        assert!(!desk.has_room());
        assert!(!desk.put("b"));
        assert_eq!(desk.take(), Some("a"));
        assert_eq!(desk.take(), None);
        assert_eq!(desk.release(), Released::Passed);
        assert_eq!(desk.take(), Some("b"));
        assert_eq!(desk.release(), Released::Free);
        assert!(desk.has_room());
        assert_eq!(desk.running(), 0);
    }

    #[test]
    fn a_waiting_thread_is_let_go_when_the_desk_closes() {
        let desk = std::sync::Arc::new(Desk::<()>::new(1));
        let other = std::sync::Arc::clone(&desk);
        let thread = std::thread::spawn(move || other.wait(None));
        desk.close();
        assert_eq!(thread.join().unwrap(), None);
    }
}
