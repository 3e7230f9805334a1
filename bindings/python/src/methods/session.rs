//! `Session`, as Python sees it.

use std::sync::atomic::{AtomicBool, Ordering};

use fairlead_engine as fl;
use fl::{Lost, MessageKind, Received, Waiting};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::awaiting::{Awaiting, Messages, Work};
use crate::channels;
use crate::forked;
use crate::gil_queue::detach_in_line;
use crate::limit::Limit;
use crate::payload::{typed, Payload};
use crate::rows::{JoinAnswer, SessionCounters, SessionEnd};
use crate::session::{by, close_code, connection_closed, who_and_why, Session};
use crate::waiting::Waiter;

impl Session {
    /// The next message as `take` makes it; `None` when the limit passed.
    fn next<'py>(
        &self,
        py: Python<'py>,
        limit: Option<f64>,
        take: impl Fn(MessageKind, &[u8]) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        forked::check()?;
        // The way of a busy connection: one lock, no token.
        match self.connection.receive(None, &take) {
            Received::Message(message) => return message.map(Some),
            Received::Closed(closure) => return Err(connection_closed(py, &closure)),
            Received::Empty => {}
        }
        let limit = Limit::seconds(limit)?;
        loop {
            let in_time = self.wait_something(py, limit)?;
            match self.connection.receive(None, &take) {
                Received::Message(message) => return message.map(Some),
                Received::Closed(closure) => return Err(connection_closed(py, &closure)),
                Received::Empty if !in_time => return Ok(None),
                Received::Empty => {}
            }
        }
    }

    /// Waits for a message or the end; false when the limit passed. A hint: the caller looks.
    fn wait_something(&self, py: Python<'_>, limit: Limit) -> PyResult<bool> {
        forked::check()?;
        let connection = &self.connection;
        let taken = AtomicBool::new(false);
        let in_time = self.waiter.wait(
            py,
            limit,
            |token| {
                let waiting = connection.wait_receive(token);
                taken.store(waiting == Waiting::Taken, Ordering::Relaxed);
                waiting != Waiting::Registered
            },
            |left| {
                let in_time = connection.wait_message(left);
                taken.store(in_time.is_err(), Ordering::Relaxed);
                in_time.unwrap_or(true)
            },
            |token| connection.forget(token),
        )?;
        if taken.load(Ordering::Relaxed) {
            return Err(Self::taken());
        }
        Ok(in_time)
    }

    fn next_nowait<'py>(
        &self,
        py: Python<'py>,
        take: impl Fn(MessageKind, &[u8]) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        forked::check()?;
        match self.connection.receive(None, take) {
            Received::Message(message) => message.map(Some),
            Received::Closed(closure) => Err(connection_closed(py, &closure)),
            Received::Empty => Ok(None),
        }
    }

    fn call_back(
        &self,
        callback: Py<PyAny>,
        timeout: Option<f64>,
        register: impl FnOnce(fl::Token) -> PyResult<bool>,
    ) -> PyResult<Option<u64>> {
        let limit = Limit::seconds(timeout)?;
        let Waiter::Hub(hub) = &self.waiter else {
            return Err(PyRuntimeError::new_err(
                "threads have no loop that could call back",
            ));
        };
        let token = hub.prepare_callback(callback);
        let registered = register(token);
        if !matches!(registered, Ok(true)) {
            hub.cancel(token);
            return registered.map(|_| None);
        }
        hub.limit(token, limit);
        Ok(Some(token))
    }
}

#[pymethods]
impl Session {
    /// The subprotocol that the handshake agreed on.
    #[getter]
    fn subprotocol(&self) -> Option<String> {
        self.connection.subprotocol().map(String::from)
    }

