//! The admission queue between front and runner: who may start now, and who waits.
//!
//! The invariant: `running` tasks hold a slot, at most `slots` of them; a request waits in `waiting` only while all
//! slots are taken, and in `admitted` from the moment it has a slot until the runner takes it. A slot comes back when its
//! request is dropped, whatever became of it, and goes to the oldest request that waits and whose client is still there.
//!
//! Threads that ask for requests ([`AdmissionQueue::wait`]) are woken sparingly. A language with a global lock runs
//! `runners` of them at a time, and each further one only stands in the way: 64 threads that all fight for one lock halve the
//! rate of small requests. So while `runners` threads are at work, a finished one takes the next request, and nobody is
//! woken. A thread that waits in a verb of the engine is not at work. One that is held up elsewhere (a database, a
//! computation) is found by the guard, a waiting thread that looks every millisecond and takes a request itself if nobody
//! else has.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an admitted request may wait without any being taken. A millisecond is the price of a request that meets a
/// blocked application; a thousand looks a second, while requests wait, cost below one per cent of a core.
const PATIENCE: Duration = Duration::from_millis(1);

pub(crate) struct AdmissionQueue<R> {
    state: Mutex<State<R>>,
    /// Threads that wait for a request.
    threads: Condvar,
    /// `admitted` is not empty, as a load can tell.
    has_admitted: AtomicBool,
}

struct State<R> {
    slots: usize,
    running: usize,
    waiting: VecDeque<R>,
    admitted: VecDeque<R>,
    closed: bool,
    /// Threads that may be at work before the others are left asleep, and those that are.
    runners: usize,
    at_work: usize,
    /// A waiting thread looks after `admitted`.
    guarded: bool,
    /// Requests that threads have taken, so that the guard sees whether things move.
    taken: u64,
}

/// What becomes of a slot that came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// A waiting request got it: the runner must look.
    Passed,
    /// It is free: the front may accept again.
    Free,
}

/// How a thread came to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    InTurn,
    /// As the guard: no request was taken for a while.
    ByGuard,
}

impl<R> AdmissionQueue<R> {
    pub(crate) fn new(slots: usize, runners: usize) -> Self {
        let state = State {
            slots: slots.max(1),
            running: 0,
            waiting: VecDeque::new(),
            admitted: VecDeque::new(),
            closed: false,
            runners: runners.max(1),
            at_work: 0,
            guarded: false,
            taken: 0,
        };
        Self {
            state: Mutex::new(state),
            threads: Condvar::new(),
            has_admitted: AtomicBool::new(false),
        }
    }

    /// A request arrives. True if it got a slot: the runner must look, see [`AdmissionQueue::announce`]. `admit` is told of
    /// the slot first, under the queue's lock.
    pub(crate) fn put(&self, request: R, admit: impl FnOnce(&R)) -> bool {
        let mut state = self.lock();
        if state.running < state.slots {
            state.running += 1;
            admit(&request);
            state.admitted.push_back(request);
            self.note_admitted(&state);
            true
        } else {
            state.waiting.push_back(request);
            false
        }
    }

    /// Wakes a thread for what was put. Once for a batch: woken for the first request a thread would, on one core, push
    /// the front aside before it has read the second.
    pub(crate) fn announce(&self) {
        let state = self.lock();
        self.wake_if_needed(&state);
    }

    /// For a runner with one thread: takes all that are admitted. One load if there are none, which is so in most turns.
    pub(crate) fn take_all(&self, into: &mut Vec<R>) {
        if self.has_more() {
            let mut state = self.lock();
            into.extend(state.admitted.drain(..));
            self.note_admitted(&state);
        }
    }

    /// The next request for this thread, if there is one and it need not wait for its turn. At work as after
    /// [`AdmissionQueue::wait`].
    pub(crate) fn take_in_turn(&self) -> Option<R> {
        let mut state = self.lock();
        if state.at_work < state.runners {
            self.hand_out(&mut state)
        } else {
            None
        }
    }

