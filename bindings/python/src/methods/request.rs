//! `Request`, as Python sees it.

use std::sync::PoisonError;

use fairlead_engine as fl;
use fl::{AcceptError, BodyError, BodyRead};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use crate::awaiting::{Awaiting, Work};
use crate::descriptors;
use crate::environ;
use crate::head::Head;
use crate::limit::{seconds, Limit};
use crate::request::Request;
use crate::rows::Outcome;
use crate::session::{close_code, lost, Session};
use crate::waiting::Waiter;

impl Request {
    /// Waits for room in the response's buffer; false if there is none in time. True too when the client has gone.
    fn wait_room(&self, py: Python<'_>, limit: Limit) -> PyResult<bool> {
        let request = &self.request;
        if request.is_writable() {
            return Ok(true);
        }
        let room = self.wait_for_client(py, limit, fl::Request::wait_writable)?;
        Ok(room || request.is_gone())
    }

    /// Waits until what `ask` asks for may be there; false when the limit passed.
    fn wait_for_client(
        &self,
        py: Python<'_>,
        limit: Limit,
        ask: impl Fn(&fl::Request, fl::Token) -> bool + Send + Sync + Copy,
    ) -> PyResult<bool> {
        let request = &self.request;
        self.client_time.begin();
        let outcome = self.waiter.wait(
            py,
            limit,
            |token| ask(request, token),
            |left| request.wait_blocking(left, ask),
            |_| {},
        );
        self.client_time.end();
        outcome
    }

