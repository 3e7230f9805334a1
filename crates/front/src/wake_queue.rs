//! The bell: how another thread wakes connections of the front without a system call for each.
//!
//! Waking a tokio task from outside costs one write to an eventfd, every time. Under load the worker answers hundreds of
//! requests in the time in which the front does one turn, so the wake-ups are collected in a list and only the first one
//! after an empty list rings. The list is emptied by one task of the front, for which waking a neighbour is free.
//! Invariant: whoever finds the list unannounced rings, and the ringer's push happens before the ring, so nothing is left
//! lying.
//!
//! A worker that runs many units on one thread can also *hold* the bell while it runs a batch of them, so that the front
//! is not woken, and on one core does not push the worker aside, for each answer. A held bell rings all the same once
//! enough has gathered or the hold has lasted too long; whoever holds it lets go when the batch is done, or has somebody
//! else let go when the batch takes longer.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Answers that a held bell gathers at most: beyond it a batch saves little, and clients wait.
const GATHERED: usize = 32;
/// How long a held bell gathers at most, as far as somebody comes to ring it: well below what a person or a
/// latency percentile notices.
const HELD: Duration = Duration::from_micros(300);

/// Collected wake-ups. One per front.
#[derive(Default)]
pub(crate) struct Bell {
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    waiting: Vec<Waker>,
    listener: Option<Waker>,
    /// The listener was told of what waits.
    announced: bool,
    held_since: Option<Instant>,
    home: Option<ThreadId>,
}

impl Desk {
    /// The listener to wake, unless it was told already.
    fn announce(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.announced, true) {
            None
        } else {
            self.listener.clone()
        }
    }
}

impl Bell {
    /// Wakes `task`, which belongs to the front's runtime. From any thread.
    pub(crate) fn wake(&self, task: &Waker) {
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        if desk.home == Some(std::thread::current().id()) {
            drop(desk);
            task.wake_by_ref();
            return;
        }
        desk.waiting.push(task.clone());
        let gathering = desk
            .held_since
            .is_some_and(|since| desk.waiting.len() < GATHERED && since.elapsed() < HELD);
        let listener = if gathering { None } else { desk.announce() };
        if !gathering && desk.held_since.is_some() {
            desk.held_since = Some(Instant::now());
        }
        drop(desk);
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Gathers what comes from now on.
    pub(crate) fn hold(&self) {
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.held_since.get_or_insert_with(Instant::now);
    }

    /// Rings for what was gathered; from now on every first wake-up rings at once.
    pub(crate) fn let_go(&self) {
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        if desk.held_since.take().is_none() {
            return;
        }
        let listener = if desk.waiting.is_empty() {
            None
        } else {
            desk.announce()
        };
        drop(desk);
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Passes wake-ups on for ever; runs as one task on the front's thread.
    pub(crate) async fn answer(&self) {
        let mut batch = Vec::new();
        poll_fn(|context| {
            let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
            desk.home = Some(std::thread::current().id());
            desk.listener = Some(context.waker().clone());
            desk.announced = false;
            std::mem::swap(&mut batch, &mut desk.waiting);
            drop(desk);
            for task in batch.drain(..) {
                task.wake();
            }
            Poll::<()>::Pending
        })
        .await;
    }
}
