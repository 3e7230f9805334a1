//! [`Pending`]: the future that a suspended coroutine of ours yields to its task.
//!
//! asyncio knows a future by its protocol, the attribute `_asyncio_future_blocking`, and then hands over the task's wake-up.
//! The hub calls those of a whole turn together, in the next round of the loop ([`HubCore::resume_tasks`]): one handle for
//! all, where asyncio's own futures take one each. In the next round and not at once, as with asyncio's own: a time-out
//! that comes due together with the message must still find the task waiting. If the task were done by then, and another
//! one awaited it (`wait_for(create_task(ws.receive()), 1)`), its message would be lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::hub::HubCore;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Waits,
    Event,
    Late,
    Cancelled,
}

/// Lives for one wait.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Pending {
    hub: Arc<HubCore>,
    inner: Mutex<Inner>,
}

struct Inner {
    outcome: Outcome,
    /// asyncio's mark of an object that was yielded by `await`, until the task has seen it.
    blocking: bool,
    /// The task's wake-up and its context.
    wake_up: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
    message: Option<Py<PyAny>>,
}

impl Pending {
    pub(crate) fn new(hub: Arc<HubCore>) -> Self {
        Self {
            hub,
            inner: Mutex::new(Inner {
                outcome: Outcome::Waits,
                blocking: true,
                wake_up: None,
                message: None,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.inner().outcome
    }

    /// Lets the task go on, in here.
    pub(crate) fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let wake_up = slf.get().inner().wake_up.take();
        match wake_up {
            Some((wake_up, Some(context))) => {
                context
                    .bind(py)
                    .call_method1(pyo3::intern!(py, "run"), (wake_up, slf))?;
            }
            Some((wake_up, None)) => {
                wake_up.bind(py).call1((slf,))?;
            }
            None => {}
        }
        Ok(())
    }

    fn call_soon(slf: &Bound<'_, Self>, wake_up: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let options = PyDict::new(py);
        options.set_item("context", context)?;
        let asyncio_loop = slf.get().get_loop(py)?;
        asyncio_loop.call_method("call_soon", (wake_up, slf), Some(&options))?;
        Ok(())
    }
}

#[pymethods]
impl Pending {
    /// The hub: the wait is over, by its event or (`late`) by its limit.
    fn __call__(slf: Py<Self>, late: bool) {
        let pending = slf.get();
        let mut inner = pending.inner();
        if inner.outcome == Outcome::Waits {
            inner.outcome = if late { Outcome::Late } else { Outcome::Event };
            drop(inner);
            let hub = Arc::clone(&pending.hub);
            hub.task_woke(slf);
        }
    }

    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.inner().blocking
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.inner().blocking = blocking;
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let asyncio_loop = self.hub.asyncio_loop(py);
        asyncio_loop.ok_or_else(|| PyRuntimeError::new_err("the hub has no asyncio loop"))
    }

    #[pyo3(signature = (wake_up, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        wake_up: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let mut inner = slf.get().inner();
        if inner.outcome == Outcome::Waits {
            inner.wake_up = Some((wake_up, context));
            return Ok(());
        }
        drop(inner);
        Self::call_soon(slf, wake_up, context)
    }

    /// The task is cancelled; its wake-up comes with a later round of the loop, as asyncio's own futures do it.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let wake_up = {
            let mut inner = slf.get().inner();
            if inner.outcome != Outcome::Waits {
                return Ok(false);
            }
            inner.outcome = Outcome::Cancelled;
            inner.message = msg;
            inner.wake_up.take()
        };
        if let Some((wake_up, context)) = wake_up {
            Self::call_soon(slf, wake_up, context)?;
        }
        Ok(true)
    }

    fn done(&self) -> bool {
        self.outcome() != Outcome::Waits
    }

    fn cancelled(&self) -> bool {
        self.outcome() == Outcome::Cancelled
    }

    /// None: what there is, is found by the coroutine. Raises CancelledError.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        static CANCELLED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let inner = self.inner();
        if inner.outcome != Outcome::Cancelled {
            return Ok(());
        }
        let message = inner.message.as_ref().map(|message| message.clone_ref(py));
        drop(inner);
        let class = CANCELLED.import(py, "asyncio", "CancelledError")?.clone();
        Err(match message {
            Some(message) => PyErr::from_type(class, (message,)),
            None => PyErr::from_type(class, ()),
        })
    }
}
