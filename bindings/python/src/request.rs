//! `Request`: one request and its way back, for Python. What Python calls on it stands in `methods::request`.

use std::sync::Mutex;

use fairlead_engine as fl;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::client_time::ClientTime;
use crate::session::Session;
use crate::waiting::Waiter;

/// A request that holds a slot until `complete()`.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Request {
    pub(crate) request: Box<fl::Request>,
    pub(crate) waiter: Waiter,
    pub(crate) session: PyOnceLock<Py<Session>>,
    pub(crate) task: Mutex<Option<Py<PyAny>>>,
    pub(crate) client_time: ClientTime,
}

impl Request {
    pub(crate) fn wrap(
        py: Python<'_>,
        request: Box<fl::Request>,
        waiter: Waiter,
    ) -> PyResult<Bound<'_, Self>> {
        Bound::new(
            py,
            Self {
                request,
                waiter,
                session: PyOnceLock::new(),
                task: Mutex::default(),
                client_time: ClientTime::default(),
            },
        )
    }

    pub(crate) fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    pub(crate) fn session_of<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Session>> {
        self.session.get(py).map(|session| session.bind(py).clone())
    }
}
