//! How a verb waits: parked in a hub, or blocking its thread.
//!
//! Every verb that can wait is written once, as "try, else wait and try again"; only this file knows the ways of waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_engine::Token;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::hub::HubCore;
use crate::parked::Woken;

/// A host's way of waiting.
#[derive(Clone)]
pub(crate) enum Waiter {
    /// Greenlets that park in a hub.
    Hub(Arc<HubCore>),
    /// Threads that block.
    Threads,
}

/// A limit that is counted once for all waits of one verb.
#[derive(Clone, Copy)]
pub(crate) struct Limit(Option<Instant>);

impl Limit {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        // A limit beyond what the clock can name is none.
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// From Python; `None` is no limit.
    ///
    /// # Errors
    /// `ValueError` if it is negative or not a number.
    pub(crate) fn seconds(value: Option<f64>) -> PyResult<Self> {
        value.map(seconds).transpose().map(Self::new)
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        self.0
    }

    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

impl Waiter {
    /// Waits until a condition may hold. `ask(token)` registers the token and says whether it holds already; `block(left)`
    /// is the same for a thread, which blocks; `forget(token)` takes the registration back. False when the limit
    /// passed. A wake-up is a hint: the caller asks again.
    pub(crate) fn wait(
        &self,
        py: Python<'_>,
        limit: Limit,
        mut ask: impl FnMut(Token) -> bool + Send,
        block: impl FnOnce(Option<Duration>) -> bool + Send,
        forget: impl FnOnce(Token),
    ) -> PyResult<bool> {
        match self {
            Self::Threads => Ok(py.detach(|| block(limit.left()))),
            Self::Hub(hub) if hub.is_elsewhere() => {
                let mut registered = None;
                let in_time = py.detach(|| {
                    hub.engine().wait_on_thread(limit.left(), |token| {
                        registered = Some(token);
                        ask(token)
                    })
                });
                if let Some(token) = registered {
                    forget(token);
                }
                Ok(in_time)
            }
            Self::Hub(hub) => {
                let token = hub.prepare(py)?;
                if ask(token) {
                    hub.cancel(token);
                    return Ok(true);
                }
                match hub.park(py, token, limit) {
                    Ok(Woken::Event) => Ok(true),
                    Ok(Woken::Deadline) => {
                        forget(token);
                        Ok(false)
                    }
                    Ok(Woken::Other) => {
                        forget(token);
                        Ok(true)
                    }
                    Err(error) => {
                        forget(token);
                        Err(error)
                    }
                }
            }
        }
    }
}

/// A number of seconds from Python, refused if it is negative or not a number.
pub(crate) fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| PyValueError::new_err(format!("{value} is not a number of seconds; give 0 or more")))
}
