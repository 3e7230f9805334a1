//! Which asyncio loop is "running" in the greenlets of synchronous applications: none, or one of their own.
//!
//! asyncio keeps the running loop for each thread. All greenlets of the hub share its thread, and so would see the loop that
//! runs the hub, in which they cannot wait: libraries refuse to block there (Django's ORM, asgiref), and `asyncio.run` does
//! not begin. To a synchronous application no loop runs, so the mark is taken away whenever the hub switches to a greenlet
//! and put back when it is switched to: the loop's own code always finds it. A greenlet that runs a loop of its own
//! (`asyncio.run`) and waits in a verb of ours inside it finds that one again.
//!
//! A greenlet that a callback of the application's own switches to (`me.switch`) runs inside that callback, and sees the
//! loop until its next wait in a verb of ours.

use pyo3::prelude::*;

/// asyncio's marks for the hub's thread; its functions for those who implement loops.
pub(crate) struct RunningLoop {
    own: Py<PyAny>,
    running: Py<PyAny>,
    set_running: Py<PyAny>,
}

impl RunningLoop {
    /// `own`: the loop that runs the hub.
    pub(crate) fn new(py: Python<'_>, own: Py<PyAny>) -> PyResult<Self> {
        let asyncio = py.import("asyncio")?;
        Ok(Self {
            own,
            running: asyncio.getattr("_get_running_loop")?.unbind(),
            set_running: asyncio.getattr("_set_running_loop")?.unbind(),
        })
    }

    /// The loop that runs the hub.
    pub(crate) fn own<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.own.bind(py)
    }

    /// The hub, from its loop: `switch` goes to a greenlet, and comes back when that waits or has ended.
    pub(crate) fn hidden<R>(&self, py: Python<'_>, switch: impl FnOnce() -> R) -> R {
        self.set(py, &py.None().into_bound(py));
        let outcome = switch();
        self.set(py, self.own(py));
        outcome
    }

    /// A greenlet: `switch` goes to the hub, and comes back when its wait is over.
    pub(crate) fn kept<R>(&self, py: Python<'_>, switch: impl FnOnce() -> R) -> PyResult<R> {
        let running = self.running.bind(py).call0()?;
        if running.is_none() || running.is(self.own(py)) {
            return Ok(switch());
        }
        let tasks = py.import("asyncio")?.getattr("tasks")?;
        let task = tasks.call_method1("current_task", (&running,))?;
        if !task.is_none() {
            tasks.call_method1("_leave_task", (&running, &task))?;
        }
        let outcome = switch();
        self.set(py, &running);
        if !task.is_none() {
            tasks.call_method1("_enter_task", (&running, &task))?;
        }
        Ok(outcome)
    }

    fn set(&self, py: Python<'_>, running: &Bound<'_, PyAny>) {
        let set_running = self.set_running.bind(py);
        if let Err(error) = set_running.call1((running,)) {
            error.write_unraisable(py, Some(set_running));
        }
    }
}
