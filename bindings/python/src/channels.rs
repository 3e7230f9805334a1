//! `Channels`: publishing for Python; and how what channels say becomes values and errors of Python.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fairlead_engine as fl;
use fl::{ChannelError, JoinError, Kind, MessageKind, Missed, RegionError, SlowConsumer};
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

use crate::payload::{typed, Payload};
use crate::rows::{ChannelFacts, LogSize, Page, WorkerFacts};

/// The channels of one instance, in this process.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Channels {
    channels: Arc<fl::Channels>,
}

impl Channels {
    pub(crate) fn inner(&self) -> Arc<fl::Channels> {
        Arc::clone(&self.channels)
    }

    fn over(made: Result<fl::Channels, RegionError>) -> PyResult<Self> {
        match made {
            Ok(channels) => Ok(Self {
                channels: Arc::new(channels),
            }),
            Err(RegionError::System(error)) => Err(error.into()),
            Err(error) => Err(PyValueError::new_err(error.to_string())),
        }
    }
}

#[pymethods]
impl Channels {
    /// Processes that can have members at a time.
    #[classattr]
    const PLACES: usize = fl::Channels::PLACES;

    /// New channels of `size` bytes in memory; `longest` is the most bytes that a message may have.
    ///
    /// Raises `ValueError` for a size that cannot be, `OSError`.
    #[staticmethod]
    fn in_memory(size: usize, longest: usize) -> PyResult<Self> {
        Self::over(fl::Channels::in_memory(size, longest))
    }

    /// The channels in a file, made if there is none. One that is there keeps its size.
    ///
    /// Raises `ValueError` for a file that cannot be used so, `OSError`.
    #[staticmethod]
    fn in_file(path: PathBuf, size: usize, longest: usize) -> PyResult<Self> {
        Self::over(fl::Channels::in_file(&path, size, longest))
    }

    /// The channels that another process has made. Takes the descriptor over.
    #[staticmethod]
    fn inherited(descriptor: i32, longest: usize) -> PyResult<Self> {
        // SAFETY: the worker's start message gives the inherited descriptor to the engine, once.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Self::over(fl::Channels::inherited(descriptor, longest))
    }

    /// The descriptor that other processes are to inherit. It stays the engine's.
    fn fileno(&self) -> i32 {
        self.channels.descriptor().as_raw_fd()
    }

    /// Publishes `str` as text, a bytes-like object as binary; answers the message's offset in its channel.
    ///
    /// Raises `ValueError` for a bad name or a message that is too long, `fairlead.ChannelsError`; nothing was published then.
    /// A `ChannelsBusy` comes after two milliseconds, whoever has the lock: waiting longer is the caller's business.
    fn publish(&self, py: Python<'_>, name: &Bound<'_, PyString>, data: &Bound<'_, PyAny>) -> PyResult<u64> {
        let payload = Payload::of(data)?;
        let kind = match payload.kind() {
            MessageKind::Text => Kind::Text,
            MessageKind::Binary => Kind::Binary,
        };
        let (name, bytes) = (name.to_str()?, payload.bytes());
        let published = match self.channels.try_publish(name, kind, bytes) {
            Ok(None) => py.detach(|| self.channels.publish_within(name, kind, bytes, fl::BRIEFLY)),
            Ok(Some(offset)) => Ok(offset),
            Err(error) => Err(error),
        };
        published.map_err(|error| channel_error(py, &error))
    }

    /// Blocks the thread until nobody has the channels' lock, at most so many seconds; False if somebody still has it.
    fn wait_free(&self, py: Python<'_>, timeout_s: f64) -> PyResult<bool> {
        let patience = Duration::try_from_secs_f64(timeout_s)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        match py.detach(|| self.channels.wait_free(patience)) {
            Err(ChannelError::Busy(_)) => Ok(false),
            waited => waited.map(|()| true).map_err(|error| channel_error(py, &error)),
        }
    }

    /// `(thread, position)`: while both stay the same it is the same thread that has the lock, and goes on having it.
    #[getter]
    fn lock_state(&self) -> (u32, u64) {
        self.channels.lock_state()
    }

    /// The messages after `since`, at most `limit` and about `bytes` of payload. A channel that does not exist has the
    /// offset 0.
    #[pyo3(signature = (name, since, limit, bytes))]
    fn page(
        &self,
        py: Python<'_>,
        name: &str,
        since: Option<u64>,
        limit: usize,
        bytes: usize,
    ) -> PyResult<Page> {
        let found = py.detach(|| self.channels.page(name, since, limit, bytes));
        let Some(page) = found.map_err(|error| channel_error(py, &error))? else {
            return Ok(Page {
                offset: 0,
                missed: if since.unwrap_or(0) == 0 { Some(0) } else { None },
                is_all: true,
                messages: Vec::new(),
            });
        };
        let typed = |(record, payload): &(fl::Record, Vec<u8>)| {
            Ok((
                record.offset,
                typed(py, message_kind(record.kind), payload)?.unbind(),
            ))
        };
        let messages = page.messages.iter().map(typed).collect::<PyResult<_>>()?;
        Ok(Page {
            offset: page.offset,
            missed: count(page.missed),
            is_all: page.is_all,
            messages,
        })
    }