    /// What `read` finds, once it finds something; empty at the body's end.
    fn next_bytes<'py>(
        &self,
        py: Python<'py>,
        timeout: f64,
        read: impl Fn(&fl::Request) -> BodyRead,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let limit = Limit::seconds(Some(timeout))?;
        let request = &self.request;
        loop {
            match read(request) {
                BodyRead::Data(bytes) => return Ok(PyBytes::new(py, &bytes)),
                BodyRead::End => return Ok(PyBytes::new(py, b"")),
                BodyRead::Failed(why) => return Err(body_failed(py, &why)),
                BodyRead::Pending => {}
            }
            let in_time = self.wait_for_client(py, limit, fl::Request::wait_body)?;
            if !in_time && limit.has_passed() {
                return Err(too_slow(py, timeout));
            }
        }
    }

    fn held_task(&self) -> std::sync::MutexGuard<'_, Option<Py<PyAny>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Request {
    /// A new environ: a copy of `base` with the request's CGI variables, and `uwsgi.core` if there is a `core`.
    fn environ<'py>(
        &self,
        base: &Bound<'py, PyDict>,
        core: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = base.copy()?;
        environ::fill(&environ, self.request.head())?;
        if let Some(core) = core {
            environ.set_item(intern!(environ.py(), "uwsgi.core"), core)?;
        }
        Ok(environ)
    }

    /// What runs for this request, as whoever runs it has said; `None` from `complete()` on.
    #[getter]
    fn task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.held_task().as_ref().map(|task| task.clone_ref(py))
    }

    #[setter]
    fn set_task(&self, task: Py<PyAny>) {
        let before = self.held_task().replace(task);
        // Its end may run Python code, so not under the lock.
        drop(before);
    }

    /// Sends a whole response.
    ///
    /// Raises `OSError` when the client has gone, `ValueError` for a head that was sent before.
    fn respond(&self, head: &Head, body: &[u8]) -> PyResult<()> {
        self.request.respond(head.take()?, body.to_vec()).map_err(gone)
    }

    /// Begins a response whose body follows with `write`, and ends with `finish`. Raises what `respond` does.
    fn start(&self, head: &Head) -> PyResult<()> {
        self.request.start_response(head.take()?).map_err(gone)
    }

    /// Adds to the body; waits while the client is slow, at most `timeout` seconds.
    ///
    /// Raises `OSError` when the client has gone, `fairlead.errors.ResponseTimedOut` when it took nothing in time.
    fn write(&self, py: Python<'_>, piece: &[u8], timeout: f64) -> PyResult<()> {
        let limit = Limit::seconds(Some(timeout))?;
        if !self.wait_room(py, limit)? {
            return Err(response_timed_out(py, timeout));
        }
        self.request.write(piece.to_vec()).map_err(gone)
    }

    /// Adds `length` bytes of a regular file from `offset`; `descriptor` stays the caller's. Returns when the last of them
    /// was handed on, however long that takes a client that goes on reading; waits at most `timeout` seconds to begin.
    ///
    /// Raises `OSError` when the client has gone or the file could not be read to there, `TimeoutError`.
    fn write_file(
        &self,
        py: Python<'_>,
        descriptor: i32,
        offset: u64,
        length: u64,
        timeout: f64,
    ) -> PyResult<()> {
        let limit = Limit::seconds(Some(timeout))?;
        let file = descriptors::duplicate(descriptor)?;
        if !self.wait_room(py, limit)? {
            return Err(response_timed_out(py, timeout));
        }
        self.request.write_file(file, offset, length).map_err(gone)?;
        // A wake-up is a hint. A client that stops reading is the front's to give up.
        while !self.request.is_writable() {
            self.wait_room(py, Limit::new(None))?;
        }
        if self.request.is_gone() {
            return Err(gone(fl::Gone));
        }
        Ok(())
    }

    /// An awaitable for a coroutine of the worker's asyncio loop: true once `write` would not wait, false after
    /// `timeout` seconds.
    fn room(slf: Py<Self>, timeout: f64) -> Awaiting {
        Awaiting::new(Work::Room { request: slf }, Some(timeout))
    }

    /// True if the worker has an asyncio loop that coroutines can wait in.
    #[getter]
    fn has_asyncio(&self, py: Python<'_>) -> bool {
        matches!(&self.waiter, Waiter::Hub(hub) if hub.tasks.asyncio_loop(py).is_some())
    }

    /// Ends the body.
    fn finish(&self) {
        self.request.finish();
    }

    /// Cuts the connection: the response was begun and cannot be completed.
    fn abort(&self, why: &str) {
        self.request.abort(why);
    }

    /// Up to `size` bytes of the request's body, at least one; `b""` at its end. Waits at most `timeout` seconds.
    ///
    /// Raises `OSError` when the body broke off, `TimeoutError`.
    fn read_body<'py>(&self, py: Python<'py>, size: usize, timeout: f64) -> PyResult<Bound<'py, PyBytes>> {
        self.next_bytes(py, timeout, |request| request.read_body(size))
    }

    /// The next line of the request's body with its line feed, but at most `size` bytes; without one at the body's end, and
    /// `b""` behind it. Waits at most `timeout` seconds for each part of it.
    ///
    /// Raises `OSError` when the body broke off, `TimeoutError`.
    fn read_line<'py>(&self, py: Python<'py>, size: usize, timeout: f64) -> PyResult<Bound<'py, PyBytes>> {
        let size = size.max(1);
        let is_end = |part: &[u8], have: usize| part.is_empty() || part.ends_with(b"\n") || have >= size;
        let first = self.next_bytes(py, timeout, |request| request.read_line(size))?;
        let part = first.as_bytes();
        if is_end(part, part.len()) {
            return Ok(first);
        }
        let mut line = part.to_vec();
        loop {
            let left = size - line.len();
            let part = self.next_bytes(py, timeout, |request| request.read_line(left))?;
            line.extend_from_slice(part.as_bytes());
            if is_end(part.as_bytes(), line.len()) {
                return Ok(PyBytes::new(py, &line));
            }
        }
    }

    /// The next chunk of a chunked body (RFC 9112 §7.1) once it is whole, or `limit` bytes of a longer one; `b""` at the
    /// body's end. Waits at most `timeout` seconds (`None`: for ever) each time the client sends nothing. A body without
    /// chunks comes as it arrives.
    ///
    /// Raises `OSError` when the body broke off, `TimeoutError`; nothing is lost by the latter.
    #[pyo3(signature = (limit, timeout=None))]
    fn read_chunk<'py>(
        &self,
        py: Python<'py>,
        limit: usize,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let silence = timeout.map(seconds).transpose()?;
        let request = &self.request;
        let (mut limit_at, mut seen) = (Limit::new(silence), 0);
        loop {
            let received = request.received();
            if received != seen {
                (limit_at, seen) = (Limit::new(silence), received);
            }
            match request.read_chunk(limit.max(1)) {
                BodyRead::Data(bytes) => return Ok(PyBytes::new(py, &bytes)),
                BodyRead::End => return Ok(PyBytes::new(py, b"")),
                BodyRead::Failed(why) => return Err(body_failed(py, &why)),
                BodyRead::Pending => {}
            }
            let in_time =
                self.wait_for_client(py, limit_at, |request, token| request.wait_more(token, seen))?;
            if !in_time && limit_at.has_passed() && request.received() == seen {
                return Err(too_slow(py, timeout.unwrap_or_default()));
            }
        }
    }

    /// The same if it is there, else `None`. Never waits.
    fn read_chunk_nowait<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match self.request.read_chunk(limit.max(1)) {
            BodyRead::Data(bytes) => Ok(Some(PyBytes::new(py, &bytes))),
            BodyRead::End => Ok(Some(PyBytes::new(py, b""))),
            BodyRead::Pending => Ok(None),
            BodyRead::Failed(why) => Err(body_failed(py, &why)),
        }
    }

    /// Completes the WebSocket handshake. `send_timeout`: seconds that a send may wait for a slow peer.
    ///
    /// Raises `fairlead.HandshakeRefused`; `fairlead.ConnectionClosed` when the client has left; `RuntimeError` when the
    /// request was answered, or has a WebSocket, already, or is over.
    #[pyo3(signature = (key, subprotocol, send_timeout))]
    fn accept<'py>(
        &self,
        py: Python<'py>,
        key: Option<&str>,
        subprotocol: Option<&str>,
        send_timeout: f64,
    ) -> PyResult<Bound<'py, Session>> {
        let send_limit = seconds(send_timeout)?;
        if self.request.is_complete() {
            return Err(PyRuntimeError::new_err(
                "the request is over; complete the handshake while the application runs for it",
            ));
        }
        let connection = self
            .request
            .accept(key, subprotocol)
            .map_err(|error| refused(py, &error))?;
        let session = Session::new(connection, self.waiter.clone(), send_limit);
        let session = Bound::new(py, session)?;
        // Set once: a second `accept` is refused by the engine.
        let _ = self.session.set(py, session.clone().unbind());
        Ok(session)
    }

    /// The subprotocols that the client offers.
    #[getter]
    fn offered_subprotocols(&self) -> Vec<String> {
        self.request.offered_subprotocols()
    }

    /// The session, once accepted.
    #[getter]
    fn session(&self, py: Python<'_>) -> Option<Py<Session>> {
        self.session.get(py).map(|session| session.clone_ref(py))
    }

    /// Closes the WebSocket from the app's side, if there is one, and says whether there was.
    fn release(&self, #[pyo3(from_py_with = close_code)] code: u16, reason: &str) -> bool {
        self.request.release(fl::CloseCode(code), reason)
    }

    /// Answers with the refusal of the handshake, if that failed, and returns the status; else `None`.
    fn answer_refusal(&self) -> Option<u16> {
        self.request.answer_refusal()
    }

    /// The response, or the session, is over: rules for the end see it. What they change of its line in the log; `None`:
    /// nothing.
    fn conclude(&self, py: Python<'_>) -> Option<Outcome> {
        let conclusion = self.request.conclude();
        if conclusion.variables.is_empty() && !conclusion.no_line && conclusion.instead.is_none() {
            return None;
        }
        let variables = conclusion
            .variables
            .iter()
            .map(|(name, value)| {
                (
                    PyBytes::new(py, name.as_bytes()).unbind(),
                    PyBytes::new(py, value).unbind(),
                )
            })
            .collect();
        Some(Outcome {
            variables,
            is_unlogged: conclusion.no_line,
            status: conclusion.instead.map(|(status, _)| status),
            sent_bytes: conclusion.instead.map(|(_, size)| size),
        })
    }

    /// Gives the slot back. Nothing can be sent any more.
    fn complete(&self) {
        self.request.complete();
        // The two hold each other, and this class is not the garbage collector's to look through.
        let task = self.held_task().take();
        drop(task);
    }

    /// The first header of this name (any case), or `None`.
    fn header<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyString>> {
        self.request
            .head()
            .header(name)
            .map(|value| environ::latin1(py, value))
    }

    /// True once the client has gone.
    fn is_gone(&self) -> bool {
        self.request.is_gone()
    }

    /// A descriptor that polls readable while there is a WebSocket message to receive. Not to be read or closed.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.request.notify_descriptor()?)
    }

    /// Seconds that its task has waited for the client, for the body or for room to send.
    #[getter]
    fn client_time_s(&self) -> f64 {
        self.client_time.total().as_secs_f64()
    }

    /// True once its task has ended.
    #[getter]
    fn is_complete(&self) -> bool {
        self.request.is_complete()
    }

    /// Peer and request target, as the log names them.
    #[getter]
    fn label(&self) -> String {
        self.request.label()
    }
}

