//! What the engine has to say, on its way to the thread of Python's that writes the log.
//!
//! Whoever logs must not be blocked, and a flood must cost no memory: what finds no room is dropped and counted, and the
//! count is a line of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fairlead_engine as fl;
use fl::{LogLevel, Stall};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Room for most of a second of ten thousand requests in a second that routes or files answer, while the application holds
/// the interpreter.
const ENTRIES: usize = 8192;

/// How often a flood that goes on is spoken of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What waits for Python's log thread.
pub(crate) enum Entry {
    Line(LogLevel, String),
    Stall(Stall),
    Answered(Box<fl::Answered>),
}

/// The engine's end.
#[derive(Clone)]
pub(crate) struct Notes {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Notes {
    pub(crate) fn put(&self, entry: Entry) {
        if self.entries.try_send(entry).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Python's end.
pub(crate) struct LogQueue {
    reading: Mutex<Reading>,
    /// Entries that found no room since the last look.
    dropped: Arc<AtomicU64>,
}

struct Reading {
    entries: Receiver<Entry>,
    /// When Python was told last that some are missing.
    told: Instant,
}

impl LogQueue {
    pub(crate) fn new() -> (LogQueue, Notes) {
        let (write, read) = sync_channel(ENTRIES);
        let dropped = Arc::<AtomicU64>::default();
        let queue = LogQueue {
            reading: Mutex::new(Reading {
                entries: read,
                told: Instant::now(),
            }),
            dropped: Arc::clone(&dropped),
        };
        let notes = Notes {
            entries: write,
            dropped,
        };
        (queue, notes)
    }

    /// See `Engine.wait_log`.
    pub(crate) fn wait<'py>(&self, py: Python<'py>, limit: Duration) -> PyResult<Option<Bound<'py, PyAny>>> {
        let line = match py.detach(|| self.next(limit)) {
            Ok(Entry::Line(level, text)) => (level_name(level), text),
            Ok(Entry::Stall(Stall::Lasts(so_far))) => ("stalled", so_far.as_secs_f64().to_string()),
            Ok(Entry::Stall(Stall::Ended(after))) => ("recovered", after.as_secs_f64().to_string()),
            Ok(Entry::Answered(about)) => {
                return Ok(Some(Bound::new(py, Answered { about: *about })?.into_any()));
            }
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err(PyRuntimeError::new_err("the engine is gone")),
        };
        Ok(Some(line.into_pyobject(py)?.into_any()))
    }

    fn next(&self, limit: Duration) -> Result<Entry, RecvTimeoutError> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let next = reading.entries.try_recv().ok();
        // Not between the lines of a flood, or it would have more of them; but while it lasts, now and then.
        let is_time = next.is_none() || reading.told.elapsed() >= TELL_EVERY;
        if is_time && self.dropped.load(Ordering::Relaxed) > 0 {
            reading.told = Instant::now();
            // The entry in hand gives way to the news, and counts.
            let dropped = self.dropped.swap(0, Ordering::Relaxed) + u64::from(next.is_some());
            let text =
                format!("{dropped} lines of the log are missing: they came faster than they were written");
            return Ok(Entry::Line(LogLevel::Warning, text));
        }
        match next {
            Some(entry) => Ok(entry),
            None => reading.entries.recv_timeout(limit),
        }
    }
}

/// A request that was answered without the application, for its line in the log.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Answered {
    about: fl::Answered,
}

#[pymethods]
impl Answered {
    #[getter]
    fn peer(&self) -> &str {
        &self.about.peer
    }

    #[getter]
    fn method(&self) -> &str {
        &self.about.method
    }

    #[getter]
    fn path(&self) -> &str {
        &self.about.target
    }

    #[getter]
    fn protocol(&self) -> &str {
        &self.about.protocol
    }

    /// 0 if the connection was closed without an answer.
    #[getter]
    fn status(&self) -> u16 {
        self.about.status
    }

    #[getter]
    fn sent_bytes(&self) -> u64 {
        self.about.sent
    }

    #[getter]
    fn duration_s(&self) -> f64 {
        self.about.took.as_secs_f64()
    }

    /// What rules have added, as pairs of bytes.
    #[getter]
    fn variables<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let pairs = self.about.variables.iter();
        pairs
            .map(|(name, value)| (PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value)))
            .collect()
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warning => "warning",
        LogLevel::Error => "error",
    }
}
