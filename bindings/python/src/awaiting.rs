//! How a verb waits inside a coroutine: awaitables for asyncio.
//!
//! An [`Awaiting`] is what `ws.receive()` returns there. It is a coroutine by its methods, so `await`, `create_task` and
//! `wait_for` take it. It tries when it is awaited, and suspends only if it has to wait: then it yields a [`Pending`], and
//! goes on when the hub has called that. What the woken tasks of a turn send leaves together.
//!
//! A message is taken when the task that awaits it runs, never before: a wait that is cancelled has lost nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairlead_engine as fl;
use fl::Token;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTraceback, PyTuple, PyType};

use crate::limit::Limit;
use crate::parker::Parker;
use crate::payload::Payload;
use crate::pending::{Pending, WaitOutcome};
use crate::request::Request;
use crate::session::Session;
use crate::subscription::Subscription;
use crate::waiting::Waiter;

/// What is awaited.
pub(crate) enum Work {
    /// The next message; None when the limit passed. `iterates`: an end in good order ends the iteration.
    Receive { session: Py<Session>, iterates: bool },
    /// Room for a message, and that it is sent.
    Send { session: Py<Session>, data: Py<PyAny> },
    /// The next message of a channel, as `Receive`.
    Take {
        subscription: Py<Subscription>,
        iterates: bool,
    },
    /// Room for a piece of a response's body; true if there is.
    Room { request: Py<Request> },
}

/// A verb that waits, as a coroutine.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Awaiting {
    work: Work,
    /// Seconds that it may wait, counted from when it has to.
    limit: Option<f64>,
    /// It was awaited, or closed.
    begun: AtomicBool,
    wait: Mutex<Option<Wait>>,
}

/// A wait that has begun.
struct Wait {
    limit: Limit,
    token: Token,
    pending: Py<Pending>,
}

impl Work {
    /// What there is now; None if there is nothing yet. `asked`: a wait for it has just ended.
    fn attempt<'py>(&self, py: Python<'py>, asked: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::Receive { session, iterates } => session.get().receive_for_coroutine(py, *iterates),
            Self::Send { session, data } => {
                let data = data.bind(py);
                let payload = Payload::of(data)?;
                let sent = session.get().try_send(py, payload.kind(), payload.bytes())?;
                Ok(sent.then(|| py.None().into_bound(py)))
            }
            Self::Take {
                subscription,
                iterates,
            } => subscription.get().take(py, *iterates),
            // Room for a body can be asked for with a token only.
            Self::Room { .. } => Ok(asked.then(|| PyBool::new(py, true).to_owned().into_any())),
        }
    }

    /// The limit has passed, and there is still nothing.
    fn late<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Receive { .. } | Self::Take { .. } => Ok(py.None().into_bound(py)),
            Self::Send { session, .. } => Err(session.get().give_up_sending(py)),
            Self::Room { .. } => Ok(PyBool::new(py, false).to_owned().into_any()),
        }
    }

    /// True if the token will be woken, false if there is something already.
    fn register(&self, token: Token) -> PyResult<bool> {
        match self {
            Self::Receive { session, .. } => match session.get().connection().wait_receive(token) {
                fl::Waiting::Registered => Ok(true),
                fl::Waiting::Ready => Ok(false),
                fl::Waiting::Taken => Err(Session::taken()),
            },
            Self::Take { subscription, .. } => match subscription.get().subscriber().wait(token) {
                fl::Waiting::Registered => Ok(true),
                fl::Waiting::Ready => Ok(false),
                fl::Waiting::Taken => Err(Subscription::taken()),
            },
            Self::Send { session, .. } => Ok(!session.get().connection().wait_room(token)),
            Self::Room { request } => Ok(!request.get().request.wait_writable(token)),
        }
    }

    fn forget(&self, token: Token) {
        if let Self::Receive { session, .. } | Self::Send { session, .. } = self {
            session.get().connection().forget(token);
        }
        if let Self::Take { subscription, .. } = self {
            subscription.get().subscriber().forget(token);
        }
        if let Waiter::Hub(hub) = self.waiter() {
            hub.cancel(token);
        }
    }

    /// A wait begins, which the client ends.
    fn begin_wait(&self) {
        if let Self::Room { request } = self {
            request.get().client_time.begin();
        }
    }

    fn end_wait(&self) {
        if let Self::Room { request } = self {
            request.get().client_time.end();
        }
    }

    fn waiter(&self) -> &Waiter {
        match self {
            Self::Receive { session, .. } | Self::Send { session, .. } => session.get().waiter(),
            Self::Take { subscription, .. } => subscription.get().waiter(),
            Self::Room { request } => request.get().waiter(),
        }
    }

    /// The hub, if an asyncio loop runs it.
    fn hub(&self, py: Python<'_>) -> PyResult<&Parker> {
        if let Waiter::Hub(hub) = self.waiter() {
            if hub.tasks.asyncio_loop(py).is_some() {
                if hub.is_elsewhere() {
                    return Err(PyRuntimeError::new_err(
                        "this connection is awaited on the worker's own loop only; in a thread of your own use fairlead.websocket",
                    ));
                }
                return Ok(hub);
            }
        }
        Err(PyRuntimeError::new_err(
            "there is no asyncio loop to wait in; start Fairlead with --asyncio N",
        ))
    }
}

