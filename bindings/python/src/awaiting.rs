//! How a verb waits inside a coroutine: awaitables for asyncio.
//!
//! An [`Awaiting`] is what `ws.receive()` returns there. It is a coroutine by its methods, so `await`, `create_task` and
//! `wait_for` take it. It tries when awaited, and suspends only if it must: then it yields a [`Pending`], a future by
//! asyncio's protocol (`_asyncio_future_blocking`), to which the task gives its wake-up. The hub calls that from its
//! turn: a message costs no future of asyncio's own and no round of the loop, and answers leave with the same turn.
//!
//! A message is taken when the task that awaits it runs, never before: a wait that is cancelled has lost nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairlead_engine as fl;
use fl::Token;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTraceback, PyType};

use crate::hub::HubCore;
use crate::payload::Payload;
use crate::request::Request;
use crate::session::Session;
use crate::waiting::{seconds, Limit, Waiter};

/// What is awaited.
pub(crate) enum Work {
    /// The next message; None when the limit passed. `iterates`: an end in good order ends the iteration.
    Receive { session: Py<Session>, iterates: bool },
    /// Room for a message, and that it is sent.
    Send { session: Py<Session>, data: Py<PyAny> },
    /// Room for a piece of a response's body; true if there is.
    Room { request: Py<Request>, has_room: bool },
}

/// A verb that waits, as a coroutine.
#[pyclass(frozen, freelist = 256, module = "fairlead._engine")]
pub(crate) struct Awaiting {
    state: Mutex<State>,
}

enum State {
    New(Work, Option<f64>),
    /// Registered under the token; the pending knows how that ended.
    Waiting(Work, Limit, Token, Py<Pending>),
    /// It runs now, or is over.
    Gone,
}

/// What trying came to.
enum Tried<'py> {
    Done(Bound<'py, PyAny>),
    MustWait,
}

/// What registering came to.
enum Registered {
    Waits,
    Ready,
}

impl Work {
    fn attempt<'py>(&self, py: Python<'py>) -> PyResult<Tried<'py>> {
        match self {
            Self::Receive { session, iterates } => Ok(session
                .get()
                .receive_for_coroutine(py, *iterates)?
                .map_or(Tried::MustWait, Tried::Done)),
            Self::Send { session, data } => {
                let data = data.bind(py);
                let payload = Payload::of(data)?;
                Ok(if session.get().try_send(py, payload.kind(), payload.bytes())? {
                    Tried::Done(py.None().into_bound(py))
                } else {
                    Tried::MustWait
                })
            }
            Self::Room { has_room: true, .. } => {
                Ok(Tried::Done(true.into_pyobject(py)?.to_owned().into_any()))
            }
            Self::Room { .. } => Ok(Tried::MustWait),
        }
    }

    /// The limit has passed, and there is still nothing.
    fn late<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Receive { .. } => Ok(py.None().into_bound(py)),
            Self::Send { session, .. } => Err(session.get().give_up_sending(py)),
            Self::Room { .. } => Ok(false.into_pyobject(py)?.to_owned().into_any()),
        }
    }

    fn register(&mut self, token: Token) -> PyResult<Registered> {
        let waits = match self {
            Self::Receive { session, .. } => match session.get().connection().wait_receive(token) {
                fl::Waiting::Registered => true,
                fl::Waiting::Ready => false,
                fl::Waiting::Taken => return Err(Session::taken()),
            },
            Self::Send { session, .. } => !session.get().connection().wait_room(token),
            Self::Room { request, has_room } => {
                *has_room = request.get().wait_writable(token);
                !*has_room
            }
        };
        Ok(if waits {
            Registered::Waits
        } else {
            Registered::Ready
        })
    }

    fn woken(&mut self) {
        // A wake-up is a hint for those that can ask again. Room for a body cannot be asked for without a token.
        if let Self::Room { has_room, .. } = self {
            *has_room = true;
        }
    }

    fn forget(&self, token: Token) {
        if let Self::Receive { session, .. } | Self::Send { session, .. } = self {
            session.get().connection().forget(token);
        }
        if let Waiter::Hub(hub) = self.waiter() {
            hub.cancel(token);
        }
    }

    fn waiter(&self) -> &Waiter {
        match self {
            Self::Receive { session, .. } | Self::Send { session, .. } => session.get().waiter(),
            Self::Room { request, .. } => request.get().waiter(),
        }
    }

    /// The hub, and its asyncio loop.
    fn hub(&self, py: Python<'_>) -> PyResult<(Arc<HubCore>, Py<PyAny>)> {
        if let Waiter::Hub(hub) = self.waiter() {
            if let Some(asyncio_loop) = hub.asyncio_loop(py) {
                if hub.is_elsewhere() {
                    return Err(PyRuntimeError::new_err(
                        "this connection is awaited on the worker's own loop only; in a thread of your own use fairlead.websocket",
                    ));
                }
                return Ok((Arc::clone(hub), asyncio_loop));
            }
        }
        Err(PyRuntimeError::new_err(
            "there is no asyncio loop to wait in; start Fairlead with --asyncio N",
        ))
    }
}

