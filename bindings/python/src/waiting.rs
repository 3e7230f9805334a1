//! How a verb waits: parked in a hub, or blocking its thread.
//!
//! Every verb that can wait is written once, as "try, else wait and try again"; only this file knows the ways of waiting.

use std::sync::Arc;
use std::time::Duration;

use fairlead_engine::Token;
use pyo3::prelude::*;

use crate::gil_queue::detach_in_line;
use crate::limit::Limit;
use crate::parked::Woken;
use crate::parker::Parker;

/// A runner's way of waiting.
#[derive(Clone)]
pub(crate) enum Waiter {
    /// Greenlets that park in a hub.
    Hub(Arc<Parker>),
    /// Threads that block.
    Threads,
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
            Self::Threads => Ok(detach_in_line(py, || block(limit.left()))),
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