    /// Blocks until there is a request for this thread, the queue is closed or the time is over. The thread is at work from
    /// then on, until [`AdmissionQueue::rest`].
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Option<(R, Taken)> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut state = self.lock();
        loop {
            if state.at_work < state.runners {
                if let Some(request) = self.hand_out(&mut state) {
                    return Some((request, Taken::InTurn));
                }
            }
            if state.closed && state.admitted.is_empty() {
                return None;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                // It may have been the guard: another has to take over.
                self.wake_if_needed(&state);
                return None;
            }
            if state.admitted.is_empty() || state.guarded {
                state = self.sleep(state, left);
                continue;
            }
            let taken = state.taken;
            state.guarded = true;
            state = self.sleep(state, Some(left.map_or(PATIENCE, |left| left.min(PATIENCE))));
            state.guarded = false;
            if state.taken == taken {
                if let Some(request) = self.hand_out(&mut state) {
                    return Some((request, Taken::ByGuard));
                }
            }
        }
    }

    /// A task has ended. Its thread is about to ask for the next request, so nobody is woken for those that are there; should
    /// the thread not come, there is the guard.
    pub(crate) fn done(&self) {
        let mut state = self.lock();
        state.at_work -= 1;
        if !state.admitted.is_empty() && !state.guarded {
            self.threads.notify_one();
        }
    }

    /// More requests are admitted.
    pub(crate) fn has_more(&self) -> bool {
        self.has_admitted.load(Ordering::Acquire)
    }

    /// A task waits in the engine: it is not at work.
    pub(crate) fn rest(&self) {
        let mut state = self.lock();
        state.at_work -= 1;
        self.wake_if_needed(&state);
    }

    /// A task that waited in the engine goes on.
    pub(crate) fn resume(&self) {
        self.lock().at_work += 1;
    }

    /// A slot comes back. `admit` gives it to the request that has waited longest, with nothing locked; false: it is for
    /// nobody any more, and the next one is asked.
    pub(crate) fn release(&self, admit: impl Fn(&R) -> bool) -> Released {
        loop {
            let mut state = self.lock();
            let Some(request) = state.waiting.pop_front() else {
                state.running -= 1;
                return Released::Free;
            };
            drop(state);
            if !admit(&request) {
                continue;
            }
            let mut state = self.lock();
            state.admitted.push_back(request);
            self.note_admitted(&state);
            self.wake_if_needed(&state);
            return Released::Passed;
        }
    }

    /// A slot is free, or fewer than `limit` requests wait for one; see [`AdmissionQueue::waiting`].
    pub(crate) fn has_place(&self, limit: usize, is_over: impl Fn(&R) -> bool) -> bool {
        let state = self.lock();
        if state.running < state.slots || state.waiting.len() < limit {
            return true;
        }
        drop(state);
        self.waiting(is_over) < limit
    }

    /// How many requests wait for a slot. Those that `is_over` says are for nobody any more do not count, and go; it is
    /// asked under the queue's lock, and must only look.
    pub(crate) fn waiting(&self, is_over: impl Fn(&R) -> bool) -> usize {
        let mut state = self.lock();
        let all = std::mem::take(&mut state.waiting);
        let (over, waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(is_over);
        state.waiting = waiting.into();
        let count = state.waiting.len();
        drop(state);
        // With nothing locked: it tells the front.
        drop(over);
        count
    }

    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        state.running < state.slots && state.waiting.is_empty()
    }

    pub(crate) fn running(&self) -> usize {
        self.lock().running
    }

    /// Threads that wait get `None` from now on, once all admitted requests are taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.threads.notify_all();
    }

    /// Takes what nobody will serve any more.
    pub(crate) fn clear(&self) -> Vec<R> {
        let mut state = self.lock();
        let State {
            waiting, admitted, ..
        } = &mut *state;
        let all = waiting.drain(..).chain(admitted.drain(..)).collect();
        self.note_admitted(&state);
        all
    }

    fn hand_out(&self, state: &mut State<R>) -> Option<R> {
        let request = state.admitted.pop_front()?;
        self.note_admitted(state);
        state.taken += 1;
        state.at_work += 1;
        // There may be work for another, or a guard may be needed.
        self.wake_if_needed(state);
        Some(request)
    }

    /// After each change of `admitted`.
    fn note_admitted(&self, state: &State<R>) {
        self.has_admitted
            .store(!state.admitted.is_empty(), Ordering::Release);
    }

    /// Wakes one thread if requests wait and it could take one, or if nobody guards them.
    fn wake_if_needed(&self, state: &State<R>) {
        if !state.admitted.is_empty() && (state.at_work < state.runners || !state.guarded) {
            self.threads.notify_one();
        }
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State<R>>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State<R>> {
        match limit {
            None => self.threads.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                self.threads
                    .wait_timeout(state, limit)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::sync::Arc;

    use super::*;

    fn put<R>(queue: &AdmissionQueue<R>, request: R) -> bool {
        queue.put(request, |_| {})
    }

    fn taken<R>(queue: &AdmissionQueue<R>) -> Vec<R> {
        let mut all = Vec::new();
        queue.take_all(&mut all);
        all
    }

    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    #[test]
    fn a_request_beyond_the_slots_waits_for_one_to_come_back() {
        let queue = AdmissionQueue::new(1, 1);
        assert!(put(&queue, "a"));
        assert!(!queue.has_room());
        assert!(!put(&queue, "b"));
        assert_eq!(taken(&queue), ["a"]);
        assert!(taken(&queue).is_empty());
        assert_eq!(queue.release(|_| true), Released::Passed);
        assert_eq!(taken(&queue), ["b"]);
        assert_eq!(queue.release(|_| true), Released::Free);
        assert!(queue.has_room());
        assert_eq!(queue.running(), 0);
    }

    #[test]
    fn a_slot_that_comes_back_passes_by_those_whose_client_has_left() {
        let queue = AdmissionQueue::new(1, 1);
        for request in ["runs", "left", "left", "here"] {
            put(&queue, request);
        }
        assert_eq!(taken(&queue), ["runs"]);
        assert_eq!(queue.release(|request| *request == "here"), Released::Passed);
        assert_eq!(taken(&queue), ["here"]);
        assert_eq!(queue.release(|_| true), Released::Free);
        for request in ["runs", "left"] {
            put(&queue, request);
        }
        assert_eq!(queue.release(|_| false), Released::Free);
        assert!(queue.has_room());
    }

    #[test]
    fn only_those_whose_client_is_there_take_a_place() {
        let queue = AdmissionQueue::new(1, 1);
        put(&queue, "runs");
        for request in ["left", "here", "left"] {
            assert!(queue.has_place(3, |_| false));
            put(&queue, request);
        }
        assert!(!queue.has_place(3, |_| false));
        assert_eq!(queue.waiting(|_| false), 3);
        assert!(queue.has_place(3, |request| *request == "left"));
        put(&queue, "here too");
        put(&queue, "and here");
        assert!(!queue.has_place(3, |request| *request == "left"));
        assert_eq!(queue.release(|_| true), Released::Passed);
        assert_eq!(taken(&queue), ["runs", "here"]);
    }

    #[test]
    fn a_free_slot_is_a_place_though_nobody_may_wait() {
        let queue = AdmissionQueue::new(1, 1);
        assert!(queue.has_place(0, |_| false));
        put(&queue, "runs");
        assert!(!queue.has_place(0, |_| false));
        assert_eq!(queue.release(|_| true), Released::Free);
        assert!(queue.has_place(0, |_| false));
    }

    #[test]
    fn a_waiting_thread_is_let_go_when_the_queue_closes() {
        let queue = Arc::new(AdmissionQueue::<()>::new(1, 1));
        let other = Arc::clone(&queue);
        let thread = std::thread::spawn(move || other.wait(None));
        queue.close();
        assert_eq!(thread.join().unwrap(), None);
    }

    #[test]
    fn a_request_is_taken_without_a_wait_only_in_turn() {
        let queue = AdmissionQueue::new(10, 1);
        assert_eq!(queue.take_in_turn(), None);
        put(&queue, "a");
        put(&queue, "b");
        assert_eq!(queue.take_in_turn(), Some("a"));
        assert_eq!(queue.take_in_turn(), None, "one is at work");
        queue.done();
        assert_eq!(queue.take_in_turn(), Some("b"));
    }

    /// `threads` threads that report what they take, and then do as `serve` says.
    fn runner(
        queue: &Arc<AdmissionQueue<u32>>,
        threads: usize,
        serve: impl Fn(&AdmissionQueue<u32>, u32) + Clone + Send + 'static,
    ) -> Vec<std::thread::JoinHandle<usize>> {
        (0..threads)
            .map(|_| {
                let (queue, serve) = (Arc::clone(queue), serve.clone());
                std::thread::spawn(move || {
                    let mut served = 0;
                    while let Some((request, _)) = queue.wait(LONG) {
                        serve(&queue, request);
                        served += 1;
                    }
                    served
                })
            })
            .collect()
    }

    #[test]
    fn every_request_is_served_though_one_thread_works_at_a_time() {
        let queue = Arc::new(AdmissionQueue::new(1_000_000, 1));
        let (done, finished) = mpsc::channel();
        let threads = runner(&queue, 8, move |queue, request| {
            let _ = done.send(request);
            queue.done();
        });
        for request in 0..20_000 {
            put(&queue, request);
            queue.announce();
        }
        let mut seen: Vec<u32> = (0..20_000)
            .map(|_| {
                finished
                    .recv_timeout(LONG.unwrap())
                    .expect("a request was forgotten")
            })
            .collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..20_000));
        queue.close();
        assert_eq!(
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum::<usize>(),
            20_000
        );
    }

    #[test]
    fn requests_behind_blocked_units_are_found_by_the_guard() {
        let queue = Arc::new(AdmissionQueue::new(1_000_000, 1));
        let (arrived, arrivals) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let threads = runner(&queue, 5, move |queue, request| {
            let _ = arrived.send(request);
            if request < 4 {
                // Blocked somewhere the engine cannot see.
                let _ = gate.lock().unwrap().recv();
            }
            queue.done();
        });
        for request in 0..6 {
            put(&queue, request);
        }
        queue.announce();
        let mut seen: Vec<u32> = (0..6)
            .map(|_| arrivals.recv_timeout(LONG.unwrap()).expect("nobody came"))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        drop(open);
        queue.close();
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_unit_that_rests_in_the_engine_makes_way_at_once() {
        let queue = Arc::new(AdmissionQueue::new(10, 1));
        put(&queue, 0);
        assert_eq!(queue.wait(LONG), Some((0, Taken::InTurn)));
        put(&queue, 1);
        let other = Arc::clone(&queue);
        let thread = std::thread::spawn(move || other.wait(LONG));
        queue.rest();
        assert_eq!(thread.join().unwrap().map(|(request, _)| request), Some(1));
        queue.resume();
    }
}