    /// `[(offset, str or bytes)]`, oldest first: the first `limit` after `since`, or without `since` the newest `limit`.
    ///
    /// Raises `ValueError` for a bad name or a `limit` below 0.
    #[pyo3(signature = (name, since=None, limit=None))]
    fn history<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        #[pyo3(from_py_with = offset)] since: Option<u64>,
        limit: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<(u64, Bound<'py, PyAny>)>> {
        let limit = limit.map(|limit| count_of("limit", 0, limit)).transpose()?;
        let found = py.detach(|| self.channels.history(name, since, limit.unwrap_or(usize::MAX)));
        found
            .map_err(|error| channel_error(py, &error))?
            .iter()
            .map(|(record, payload)| Ok((record.offset, typed(py, message_kind(record.kind), payload)?)))
            .collect()
    }

    /// How many members a channel has in all processes.
    fn members(&self, py: Python<'_>, name: &str) -> PyResult<u64> {
        py.detach(|| self.channels.members(name))
            .map_err(|error| channel_error(py, &error))
    }

    /// All channels.
    fn list(&self, py: Python<'_>) -> PyResult<Vec<ChannelFacts>> {
        let all = py.detach(|| self.channels.list());
        let facts = all.into_iter().map(|one| ChannelFacts {
            name: one.name,
            members: one.members,
            messages: one.messages,
            bytes: one.bytes,
            offset: one.offset,
        });
        Ok(facts.collect())
    }

    /// All processes that can have members.
    fn workers(&self) -> Vec<WorkerFacts> {
        let all = self.channels.workers().into_iter().map(|one| WorkerFacts {
            pid: one.process,
            lag: one.lag,
            overtaken: one.overtaken,
            delivered: one.delivered,
            dropped: one.dropped,
        });
        all.collect()
    }

    /// Lets go of the members of processes that have ended; answers how many processes there were. Waits as `publish` does.
    fn forget_dead(&self, py: Python<'_>) -> PyResult<usize> {
        self.channels
            .forget_dead(fl::BRIEFLY)
            .map_err(|error| channel_error(py, &error))
    }

    /// Says to all processes that share these channels that their file is no longer the one of its name: calls fail.
    fn abandon(&self) {
        self.channels.abandon();
    }

    /// Nothing can be read or written any more.
    #[getter]
    fn is_damaged(&self) -> bool {
        self.channels.is_damaged()
    }

    /// How large the log is.
    #[getter]
    fn log_size(&self) -> LogSize {
        let (size, used) = self.channels.log_size();
        LogSize { size, used }
    }

    /// The most bytes that a message may have.
    #[getter]
    fn longest_message(&self) -> usize {
        self.channels.longest_message()
    }
}

/// The offset to begin behind. It may be a client's own word, so any whole number will do: one that no offset can be is of
/// another run.
pub(crate) fn offset(value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    if value.is_none() {
        return Ok(None);
    }
    match value.extract::<u64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            // 0 is before everything.
            Ok(Some(if value.lt(0)? { 1 } else { u64::MAX }))
        }
        found => found.map(Some),
    }
}

/// How many of something, at least `least`: refused with `ValueError` below. More than memory could hold is no limit.
pub(crate) fn count_of(name: &str, least: usize, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let found = match value.extract::<usize>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            if value.lt(0)? {
                None
            } else {
                Some(usize::MAX)
            }
        }
        found => Some(found?),
    };
    found
        .filter(|count| *count >= least)
        .ok_or_else(|| PyValueError::new_err(format!("{name} is {value}, and it must be {least} or more")))
}

/// `None`: unknown.
pub(crate) fn count(missed: Missed) -> Option<u64> {
    match missed {
        Missed::Nothing => Some(0),
        Missed::Messages(count) => Some(count),
        Missed::Unknown => None,
    }
}

pub(crate) fn slow_consumer(policy: &str) -> PyResult<SlowConsumer> {
    match policy {
        "close" => Ok(SlowConsumer::Close),
        "drop-newest" => Ok(SlowConsumer::DropNewest),
        "drop-oldest" => Ok(SlowConsumer::DropOldest),
        other => Err(PyValueError::new_err(format!(
            "slow_consumer is \"close\", \"drop-newest\" or \"drop-oldest\", not {other:?}"
        ))),
    }
}

pub(crate) fn message_kind(kind: Kind) -> MessageKind {
    match kind {
        Kind::Text => MessageKind::Text,
        Kind::Binary => MessageKind::Binary,
    }
}

/// A call that cannot be right is a `ValueError`; the rest is `fairlead.ChannelsError`, or the kind of it that goes away.
pub(crate) fn channel_error(py: Python<'_>, error: &ChannelError) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static BUSY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = match error {
        ChannelError::Name(_) | ChannelError::TooLong { .. } => {
            return PyValueError::new_err(error.to_string());
        }
        ChannelError::Busy(_) => BUSY.import(py, "fairlead.errors", "ChannelsBusy"),
        _ => CLASS.import(py, "fairlead.errors", "ChannelsError"),
    };
    match class {
        Ok(class) => PyErr::from_type(class.clone(), error.to_string()),
        Err(error) => error,
    }
}

pub(crate) fn join_error(py: Python<'_>, error: &JoinError) -> PyErr {
    match error {
        JoinError::Channel(error) => channel_error(py, error),
        JoinError::Closed => PyRuntimeError::new_err("the connection is closed"),
        JoinError::NoChannels => PyRuntimeError::new_err("this engine was started without channels"),
    }
}
