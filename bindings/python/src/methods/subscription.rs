//! `Subscription`, as Python sees it.

use fairlead_engine::Waiting;
use pyo3::prelude::*;

use crate::awaiting::{Awaiting, Work};
use crate::channels::count;
use crate::gil_queue::detach_in_line;
use crate::limit::{seconds, Limit};
use crate::subscription::Subscription;
use crate::waiting::Waiter;

#[pymethods]
impl Subscription {
    /// Waits for the next message: `(offset, str or bytes)`; `None` when `timeout` (seconds) passed.
    ///
    /// Raises `RuntimeError` once the subscription is closed and nothing is left.
    #[pyo3(signature = (timeout=None))]
    fn receive<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(message) = self.take(py, false)? {
            return Ok(Some(message));
        }
        let limit = Limit::new(timeout.map(seconds).transpose()?);
        let subscriber = &self.subscriber;
        loop {
            let mut taken = false;
            let mut ask = |token| {
                let waiting = subscriber.wait(token);
                taken = waiting == Waiting::Taken;
                waiting != Waiting::Registered
            };
            let in_time = match &self.waiter {
                Waiter::Threads => {
                    let mut registered = None;
                    let in_time = detach_in_line(py, || {
                        self.engine.wait_on_thread(limit.left(), |token| {
                            registered = Some(token);
                            ask(token)
                        })
                    });
                    // Each wait has a token of its own: one that stayed would pass for another task that waits.
                    if let Some(token) = registered {
                        subscriber.forget(token);
                    }
                    in_time
                }
                hub => hub.wait(py, limit, &mut ask, |_| true, |token| subscriber.forget(token))?,
            };
            if taken {
                return Err(Self::taken());
            }
            match self.take(py, false)? {
                Some(message) => return Ok(Some(message)),
                None if !in_time => return Ok(None),
                None => {}
            }
        }
    }

    /// The next message if one is there, else `None`.
    fn receive_nowait<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.take(py, false)
    }

    /// `receive` for a coroutine of the worker's asyncio loop: an awaitable. `iterates`: the end is that of an iteration.
    #[pyo3(signature = (timeout=None, iterates=false))]
    fn receive_async(slf: Py<Self>, timeout: Option<f64>, iterates: bool) -> Awaiting {
        let work = Work::Take {
            subscription: slf,
            iterates,
        };
        Awaiting::new(work, timeout)
    }

    /// Ends the membership. What has come can still be taken.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.subscriber.close());
    }

    /// Ends the membership and forgets what has come.
    fn discard(&self, py: Python<'_>) {
        py.detach(|| self.subscriber.discard());
    }

    /// The channel.
    #[getter]
    fn name(&self) -> &str {
        self.subscriber.name()
    }

    /// Messages that it did not get since it began: it was full, or they were overwritten.
    #[getter]
    fn missed(&self) -> u64 {
        self.subscriber.missed()
    }

    /// Messages that lie between the `since` it asked for and its first one, and are lost; `None`: nobody knows.
    #[getter]
    fn missed_before(&self) -> Option<u64> {
        count(self.missed_before)
    }

    /// `close` was called; what has come can still be taken.
    #[getter]
    fn is_closed(&self) -> bool {
        self.subscriber.is_closed()
    }

    /// Messages that wait.
    #[getter]
    fn queued(&self) -> usize {
        self.subscriber.queued()
    }
}
