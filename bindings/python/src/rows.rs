//! Rows: what the extension answers where several values belong together. Frozen, each value by its name.
//!
//! Plain data without a method; whoever fills one stands beside what it tells of. A message with its offset stays a pair,
//! because there are many of them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// What is known of one channel.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct ChannelFacts {
    pub(crate) name: String,
    pub(crate) members: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) offset: u64,
}

/// What is known of one process that can have members. `lag`: bytes of the log that it has not read; `overtaken`: how often
/// the log was overwritten before it had.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct WorkerFacts {
    pub(crate) pid: u64,
    pub(crate) lag: u64,
    pub(crate) overtaken: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
}

/// A part of a channel's history. `offset`: the newest of the channel; `missed`: what is lost before the first message
/// (`None`: nobody knows); `is_all`: nothing lies behind the last one; `messages`: offsets with `str` or `bytes`.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct Page {
    pub(crate) offset: u64,
    pub(crate) missed: Option<u64>,
    pub(crate) is_all: bool,
    pub(crate) messages: Vec<(u64, Py<PyAny>)>,
}

/// The size of the log, and how much of it is in use, in bytes.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct LogSize {
    pub(crate) size: u64,
    pub(crate) used: u64,
}

/// What an engine has to do: tasks that run, WebSockets in the loop, and requests that wait for a slot.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct Busy {
    pub(crate) running: usize,
    pub(crate) sessions: usize,
    pub(crate) waiting: usize,
}

/// All counters of an engine: connections `accepted`; `requests` that came, and those that were `refused`; `turns` of the loop,
/// and how often the loop thread took them over; sessions that joined the loop, left it in order, were lost, and failed by
/// a rule; messages and bytes of all sessions; and tasks that are `running` now.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct Statistics {
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) turns: u64,
    pub(crate) takeovers: u64,
    pub(crate) sessions_joined: u64,
    pub(crate) sessions_left: u64,
    pub(crate) sessions_lost: u64,
    pub(crate) sessions_failed: u64,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) running: usize,
}

/// What rules for the end change of a request's line in the log: `variables` that they add, as pairs of bytes; whether there
/// shall be no line; `status` and `sent_bytes` of the answer that a rule has put in the place of another, else `None`.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct Outcome {
    pub(crate) variables: Vec<(Py<PyBytes>, Py<PyBytes>)>,
    pub(crate) is_unlogged: bool,
    pub(crate) status: Option<u16>,
    pub(crate) sent_bytes: Option<u64>,
}

/// Where a new member of a channel begins: its first message has a larger `offset`; so many of the past it gets first
/// (`replayed`); so many behind the `since` that it asked for are lost (`missed`; `None`: nobody knows).
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct JoinAnswer {
    pub(crate) offset: u64,
    pub(crate) replayed: usize,
    pub(crate) missed: Option<u64>,
}

/// How a session ended: the close code (RFC 6455 §7.1.5), the reason that was given, and `by` whom: "peer", "local" or
/// "lost". For the log: who ended it, "client", "app" or "server", and why, as far as that is known.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct SessionEnd {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) by: &'static str,
    pub(crate) who: &'static str,
    pub(crate) why: String,
}

/// What went over one session; `bytes_…` are with frame headers and control frames, `payload_…` what is in messages.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct SessionCounters {
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) payload_in: u64,
    pub(crate) payload_out: u64,
}

/// One row of the engine's table of settings.
#[pyclass(frozen, get_all, module = "fairlead._engine")]
pub(crate) struct SettingRow {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) default: Py<PyAny>,
    pub(crate) least: Option<f64>,
    pub(crate) most: Option<f64>,
    pub(crate) words: Vec<&'static str>,
    pub(crate) meaning: String,
    pub(crate) reason: String,
}

/// Makes the rows' classes names of the extension.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Busy>()?;
    module.add_class::<ChannelFacts>()?;
    module.add_class::<JoinAnswer>()?;
    module.add_class::<LogSize>()?;
    module.add_class::<Outcome>()?;
    module.add_class::<Page>()?;
    module.add_class::<SessionCounters>()?;
    module.add_class::<SessionEnd>()?;
    module.add_class::<SettingRow>()?;
    module.add_class::<Statistics>()?;
    module.add_class::<WorkerFacts>()?;
    Ok(())
}