impl Awaiting {
    /// `limit`: seconds that it may wait, counted from when it has to.
    pub(crate) fn new(work: Work, limit: Option<f64>) -> Self {
        Self {
            state: Mutex::new(State::New(work, limit)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> State {
        std::mem::replace(&mut *self.state(), State::Gone)
    }

    /// Goes on until there is a result, or something to wait for.
    fn advance<'py>(&self, py: Python<'py>) -> PyResult<Result<Bound<'py, PyAny>, Py<Pending>>> {
        let (mut work, limit, late) = match self.take() {
            State::New(work, limit) => match work.attempt(py)? {
                // The way of a busy connection.
                Tried::Done(result) => return Ok(Ok(result)),
                Tried::MustWait => (work, Limit::new(limit.map(seconds).transpose()?), false),
            },
            State::Waiting(mut work, limit, token, pending) => {
                let late = match pending.get().outcome() {
                    Outcome::Event => {
                        work.woken();
                        false
                    }
                    Outcome::Late => true,
                    // Somebody went on with the coroutine by hand.
                    Outcome::Waits | Outcome::Cancelled => {
                        work.forget(token);
                        false
                    }
                };
                if late {
                    work.forget(token);
                }
                match work.attempt(py)? {
                    Tried::Done(result) => return Ok(Ok(result)),
                    Tried::MustWait => (work, limit, late),
                }
            }
            State::Gone => {
                return Err(PyRuntimeError::new_err(
                    "this was awaited already; call the method again for each await",
                ));
            }
        };
        if late {
            return work.late(py).map(Ok);
        }
        let (hub, asyncio_loop) = work.hub(py)?;
        loop {
            let pending = Py::new(py, Pending::new(asyncio_loop.clone_ref(py)))?;
            let token = hub.prepare_callback(pending.clone_ref(py).into_any());
            match work.register(token) {
                Ok(Registered::Waits) => {
                    if let Some(left) = limit.left() {
                        hub.limit(token, left);
                    }
                    *self.state() = State::Waiting(work, limit, token, pending.clone_ref(py));
                    return Ok(Err(pending));
                }
                Ok(Registered::Ready) => {
                    hub.cancel(token);
                    if let Tried::Done(result) = work.attempt(py)? {
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
        if let State::Waiting(work, _, token, _) = self.take() {
            work.forget(token);
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
            Ok(result) => Err(PyStopIteration::new_err(result.unbind())),
        }
    }

    /// As of a coroutine.
    fn send(&self, py: Python<'_>, value: Bound<'_, PyAny>) -> PyResult<Py<Pending>> {
        drop(value); // what a task sends is always None
        match self.advance(py)? {
            Err(pending) => Ok(pending),
            Ok(result) => Err(PyStopIteration::new_err(result.unbind())),
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
        match self.take() {
            State::Gone => {}
            State::Waiting(work, _, token, _) => work.forget(token),
            // As for any coroutine: without this, a message that was never sent is found by nobody.
            State::New(..) => {
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
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Waits,
    Event,
    Late,
    Cancelled,
}

/// The future that a suspended [`Awaiting`] yields to its task. Lives for one wait.
#[pyclass(frozen, freelist = 256, module = "fairlead._engine")]
pub(crate) struct Pending {
    asyncio_loop: Py<PyAny>,
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
    fn new(asyncio_loop: Py<PyAny>) -> Self {
        Self {
            asyncio_loop,
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

    fn outcome(&self) -> Outcome {
        self.inner().outcome
    }

    fn call_soon(slf: &Bound<'_, Self>, wake_up: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let options = PyDict::new(py);
        options.set_item("context", context)?;
        let arguments = (wake_up, slf);
        slf.get()
            .asyncio_loop
            .bind(py)
            .call_method("call_soon", arguments, Some(&options))?;
        Ok(())
    }
}

#[pymethods]
impl Pending {
    /// The hub: the wait is over, by its event or (`late`) by its limit. The task goes on in here.
    fn __call__(slf: Bound<'_, Self>, late: bool) -> PyResult<()> {
        let wake_up = {
            let mut inner = slf.get().inner();
            if inner.outcome != Outcome::Waits {
                return Ok(());
            }
            inner.outcome = if late { Outcome::Late } else { Outcome::Event };
            inner.wake_up.take()
        };
        let py = slf.py();
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

    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.inner().blocking
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.inner().blocking = blocking;
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.asyncio_loop.bind(py).clone()
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