impl Awaiting {
    pub(crate) fn new(work: Work, limit: Option<f64>) -> Self {
        Self {
            work,
            limit,
            begun: AtomicBool::new(false),
            wait: Mutex::new(None),
        }
    }

    fn wait(&self) -> MutexGuard<'_, Option<Wait>> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on until there is a result, or something to wait for.
    fn advance<'py>(&self, py: Python<'py>) -> PyResult<Result<Bound<'py, PyAny>, Py<Pending>>> {
        if self.begun.swap(true, Ordering::Relaxed) {
            return self.go_on(py);
        }
        // The way of a busy connection.
        match self.work.attempt(py, false)? {
            Some(result) => Ok(Ok(result)),
            None => self.suspend(py, Limit::seconds(self.limit)?),
        }
    }

    /// The wait is over, or somebody goes on without it.
    fn go_on<'py>(&self, py: Python<'py>) -> PyResult<Result<Bound<'py, PyAny>, Py<Pending>>> {
        let Some(Wait {
            limit,
            token,
            pending,
        }) = self.wait().take()
        else {
            return Err(PyRuntimeError::new_err(
                "this was awaited already; call the method again for each await",
            ));
        };
        self.work.end_wait();
        let outcome = pending.get().outcome();
        if outcome != WaitOutcome::Event {
            self.work.forget(token);
        }
        match self.work.attempt(py, outcome == WaitOutcome::Event)? {
            Some(result) => Ok(Ok(result)),
            None if outcome == WaitOutcome::Late => self.work.late(py).map(Ok),
            None => self.suspend(py, limit),
        }
    }

    fn suspend<'py>(
        &self,
        py: Python<'py>,
        limit: Limit,
    ) -> PyResult<Result<Bound<'py, PyAny>, Py<Pending>>> {
        let hub = self.work.hub(py)?;
        loop {
            let pending = Py::new(py, Pending::new(Arc::clone(&hub.tasks)))?;
            let token = hub.prepare_callback(pending.clone_ref(py).into_any());
            match self.work.register(token) {
                Ok(true) => {
                    hub.limit(token, limit);
                    self.work.begin_wait();
                    *self.wait() = Some(Wait {
                        limit,
                        token,
                        pending: pending.clone_ref(py),
                    });
                    return Ok(Err(pending));
                }
                Ok(false) => {
                    hub.cancel(token);
                    if let Some(result) = self.work.attempt(py, true)? {
                        return Ok(Ok(result));
                    }
                }
                Err(error) => {
                    hub.cancel(token);
                    return Err(error);
                }
            }
        }
    }

    fn end(&self) {
        self.begun.store(true, Ordering::Relaxed);
        let wait = self.wait().take();
        if let Some(wait) = wait {
            self.work.end_wait();
            self.work.forget(wait.token);
        }
    }
}

#[pymethods]
impl Awaiting {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Pending>>> {
        match self.advance(py)? {
            Err(pending) => Ok(Some(pending)),
            // The end of an iterator without an exception: the result None.
            Ok(result) if result.is_none() => Ok(None),
            Ok(result) => Err(returned(result)),
        }
    }

    /// As of a coroutine.
    fn send(&self, py: Python<'_>, value: Bound<'_, PyAny>) -> PyResult<Py<Pending>> {
        drop(value); // what a task sends is always None
        match self.advance(py)? {
            Err(pending) => Ok(pending),
            Ok(result) => Err(returned(result)),
        }
    }

    /// As of a coroutine: nobody waits here any more.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.end();
        let error = match kind.cast::<PyType>() {
            Err(_) => PyErr::from_value(kind),
            Ok(class) => match value {
                Some(value) if value.is_instance(class)? => PyErr::from_value(value),
                Some(value) => PyErr::from_value(class.call1((value,))?),
                None => PyErr::from_value(class.call0()?),
            },
        };
        if let Some(Ok(traceback)) = traceback.map(Bound::cast_into::<PyTraceback>) {
            error.set_traceback(traceback.py(), Some(traceback));
        }
        Err(error)
    }

    /// As of a coroutine.
    fn close(&self) {
        self.end();
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let wait = self.wait.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(wait) = wait {
            self.work.end_wait();
            self.work.forget(wait.token);
        }
        if !*self.begun.get_mut() {
            // As for any coroutine: without this, a message that was never sent is found by nobody.
            Python::try_attach(|py| {
                let category = py.get_type::<PyRuntimeWarning>();
                let text = c"a method of fairlead.AsyncWebSocket was called and never awaited";
                if let Err(error) = PyErr::warn(py, &category, text, 1) {
                    error.write_unraisable(py, None);
                }
            });
        }
    }
}

/// A coroutine's result, as the exception that carries it. A tuple would pass for the exception's arguments, of which only
/// the first is the result.
fn returned(result: Bound<'_, PyAny>) -> PyErr {
    if result.is_instance_of::<PyTuple>() {
        return PyStopIteration::new_err((result.unbind(),));
    }
    PyStopIteration::new_err(result.unbind())
}

/// `async for message in ws`.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Messages {
    session: Py<Session>,
}

impl Messages {
    pub(crate) fn new(session: Py<Session>) -> Self {
        Self { session }
    }
}

#[pymethods]
impl Messages {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> Awaiting {
        let work = Work::Receive {
            session: self.session.clone_ref(py),
            iterates: true,
        };
        Awaiting::new(work, None)
    }
}
