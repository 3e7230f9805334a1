//! `Subscription`: a task's membership of a channel. What Python calls on it stands in `methods::subscription`.

use std::sync::Arc;

use fairlead_engine as fl;
use fl::{Drops, Missed, Taken};
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyValueError};
use pyo3::prelude::*;

use crate::channels::{count_of, join_error, message_kind};
use crate::forked;
use crate::payload::typed;
use crate::waiting::Waiter;

/// A task's membership of a channel: it takes the messages itself.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Subscription {
    pub(crate) subscriber: fl::Subscriber,
    pub(crate) waiter: Waiter,
    pub(crate) engine: Arc<fl::Engine>,
    /// The first message has a larger offset.
    #[pyo3(get)]
    offset: u64,
    pub(crate) missed_before: Missed,
}

impl Subscription {
    pub(crate) fn start(
        py: Python<'_>,
        engine: Arc<fl::Engine>,
        waiter: Waiter,
        name: &str,
        since: Option<u64>,
        limit: &Bound<'_, PyAny>,
        drops: &str,
    ) -> PyResult<Self> {
        forked::check()?;
        let limit = count_of("limit", 1, limit)?;
        let drops = match drops {
            "newest" => Drops::Newest,
            "oldest" => Drops::Oldest,
            other => {
                return Err(PyValueError::new_err(format!(
                    "drops is \"newest\" or \"oldest\", not {other:?}"
                )))
            }
        };
        let (subscriber, answer) = py
            .detach(|| engine.subscribe(name, since, limit, drops))
            .map_err(|error| join_error(py, &error))?;
        Ok(Self {
            subscriber,
            waiter,
            engine,
            offset: answer.offset,
            missed_before: answer.missed,
        })
    }

    pub(crate) fn taken() -> PyErr {
        PyRuntimeError::new_err("another task is waiting for this subscription's next message already")
    }

    pub(crate) fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    pub(crate) fn subscriber(&self) -> &fl::Subscriber {
        &self.subscriber
    }

    /// The next message if one is there. An end of the subscription is the end of an iteration, or `None`.
    pub(crate) fn take<'py>(&self, py: Python<'py>, iterates: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.subscriber.receive(None) {
            Taken::Message(message) => {
                let data = typed(py, message_kind(message.kind), &message.payload)?;
                Ok(Some((message.offset, data).into_pyobject(py)?.into_any()))
            }
            Taken::Empty => Ok(None),
            Taken::Closed if iterates => Err(PyStopAsyncIteration::new_err(())),
            Taken::Closed => Err(closed()),
        }
    }
}

fn closed() -> PyErr {
    PyRuntimeError::new_err("the subscription is closed")
}
