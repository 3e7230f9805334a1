//! `Session`: a WebSocket connection for Python. What Python calls on it stands in `methods::session`; here is what the
//! binding itself needs of it: to try, to wait, and to say how it ended.

use std::sync::Arc;
use std::time::Duration;

use fairlead_engine as fl;
use fl::{Cause, CloseCode, ClosedBy, Closure, Lost, MessageKind, Received, Sent};
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyStopAsyncIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::forked;
use crate::gil_queue::detach_in_line;
use crate::limit::Limit;
use crate::payload::{typed, Payload};
use crate::waiting::Waiter;

/// One WebSocket, RFC 6455. Usable from any task of its worker; one at a time may receive.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Session {
    pub(crate) connection: Arc<fl::Connection>,
    pub(crate) waiter: Waiter,
    pub(crate) send_limit: Duration,
}

impl Session {
    pub(crate) fn new(connection: Arc<fl::Connection>, waiter: Waiter, send_limit: Duration) -> Self {
        Self {
            connection,
            waiter,
            send_limit,
        }
    }

    pub(crate) fn taken() -> PyErr {
        PyRuntimeError::new_err("another task is waiting for this connection's next message already")
    }

    pub(crate) fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    pub(crate) fn connection(&self) -> &Arc<fl::Connection> {
        &self.connection
    }

    /// The next message if one is there. `iterates`: an end in good order is the end of an iteration.
    pub(crate) fn receive_for_coroutine<'py>(
        &self,
        py: Python<'py>,
        iterates: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        forked::check()?;
        match self
            .connection
            .receive(None, |kind, payload| typed(py, kind, payload))
        {
            Received::Message(message) => message.map(Some),
            Received::Empty => Ok(None),
            Received::Closed(closure) if iterates && !matches!(closure.by, ClosedBy::Lost(_)) => {
                Err(PyStopAsyncIteration::new_err(()))
            }
            Received::Closed(closure) => Err(connection_closed(py, &closure)),
        }
    }

    /// False if the outbox is full: nothing was taken, and there may be room later.
    pub(crate) fn try_send(&self, py: Python<'_>, kind: MessageKind, payload: &[u8]) -> PyResult<bool> {
        forked::check()?;
        let sent = match self.waiter {
            // With no further message waiting the write happens in here, and other threads run meanwhile; a GIL that is
            // held over it makes every thread that wakes up in that time wait twice.
            Waiter::Threads if self.connection.queued_messages() == 0 => {
                detach_in_line(py, || self.connection.send(kind, payload))
            }
            _ => self.connection.send(kind, payload),
        };
        match sent {
            Sent::Done => Ok(true),
            Sent::Full => Ok(false),
            Sent::Closed => Err(self.closed_error(py)),
        }
    }

    /// There was no room for as long as a send may wait. A message that cannot be sent leaves a gap that the peer cannot
    /// see: the connection ends.
    pub(crate) fn give_up_sending(&self, py: Python<'_>) -> PyErr {
        self.connection.abandon(Lost::SendTimeout);
        self.closed_error(py)
    }

    pub(crate) fn send_payload(&self, py: Python<'_>, kind: MessageKind, payload: &[u8]) -> PyResult<()> {
        let mut limit = None;
        loop {
            if self.try_send(py, kind, payload)? {
                return Ok(());
            }
            let limit = *limit.get_or_insert_with(|| Limit::new(Some(self.send_limit)));
            let connection = &self.connection;
            let room = self.waiter.wait(
                py,
                limit,
                |token| connection.wait_room(token),
                |left| connection.wait_room_blocking(left.unwrap_or_default()),
                |token| connection.forget(token),
            )?;
            if !room {
                return Err(self.give_up_sending(py));
            }
        }
    }

    /// Text, refused with `ValueError` if it is not UTF-8.
    pub(crate) fn send_checked(&self, py: Python<'_>, payload: &Payload<'_, '_>) -> PyResult<()> {
        if !matches!(payload, Payload::Text(_)) && !fl::is_utf8(payload.bytes()) {
            return Err(PyValueError::new_err(
                "a text message must be UTF-8 (RFC 6455 §5.6); send it as binary",
            ));
        }
        self.send_payload(py, MessageKind::Text, payload.bytes())
    }

    pub(crate) fn send_as_binary(&self, py: Python<'_>, payload: &Payload<'_, '_>) -> PyResult<()> {
        self.send_payload(py, MessageKind::Binary, payload.bytes())
    }

    /// True for the errors that say something about the connection or the message, not about the call.
    pub(crate) fn is_closed_error(py: Python<'_>, error: &PyErr) -> bool {
        let is_value_error = error.is_instance_of::<PyValueError>(py)
            && !error.is_instance_of::<pyo3::exceptions::PyUnicodeError>(py);
        is_value_error || closed_class(py).is_ok_and(|class| error.is_instance(py, &class))
    }

    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyErr {
        match self.connection.closure() {
            Some(closure) => connection_closed(py, &closure),
            None => PyRuntimeError::new_err("a Close was sent: nothing can follow it (RFC 6455 §5.5.1)"),
        }
    }
}

