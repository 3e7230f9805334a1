//! How a task of a hub stops and goes on: it parks with a token, and its greenlet switches to the hub's.
//!
//! What a verb needs of a hub is here; the hub itself (`hub`) polls, and takes who is woken out of the table. A thread that
//! a task has started is no task: it finds out by [`Parker::is_elsewhere`], and blocks.
//!
//! Switch safety: the table is locked for single steps only, never across a switch.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use fairlead_engine as fl;
use fl::Token;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::greenlet;
use crate::limit::Limit;
use crate::parked::{Parked, Task, Woken};
use crate::pending::Tasks;

/// One hub, as its tasks see it.
pub(crate) struct Parker {
    engine: Arc<fl::Engine>,
    /// The greenlet that tasks switch to when they park, and the thread it lives in.
    greenlet: PyOnceLock<Py<PyAny>>,
    thread: OnceLock<usize>,
    pub(crate) parked: Parked,
    pub(crate) tasks: Arc<Tasks>,
}

impl Parker {
    pub(crate) fn new(engine: Arc<fl::Engine>) -> Self {
        Self {
            engine,
            greenlet: PyOnceLock::new(),
            thread: OnceLock::new(),
            parked: Parked::default(),
            tasks: Arc::new(Tasks::new()),
        }
    }

    pub(crate) fn engine(&self) -> &Arc<fl::Engine> {
        &self.engine
    }

    /// Takes the greenlet for the hub, once.
    pub(crate) fn live_in(&self, py: Python<'_>, greenlet: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.greenlet.set(py, greenlet.clone().unbind()).is_err() {
            return Err(PyRuntimeError::new_err("this hub runs already, or has run"));
        }
        let _ = self.thread.set(this_thread());
        Ok(())
    }

    /// The hub's greenlet, once it has one.
    pub(crate) fn hub<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyAny>> {
        self.greenlet.get(py).map(|hub| hub.bind(py))
    }

    /// Gives the current greenlet a token to wait under.
    pub(crate) fn prepare(&self, py: Python<'_>) -> PyResult<Token> {
        Ok(self.parked.enter(Task::Greenlet(greenlet::current(py)?.unbind())))
    }

    /// True on a thread that is not the hub's, but one that the application has started.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.thread.get().is_some_and(|hub| *hub != this_thread())
    }

    /// Gives `callback` a token to be called under, with `True` if its deadline passed.
    pub(crate) fn prepare_callback(&self, callback: Py<PyAny>) -> Token {
        self.parked.enter(Task::Callback(callback))
    }

    /// The task does not wait after all. True if it still stood in the table.
    pub(crate) fn cancel(&self, token: Token) -> bool {
        self.parked.take(token).is_some()
    }

    /// Who waits under the token waits no longer than that.
    pub(crate) fn limit(&self, token: Token, limit: Limit) {
        if let Some(deadline) = limit.deadline() {
            if self.parked.limit(token, deadline) {
                let left = deadline.saturating_duration_since(Instant::now());
                self.engine.wake_at(left, Parked::timer_of(token));
            }
        }
    }

    /// Switches to the hub until the token's event or the limit.
    pub(crate) fn park(&self, py: Python<'_>, token: Token, limit: Limit) -> PyResult<Woken> {
        let task = greenlet::current(py)?;
        let Some(hub) = self.hub(py).filter(|hub| !hub.is(&task)) else {
            self.cancel(token);
            let why = if self.tasks.asyncio_loop(py).is_some() {
                "this call waits, and would stop the loop with all its tasks: in a coroutine use `await` and \
                 fairlead.async_websocket, or call it in a thread (asyncio.to_thread)"
            } else {
                "this call waits, and only a request's greenlet can wait: the hub itself must not stop"
            };
            return Err(PyRuntimeError::new_err(why));
        };
        drop(task); // held here it would look kept by others
        self.limit(token, limit);
        let outcome = match self.tasks.running(py) {
            None => greenlet::switch(hub, None),
            Some(running) => running
                .kept(py, || greenlet::switch(hub, None))
                .and_then(|outcome| outcome),
        };
        let woken = self.parked.leave(token);
        outcome?;
        Ok(woken)
    }

    /// From the hub: `switch` goes to a greenlet of a task's, to which no loop of asyncio's runs.
    pub(crate) fn enter<R>(&self, py: Python<'_>, switch: impl FnOnce() -> R) -> R {
        match self.tasks.running(py) {
            None => switch(),
            Some(running) => running.hidden(py, switch),
        }
    }
}

/// Tells threads apart; cheaper than their ids, and asked for each wait.
fn this_thread() -> usize {
    thread_local!(static MINE: u8 = const { 0 });
    MINE.with(|mine| std::ptr::from_ref(mine) as usize)
}