fn gone(error: fl::Gone) -> PyErr {
    PyOSError::new_err(error.to_string())
}

fn too_slow(py: Python<'_>, seconds: f64) -> PyErr {
    body_error(py, 408, format!("the client sent nothing for {seconds} seconds"))
}

fn body_failed(py: Python<'_>, why: &BodyError) -> PyErr {
    body_error(py, why.status().unwrap_or_default(), why.to_string())
}

/// `fairlead.errors.BodyFailed(status, reason)`, or its kind that is a `TimeoutError` too.
fn body_error(py: Python<'_>, status: u16, reason: String) -> PyErr {
    static FAILED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TIMED_OUT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = match status {
        408 => TIMED_OUT.import(py, "fairlead.errors", "BodyTimedOut"),
        _ => FAILED.import(py, "fairlead.errors", "BodyFailed"),
    };
    match class {
        Ok(class) => PyErr::from_type(class.clone(), (status, reason)),
        Err(error) => error,
    }
}

/// By whose fault: the client's, nobody's (it has left), the application's.
fn refused(py: Python<'_>, error: &AcceptError) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let status = match error {
        AcceptError::Handshake(error) => error.status(),
        AcceptError::Origin(_) => 403,
        AcceptError::Usage(_) => return PyValueError::new_err(error.to_string()),
        AcceptError::AlreadyAnswered => return PyRuntimeError::new_err(error.to_string()),
        AcceptError::Gone => return lost(py, &error.to_string()),
    };
    match CLASS.import(py, "fairlead.errors", "HandshakeRefused") {
        Ok(class) => PyErr::from_type(class.clone(), (status, error.to_string())),
        Err(error) => error,
    }
}

/// `fairlead.errors.ResponseTimedOut`.
fn response_timed_out(py: Python<'_>, timeout: f64) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let why = format!("the client took nothing for {timeout} seconds");
    match CLASS.import(py, "fairlead.errors", "ResponseTimedOut") {
        Ok(class) => PyErr::from_type(class.clone(), why),
        Err(error) => error,
    }
}