/// A close code from Python: any whole number, and refused with `ValueError` if it is none that may be sent.
pub(crate) fn close_code(code: &Bound<'_, PyAny>) -> PyResult<u16> {
    let small = match code.extract::<u16>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(code.py()) => None,
        found => Some(found?),
    };
    small
        .filter(|code| CloseCode(*code).is_valid_on_wire())
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "{code} is not a close code that may be sent (RFC 6455 §7.4); use 1000, 1001, 1008, 1011 or 3000-4999"
            ))
        })
}

pub(crate) fn by(closure: &Closure) -> &'static str {
    match closure.by {
        ClosedBy::Peer => "peer",
        ClosedBy::Local(_) => "local",
        ClosedBy::Lost(_) => "lost",
    }
}

/// Who ended the session, and why, for the log: "client", "app" or "server".
pub(crate) fn who_and_why(closure: &Closure) -> (&'static str, String) {
    let (who, why) = match closure.by {
        ClosedBy::Peer => ("client", ""),
        ClosedBy::Local(Cause::Application) | ClosedBy::Lost(Lost::Dropped) => ("app", ""),
        ClosedBy::Local(Cause::Drain) if closure.code == CloseCode::SERVICE_RESTART.0 => ("server", "reload"),
        ClosedBy::Local(Cause::Drain) => ("server", "stop"),
        ClosedBy::Local(Cause::Idle) => ("server", "idle time-out"),
        ClosedBy::Local(Cause::Backlog) => ("server", "backlog: the client does not read"),
        ClosedBy::Local(Cause::Violation) => ("server", "violation"),
        ClosedBy::Lost(Lost::PingTimeout) => ("server", "ping time-out"),
        ClosedBy::Lost(Lost::SendTimeout | Lost::NotReading) => ("server", "the client does not read"),
        ClosedBy::Lost(Lost::BrokenTls) => ("server", "broken TLS records"),
        ClosedBy::Lost(Lost::Eof) => ("client", "no Close came"),
        ClosedBy::Lost(Lost::Reset) => ("client", "connection reset"),
    };
    match &closure.error {
        Some(error) if closure.by == ClosedBy::Peer => (who, error.to_string()),
        _ => (who, why.to_owned()),
    }
}

fn closed_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "fairlead.errors", "ConnectionClosed").cloned()
}

/// `fairlead.ConnectionClosed(code, reason, by)`.
pub(crate) fn connection_closed(py: Python<'_>, closure: &Closure) -> PyErr {
    let class = match closed_class(py) {
        Ok(class) => class,
        Err(error) => return error,
    };
    let reason = match &closure.error {
        Some(error) => error.to_string(),
        None => match closure.by {
            ClosedBy::Lost(why) if closure.reason.is_empty() => why.to_string(),
            _ => closure.reason.clone(),
        },
    };
    PyErr::from_type(class, (closure.code, reason, by(closure)))
}

/// The same for a client that has left before there was a session (RFC 6455 §7.1.5: without a Close the code is 1006).
pub(crate) fn lost(py: Python<'_>, why: &str) -> PyErr {
    match closed_class(py) {
        Ok(class) => PyErr::from_type(class, (CloseCode::ABNORMAL.0, why.to_owned(), "lost")),
        Err(error) => error,
    }
}
