//! `CurrentSession`: the verbs of whatever request is running, as plain callables.
//!
//! Modules in the manner of uWSGI's offer functions that find "the current request" by themselves. Done in Python that
//! costs two frames a message, a third of a small echo. Here the context variable is read natively (CPython caches it
//! between switches), and Python is asked only for what is rare: a request named by hand, and how to word an error.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::forked;
use crate::payload::Payload;
use crate::request::Request;
use crate::session::Session;

/// `CurrentSession(variable, inherited, resolve, translate)`: `variable` is the context variable with the running
/// `Request`; `inherited()` is asked for it where that is not set, in a task's own threads and greenlets;
/// `resolve(context)` returns the `Request` that a caller's `request_context` names, or raises; `translate(verb, error)`
/// returns the exception to raise for `ConnectionClosed`, for `ValueError` of `send_text`, and, with None for the error,
/// when there is no session or no request.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct CurrentSession {
    variable: Py<PyAny>,
    inherited: Py<PyAny>,
    resolve: Py<PyAny>,
    translate: Py<PyAny>,
}

/// An argument that may be absent, but not None in its place.
pub(crate) struct Context<'py>(Option<Bound<'py, PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Context<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(Some(object.to_owned())))
    }
}

impl CurrentSession {
    fn session<'py>(
        &self,
        py: Python<'py>,
        context: &Context<'py>,
        verb: &str,
    ) -> PyResult<Bound<'py, Session>> {
        forked::check()?;
        let request = match &context.0 {
            Some(context) => Some(self.resolve.bind(py).call1((context,))?),
            None => match self.running(py)? {
                Some(request) if !request.is_none() => Some(request),
                _ => Some(self.inherited.bind(py).call0()?),
            },
        };
        let session = request.and_then(|request| request.cast::<Request>().ok()?.get().session_of(py));
        match session {
            Some(session) => Ok(session),
            None => Err(self.translated(py, verb, None)),
        }
    }

    fn running<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut value = std::ptr::null_mut();
        // SAFETY: `variable` is checked to be a context variable when the object is made; the call writes a new
        // reference, or null when the variable has no value.
        unsafe {
            if ffi::PyContextVar_Get(self.variable.as_ptr(), std::ptr::null_mut(), &mut value) < 0 {
                return Err(PyErr::fetch(py));
            }
            Ok(Bound::from_owned_ptr_or_opt(py, value))
        }
    }

    fn translated(&self, py: Python<'_>, verb: &str, error: Option<PyErr>) -> PyErr {
        let cause = error.as_ref().map(|error| error.clone_ref(py).into_value(py));
        match self.translate.bind(py).call1((verb, cause)) {
            Ok(exception) => {
                let translated = PyErr::from_value(exception);
                translated.set_cause(py, error);
                translated
            }
            Err(error) => error,
        }
    }

    fn or_translated<T>(&self, py: Python<'_>, verb: &str, outcome: PyResult<T>) -> PyResult<T> {
        outcome.map_err(|error| {
            if Session::is_closed_error(py, &error) {
                self.translated(py, verb, Some(error))
            } else {
                error
            }
        })
    }
}

#[pymethods]
impl CurrentSession {
    #[new]
    fn new(
        variable: Bound<'_, PyAny>,
        inherited: Py<PyAny>,
        resolve: Py<PyAny>,
        translate: Py<PyAny>,
    ) -> PyResult<Self> {
        let kind = variable.py().import("contextvars")?.getattr("ContextVar")?;
        if !variable.is_instance(&kind)? {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "variable must be a contextvars.ContextVar",
            ));
        }
        Ok(Self {
            variable: variable.unbind(),
            inherited,
            resolve,
            translate,
        })
    }

    /// Waits for the next message, as bytes.
    #[pyo3(signature = (request_context=Context(None)))]
    fn receive_bytes<'py>(
        &self,
        py: Python<'py>,
        request_context: Context<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let session = self.session(py, &request_context, "receive")?;
        let message = self.or_translated(py, "receive", session.get().receive_bytes(py, None))?;
        // Without a time-out there is always a message.
        Ok(message.unwrap_or_else(|| py.None().into_bound(py)))
    }

    /// The next message as bytes if one is there, else `b""`.
    #[pyo3(signature = (request_context=Context(None)))]
    fn receive_bytes_nowait<'py>(
        &self,
        py: Python<'py>,
        request_context: Context<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let session = self.session(py, &request_context, "receive")?;
        let message = self.or_translated(py, "receive", session.get().receive_bytes_nowait(py))?;
        Ok(message.unwrap_or_else(|| pyo3::types::PyBytes::new(py, b"").into_any()))
    }

    /// Sends a text message. Bytes that are not UTF-8 are a `ValueError`, translated too.
    #[pyo3(signature = (message, request_context=Context(None)))]
    fn send_text<'py>(
        &self,
        py: Python<'py>,
        message: &Bound<'py, PyAny>,
        request_context: Context<'py>,
    ) -> PyResult<()> {
        let payload = Payload::of(message)?;
        let session = self.session(py, &request_context, "send_text")?;
        self.or_translated(py, "send_text", session.get().send_checked(py, &payload))
    }

    /// Sends a binary message.
    #[pyo3(signature = (message, request_context=Context(None)))]
    fn send_binary<'py>(
        &self,
        py: Python<'py>,
        message: &Bound<'py, PyAny>,
        request_context: Context<'py>,
    ) -> PyResult<()> {
        let payload = Payload::of(message)?;
        let session = self.session(py, &request_context, "send_binary")?;
        self.or_translated(py, "send_binary", session.get().send_as_binary(py, &payload))
    }
}
