//! The wake queue: how another thread wakes connections of the front without a system call for each.
//!
//! Waking a tokio task from outside costs one write to an eventfd, every time. Under load the worker answers hundreds of
//! requests in the time in which the front does one turn, so the wake-ups are collected in a list and only the first one
//! after an empty list wakes the thread. The list is emptied by one task of the front ([`WakeQueue::run`]), for which waking
//! a neighbour is free. Invariant: whoever finds the list unannounced announces it, and pushes before that, so nothing is
//! left lying.
//!
//! A worker that runs many units on one thread can also *cork* the queue while it runs a batch of them, so that the front
//! is not woken, and on one core does not push the worker aside, for each answer. A corked queue is announced all the same
//! once enough has gathered or it has been corked for too long; whoever corks it uncorks it when the batch is done, or has
//! somebody else do so when the batch takes longer.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Answers that a corked queue gathers at most: beyond it a batch saves little, and clients wait.
const GATHERED: usize = 32;
/// How long a corked queue gathers at most, as far as somebody comes to announce it: well below what a person or a
/// latency percentile notices.
const CORKED: Duration = Duration::from_micros(300);

/// Collected wake-ups. One per front.
#[derive(Default)]
pub(crate) struct WakeQueue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    waiting: Vec<Waker>,
    listener: Option<Waker>,
    /// The listener was told of what waits.
    announced: bool,
    corked_since: Option<Instant>,
    home: Option<ThreadId>,
}

impl QueueState {
    /// The listener to wake, unless it was told already.
    fn announce(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.announced, true) {
            None
        } else {
            self.listener.clone()
        }
    }
}

impl WakeQueue {
    /// Wakes `task`, which belongs to the front's runtime. From any thread.
    pub(crate) fn wake(&self, task: &Waker) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.home == Some(std::thread::current().id()) {
            drop(state);
            task.wake_by_ref();
            return;
        }
        state.waiting.push(task.clone());
        let gathering = state
            .corked_since
            .is_some_and(|since| state.waiting.len() < GATHERED && since.elapsed() < CORKED);
        let listener = if gathering { None } else { state.announce() };
        if !gathering && state.corked_since.is_some() {
            state.corked_since = Some(Instant::now());
        }
        drop(state);
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Gathers what comes from now on.
    pub(crate) fn cork(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.corked_since.get_or_insert_with(Instant::now);
    }

    /// Announces what was gathered; from now on every first wake-up is announced at once.
    pub(crate) fn uncork(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.corked_since.take().is_none() {
            return;
        }
        let listener = if state.waiting.is_empty() {
            None
        } else {
            state.announce()
        };
        drop(state);
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Passes wake-ups on for ever; runs as one task on the front's thread.
    pub(crate) async fn run(&self) {
        let mut batch = Vec::new();
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.home = Some(std::thread::current().id());
            state.listener = Some(context.waker().clone());
            state.announced = false;
            std::mem::swap(&mut batch, &mut state.waiting);
            drop(state);
            for task in batch.drain(..) {
                task.wake();
            }
            Poll::<()>::Pending
        })
        .await;
    }
}
