//! The bell: how another thread wakes connections of the front without a system call for each.
//!
//! Waking a tokio task from outside costs one write to an eventfd, every time. Under load the worker answers hundreds of
//! requests in the time in which the front does one turn, so the wake-ups are collected in a list and only the first one
//! after an empty list rings. The list is emptied by one task of the front, for which waking a neighbour is free.
//! Invariant: whoever finds the list empty rings, and the ringer's push happens before the ring, so nothing is left lying.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::ThreadId;

/// Collected wake-ups. One per front.
#[derive(Default)]
pub(crate) struct Bell {
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    waiting: Vec<Waker>,
    listener: Option<Waker>,
    home: Option<ThreadId>,
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
        let first = desk.waiting.len() == 1;
        let listener = if first { desk.listener.clone() } else { None };
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
