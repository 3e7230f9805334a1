//! [`Pending`]: the future that a suspended coroutine of ours yields to its task.
//!
//! asyncio knows a future by its protocol, the attribute `_asyncio_future_blocking`, and then hands over the task's wake-up.
//! The hub calls those of a whole turn together, in the next round of the loop ([`Tasks::resume`]): one handle for
//! all, where asyncio's own futures take one each. In the next round and not at once, as with asyncio's own: a time-out
//! that comes due together with the message must still find the task waiting. If the task were done by then, and another
//! one awaited it (`wait_for(create_task(ws.receive()), 1)`), its message would be lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::running_loop::RunningLoop;

/// The tasks that wait in one hub: their loop, and those that may go on.
pub(crate) struct Tasks {
    /// The asyncio loop that runs the hub, if one does.
    running: PyOnceLock<RunningLoop>,
    /// What tasks of that loop have waited for, and have not been told of yet.
    woken: Mutex<Vec<Py<Pending>>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            running: PyOnceLock::new(),
            woken: Mutex::default(),
        }
    }

    /// The hub runs on this loop. Only the first call counts.
    pub(crate) fn run_on(&self, py: Python<'_>, asyncio_loop: Py<PyAny>) -> PyResult<()> {
        let _ = self.running.set(py, RunningLoop::new(py, asyncio_loop)?);
        Ok(())
    }

    /// The mark of the loop that runs the hub, if one does.
    pub(crate) fn running(&self, py: Python<'_>) -> Option<&RunningLoop> {
        self.running.get(py)
    }

    pub(crate) fn asyncio_loop<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyAny>> {
        self.running(py).map(|running| running.own(py))
    }

    pub(crate) fn has_woken(&self) -> bool {
        !self.woken().is_empty()
    }

    /// Tasks whose waits are over go on, in here.
    pub(crate) fn resume(&self, py: Python<'_>) {
        let woken = std::mem::take(&mut *self.woken());
        for pending in woken {
            if let Err(error) = Pending::resume(pending.bind(py)) {
                error.write_unraisable(py, None);
            }
        }
    }

    fn woken(&self) -> MutexGuard<'_, Vec<Py<Pending>>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitOutcome {
    Waits,
    Event,
    Late,
    Cancelled,
}

/// Lives for one wait.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Pending {
    tasks: Arc<Tasks>,
    inner: Mutex<Inner>,
}

struct Inner {
    outcome: WaitOutcome,
    /// asyncio's mark of an object that was yielded by `await`, until the task has seen it.
    blocking: bool,
    /// The task's wake-up and its context.
    wake_up: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
    message: Option<Py<PyAny>>,
}

impl Pending {
    pub(crate) fn new(tasks: Arc<Tasks>) -> Self {
        Self {
            tasks,
            inner: Mutex::new(Inner {
                outcome: WaitOutcome::Waits,
                blocking: true,
                wake_up: None,
                message: None,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outcome(&self) -> WaitOutcome {
        self.inner().outcome
    }

    /// Lets the task go on, in here.
    fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
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
        if inner.outcome == WaitOutcome::Waits {
            inner.outcome = if late {
                WaitOutcome::Late
            } else {
                WaitOutcome::Event
            };
            drop(inner);
            let tasks = Arc::clone(&pending.tasks);
            tasks.woken().push(slf);
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
        let asyncio_loop = self.tasks.asyncio_loop(py).cloned();
        asyncio_loop.ok_or_else(|| PyRuntimeError::new_err("the hub has no asyncio loop"))
    }

    #[pyo3(signature = (wake_up, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        wake_up: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let mut inner = slf.get().inner();
        if inner.outcome == WaitOutcome::Waits {
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
            if inner.outcome != WaitOutcome::Waits {
                return Ok(false);
            }
            inner.outcome = WaitOutcome::Cancelled;
            inner.message = msg;
            inner.wake_up.take()
        };
        if let Some((wake_up, context)) = wake_up {
            Self::call_soon(slf, wake_up, context)?;
        }
        Ok(true)
    }

    fn done(&self) -> bool {
        self.outcome() != WaitOutcome::Waits
    }

    fn cancelled(&self) -> bool {
        self.outcome() == WaitOutcome::Cancelled
    }

    /// None: what there is, is found by the coroutine. Raises CancelledError.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        static CANCELLED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let inner = self.inner();
        if inner.outcome != WaitOutcome::Cancelled {
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
