//! `Engine`: start, requests for threads, drain and stop.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use fairlead_engine as fl;
use fl::CloseCode;
use pyo3::prelude::*;

use crate::channels::offset;
use crate::limit::seconds;
use crate::log_queue::{Entry, LogQueue};
use crate::request::Request;
use crate::rows::{Busy, Statistics};
use crate::settings::EngineSettings;
use crate::subscription::Subscription;
use crate::waiting::Waiter;

/// Requests that a thread takes before it lets go of the GIL in between: a fifth of a millisecond of the smallest ones.
const IN_A_ROW: u32 = 16;

/// One process's engine.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Engine {
    engine: Arc<fl::Engine>,
    log: LogQueue,
}

impl Engine {
    /// A request that is there already, without letting go of the GIL: that costs two system calls and often two
    /// switches of threads. But not for ever, or a task that wants to go on would wait until the interpreter takes the
    /// GIL away.
    fn next_in_a_row(&self) -> Option<Box<fl::Request>> {
        thread_local!(static TAKEN: Cell<u32> = const { Cell::new(0) });
        TAKEN.with(|taken| {
            let request = (taken.get() < IN_A_ROW)
                .then(|| self.engine.try_request())
                .flatten();
            taken.set(if request.is_some() { taken.get() + 1 } else { 0 });
            request
        })
    }

    #[allow(clippy::unnecessary_wraps)] // a later engine may be stopped for good
    pub(crate) fn inner(&self) -> PyResult<Arc<fl::Engine>> {
        Ok(Arc::clone(&self.engine))
    }
}

#[pymethods]
impl Engine {
    /// Starts the engine. Connections are accepted from now on.
    ///
    /// Raises `ValueError` if the settings were used for another engine, `OSError`.
    #[new]
    fn new(py: Python<'_>, settings: &Bound<'_, EngineSettings>) -> PyResult<Self> {
        let (mut settings, listeners) = settings.get().take()?;
        let (log, note) = LogQueue::new();
        let (note_stall, note_answered) = (note.clone(), note.clone());
        // The GIL runs one thread at a time; a build without it is as good as its cores.
        settings.parallel = if has_gil(py)? { 1 } else { usize::MAX };
        settings.log = Arc::new(move |level, line| {
            note.put(Entry::Line(level, line.to_owned()));
        });
        settings.answered = Arc::new(move |about| {
            note_answered.put(Entry::Answered(Box::new(about)));
        });
        settings.stall = Arc::new(move |stall| {
            note_stall.put(Entry::Stall(stall));
        });
        let engine = fl::Engine::start(settings, listeners)?;
        Ok(Self {
            engine: Arc::new(engine),
            log,
        })
    }

    /// Blocks until there is a request; `None` after `timeout` seconds, and always once the engine is dismissed.
    #[pyo3(signature = (timeout=None))]
    fn wait_request<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, Request>>> {
        let limit = timeout.map(seconds).transpose()?;
        let request = match self.next_in_a_row() {
            Some(request) => Some(request),
            None => py.detach(|| self.engine.wait_request(limit)),
        };
        request
            .map(|request| Request::wrap(py, request, Waiter::Threads))
            .transpose()
    }

    /// A membership of a channel for tasks that are threads; see `Hub.subscribe`.
    #[pyo3(signature = (name, since, limit, drops))]
    fn subscribe(
        &self,
        py: Python<'_>,
        name: &str,
        #[pyo3(from_py_with = offset)] since: Option<u64>,
        limit: &Bound<'_, PyAny>,
        drops: &str,
    ) -> PyResult<Subscription> {
        let engine = Arc::clone(&self.engine);
        Subscription::start(py, engine, Waiter::Threads, name, since, limit, drops)
    }

    /// Blocks until there is a log line: `(level, text)`, level being "debug", "info", "warning" or "error"; `None`
    /// after `timeout` seconds; an `Answered` where a request's line is to be written. Level "stalled" or "recovered":
    /// the runner's thread has not come to the loop for `text` seconds, and has not yet, or has now.
    fn wait_log<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.log.wait(py, seconds(timeout)?)
    }

    /// No new connections; a Close with `code` on every WebSocket, evenly spread over so many seconds. Requests in flight go
    /// on. Called again, it is for the WebSockets that are left.
    #[pyo3(signature = (code, reason, spread=0.0))]
    fn drain(&self, py: Python<'_>, code: u16, reason: &str, spread: f64) -> PyResult<()> {
        let spread = seconds(spread)?;
        py.detach(|| self.engine.drain(CloseCode(code), reason, spread));
        Ok(())
    }

    /// No more requests for `wait_request`.
    fn dismiss(&self) {
        self.engine.dismiss();
    }

    /// What the engine has to do now.
    fn busy(&self, py: Python<'_>) -> Busy {
        let ((running, sessions), waiting) = py.detach(|| (self.engine.busy(), self.engine.waiting()));
        Busy {
            running,
            sessions,
            waiting,
        }
    }

    /// The clients whose connections speak HTTP, the idle ones included, as the log names them.
    fn http_peers(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.engine.http_peers())
    }

    /// True once a drain is complete: no task runs, no request can come any more, no connection is closing.
    fn is_quiet(&self, py: Python<'_>) -> bool {
        py.detach(|| self.engine.is_quiet())
    }

    /// Ends everything within `deadline` seconds.
    fn stop(&self, py: Python<'_>, deadline: f64) -> PyResult<()> {
        let deadline: Duration = seconds(deadline)?;
        py.detach(|| self.engine.stop(deadline));
        Ok(())
    }

    /// What loop and runner wait for; a process that the application forks gives its copies up.
    fn own_descriptors(&self) -> Vec<i32> {
        self.engine.own_descriptors().collect()
    }

    /// True while the runner's thread does not come to the loop.
    fn is_stalled(&self) -> bool {
        self.engine.runner_is_stalled()
    }

    /// All counters since the start.
    fn statistics(&self) -> Statistics {
        let now = self.engine.statistics();
        let (front, worker) = (&now.front, &now.worker);
        Statistics {
            accepted: front.accepted,
            requests: front.requests,
            refused: front.refused,
            turns: worker.turns,
            takeovers: worker.takeovers,
            sessions_joined: worker.joined,
            sessions_left: worker.left,
            sessions_lost: worker.lost,
            sessions_failed: worker.failed,
            messages_in: worker.messages_in,
            messages_out: worker.messages_out,
            bytes_in: worker.bytes_in,
            bytes_out: worker.bytes_out,
            running: now.running,
        }
    }
}

fn has_gil(py: Python<'_>) -> PyResult<bool> {
    // Asked by name: older interpreters, which have one, do not know the question.
    match py.import("sys")?.getattr_opt("_is_gil_enabled")? {
        Some(ask) => ask.call0()?.is_truthy(),
        None => Ok(true),
    }
}