    /// Waits for the next message: `str` for text, `bytes` for binary; `None` when `timeout` (seconds) passed.
    ///
    /// Raises `fairlead.ConnectionClosed`.
    #[pyo3(signature = (timeout=None))]
    fn receive<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.next(py, timeout, |kind, payload| typed(py, kind, payload))
    }

    /// Like `receive`, but `bytes` for text too.
    #[pyo3(signature = (timeout=None))]
    pub(crate) fn receive_bytes<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.next(py, timeout, |_, payload| Ok(PyBytes::new(py, payload).into_any()))
    }

    /// The next message if one is there, else `None`.
    fn receive_nowait<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.next_nowait(py, |kind, payload| typed(py, kind, payload))
    }

    /// Like `receive_nowait`, but `bytes` for text too.
    pub(crate) fn receive_bytes_nowait<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.next_nowait(py, |_, payload| Ok(PyBytes::new(py, payload).into_any()))
    }

    /// Sends `str` as a text message, a bytes-like object as a binary one. Waits while the peer is slow, at most the
    /// socket time-out; then the connection is dropped.
    ///
    /// Raises `fairlead.ConnectionClosed`.
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let payload = Payload::of(data)?;
        self.send_payload(py, payload.kind(), payload.bytes())
    }

    /// Sends a text message, from `str` or from bytes that are UTF-8.
    ///
    /// Raises `ValueError` for bytes that are not; nothing was sent then, and the connection stays usable.
    fn send_text(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.send_checked(py, &Payload::of(data)?)
    }

    /// Sends a binary message; `str` goes as UTF-8.
    fn send_binary(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.send_as_binary(py, &Payload::of(data)?)
    }

    /// `receive` for a coroutine of the worker's asyncio loop: an awaitable.
    #[pyo3(signature = (timeout=None))]
    fn receive_async(slf: Py<Self>, timeout: Option<f64>) -> Awaiting {
        let work = Work::Receive {
            session: slf,
            iterates: false,
        };
        Awaiting::new(work, timeout)
    }

    /// `send` for a coroutine: an awaitable.
    fn send_async(slf: Py<Self>, data: Py<PyAny>) -> Awaiting {
        let limit = slf.get().send_limit.as_secs_f64();
        Awaiting::new(Work::Send { session: slf, data }, Some(limit))
    }

    /// The messages, as an async iterator. It ends when the connection is closed; raises `fairlead.ConnectionClosed` if
    /// the peer vanished without a Close.
    fn messages(slf: Py<Self>) -> Messages {
        Messages::new(slf)
    }

    /// Starts the close handshake. Messages that came before the peer's Close can still be received.
    #[pyo3(signature = (code=1000, reason=""))]
    fn close(&self, #[pyo3(from_py_with = close_code)] code: u16, reason: &str) -> PyResult<()> {
        forked::check()?;
        let refused = |error: fl::UsageError| PyValueError::new_err(error.to_string());
        self.connection
            .close(fl::CloseCode(code), reason)
            .map_err(refused)
    }

    /// Sends a Ping with up to 125 bytes. Pings go out by themselves; this is for apps that measure.
    ///
    /// Raises `ValueError` for more bytes, `fairlead.ConnectionClosed`.
    #[pyo3(signature = (data=None))]
    fn ping(&self, py: Python<'_>, data: Option<&[u8]>) -> PyResult<()> {
        forked::check()?;
        match self.connection.ping(data.unwrap_or_default()) {
            Ok(()) => Ok(()),
            Err(fl::UsageError::Closed) => Err(self.closed_error(py)),
            Err(error) => Err(PyValueError::new_err(error.to_string())),
        }
    }

    /// Makes the client a member of a channel: what is published there goes to it. `numbered`: it sees the offsets.
    ///
    /// Raises `ValueError` for a bad name, `fairlead.ConnectionClosed`, `fairlead.ChannelsError`.
    #[pyo3(signature = (name, since=None, numbered=false, slow_consumer=None))]
    fn join(
        &self,
        py: Python<'_>,
        name: &str,
        #[pyo3(from_py_with = channels::offset)] since: Option<u64>,
        numbered: bool,
        slow_consumer: Option<&str>,
    ) -> PyResult<JoinAnswer> {
        let options = fl::JoinOptions {
            since,
            style: if numbered {
                fl::Style::Numbered
            } else {
                fl::Style::Plain
            },
            slow_consumer: slow_consumer.map(channels::slow_consumer).transpose()?,
        };
        match detach_in_line(py, || self.connection.join(name, options)) {
            Ok(answer) => Ok(JoinAnswer {
                offset: answer.offset,
                replayed: answer.replayed,
                missed: channels::count(answer.missed),
            }),
            Err(fl::JoinError::Closed) => Err(self.closed_error(py)),
            Err(error) => Err(channels::join_error(py, &error)),
        }
    }

    /// Ends the membership; False if there was none.
    fn leave(&self, py: Python<'_>, name: &str) -> bool {
        detach_in_line(py, || self.connection.leave_channel(name))
    }

    /// Messages of its channels that the client did not get, since it was slow.
    #[getter]
    fn missed(&self) -> u64 {
        self.connection.missed()
    }

    /// Drops the TCP connection at once, without a Close.
    fn disconnect(&self) {
        self.connection.abandon(Lost::Dropped);
    }

    /// Waits until `receive_nowait` would give a message, or raise because the connection is over, and takes nothing. False
    /// when `timeout` (seconds) passed first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let limit = Limit::seconds(timeout)?;
        loop {
            let waited = self.wait_something(py, limit);
            // However it has ended: whoever asks the descriptor next must learn what is there.
            let found = self.connection.shows_something();
            if found || !waited? {
                return Ok(found);
            }
        }
    }

    /// Has `callback(late)` called once on the hub's loop: when `receive_nowait` has something, or, with True, after
    /// `timeout` seconds. Answers a token to `forget`, or None if there is something already; then nothing is called.
    #[pyo3(signature = (callback, timeout=None))]
    fn notify(&self, callback: Py<PyAny>, timeout: Option<f64>) -> PyResult<Option<u64>> {
        let connection = &self.connection;
        self.call_back(callback, timeout, |token| match connection.wait_receive(token) {
            Waiting::Ready => Ok(false),
            Waiting::Registered => Ok(true),
            Waiting::Taken => Err(Self::taken()),
        })
    }

    /// Like `notify`, for the moment when `send` would not wait.
    #[pyo3(signature = (callback, timeout=None))]
    fn notify_room(&self, callback: Py<PyAny>, timeout: Option<f64>) -> PyResult<Option<u64>> {
        self.call_back(callback, timeout, |token| Ok(!self.connection.wait_room(token)))
    }

    /// The callback of this token will not be called any more.
    fn forget(&self, token: u64) {
        self.connection.forget(token);
        if let Waiter::Hub(hub) = &self.waiter {
            hub.cancel(token);
        }
    }

    /// A descriptor that polls readable exactly while `receive` would not wait. Not to be read or closed.
    fn fileno(&self) -> PyResult<i32> {
        forked::check()?;
        Ok(self.connection.notify_descriptor()?)
    }

    /// How the connection was closed, else `None`.
    #[getter]
    fn closed(&self) -> Option<SessionEnd> {
        self.connection.closure().map(|closure| {
            let (who, why) = who_and_why(&closure);
            SessionEnd {
                code: closure.code,
                by: by(&closure),
                who,
                why,
                reason: closure.reason,
            }
        })
    }

    /// What went over the connection so far.
    #[getter]
    fn counters(&self) -> SessionCounters {
        let counters = self.connection.counters();
        SessionCounters {
            messages_in: counters.messages_in,
            messages_out: counters.messages_out,
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            payload_in: counters.payload_in,
            payload_out: counters.payload_out,
        }
    }
}
