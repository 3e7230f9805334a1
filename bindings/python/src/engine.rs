//! `Engine`: start, requests for threads, drain and stop.

use std::cell::Cell;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use fairlead_engine as fl;
use fl::{
    BoundListener, ChannelSettings, CloseCode, Delivery, FrontSettings, Limits, Listener, ListenerConfig,
    OriginPolicy, Protocol, Router, Scheme, Scoreboard, SessionSettings, Timing, TrustedProxies,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::channels::{offset, Channels};
use crate::limit::seconds;
use crate::log_queue::{Entry, LogQueue};
use crate::request::Request;
use crate::subscription::Subscription;
use crate::tls::Tls;
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
    /// switches of threads. But not for ever, or a unit that wants to go on would wait until the interpreter takes the
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

/// The rules of `--route` and its kin, compiled: `[(option, value), …]`; `worker` is the worker's number. Raises
/// ValueError with one sentence.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Routes {
    compiled: Arc<fl::Routes>,
}

#[pymethods]
impl Routes {
    #[new]
    fn new(rules: Vec<(String, String)>, worker: u32) -> PyResult<Self> {
        let compiled = fl::Routes::compile(&rules, worker).map_err(PyValueError::new_err)?;
        Ok(Self {
            compiled: Arc::new(compiled),
        })
    }
}

/// The folders of `--static-map`: `[(prefix, folder), …]`, names of index files, and media types by ending. Raises
/// ValueError with one sentence.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct StaticFiles {
    files: Arc<fl::StaticFiles>,
}

#[pymethods]
impl StaticFiles {
    #[new]
    fn new(
        maps: Vec<(String, String)>,
        index: Vec<String>,
        types: std::collections::HashMap<String, String>,
    ) -> PyResult<Self> {
        let files = fl::StaticFiles::new(&maps, index, types).map_err(PyValueError::new_err)?;
        Ok(Self {
            files: Arc::new(files),
        })
    }
}

#[pymethods]
impl Engine {
    /// Starts the engine on inherited listeners: descriptor, and the option that it comes from. See `fairlead.settings` for
    /// what each number means; times are seconds, sizes bytes. `proxy_protocol`: the options whose connections begin with a
    /// header of the PROXY protocol. `tls`: of each listener; `https_ports`: where each that is there for that sends its
    /// clients. `tally`: the descriptor and our cell of it, if other processes have the same listeners.
    #[new]
    #[pyo3(signature = (listeners, *, slots, threads, header_bytes, header_timeout, keep_alive_timeout, stall_timeout,
        max_message, ping_every, pong_tolerance, pong_every, idle_timeout, close_timeout, origins, extra_headers, tally=None,
        trusted_proxies=Vec::new(), proxy_protocol=Vec::new(), channels=None, channels_backlog=1 << 20,
        slow_consumer="close", routes=None, connect_timeout=60.0, static_files=None, max_variables=256, tls=Vec::new(),
        https_ports=Vec::new(), http2=true, http_to=Vec::new(), http_modifiers=(0, 0), http_gracetime=30.0,
        http_vars=Vec::new(), request_lines=false, route_idle_timeout=0.0))]
    #[allow(clippy::too_many_arguments)] // named on the Python side
    fn new(
        py: Python<'_>,
        listeners: Vec<(i32, String)>,
        slots: usize,
        threads: bool,
        header_bytes: usize,
        header_timeout: f64,
        keep_alive_timeout: f64,
        stall_timeout: f64,
        max_message: usize,
        ping_every: f64,
        pong_tolerance: f64,
        pong_every: Option<f64>,
        idle_timeout: f64,
        close_timeout: f64,
        origins: Vec<String>,
        extra_headers: Vec<(String, String)>,
        tally: Option<(i32, u32)>,
        trusted_proxies: Vec<String>,
        proxy_protocol: Vec<String>,
        channels: Option<Bound<'_, Channels>>,
        channels_backlog: usize,
        slow_consumer: &str,
        routes: Option<Bound<'_, Routes>>,
        connect_timeout: f64,
        static_files: Option<Bound<'_, StaticFiles>>,
        max_variables: usize,
        tls: Vec<Option<Bound<'_, Tls>>>,
        https_ports: Vec<u16>,
        http2: bool,
        http_to: Vec<String>,
        http_modifiers: (u8, u8),
        http_gracetime: f64,
        http_vars: Vec<(String, String)>,
        request_lines: bool,
        route_idle_timeout: f64,
    ) -> PyResult<Self> {
        let router = Router::new(http_to, http_modifiers, seconds(http_gracetime)?, http_vars);
        let slow_consumer = crate::channels::slow_consumer(slow_consumer)?;
        let (log, note) = LogQueue::new();
        let (note_absence, note_answered) = (note.clone(), note.clone());
        let settings = fl::Settings {
            session: SessionSettings {
                limits: Limits::for_messages_up_to(max_message),
                timing: Timing {
                    ping_every: seconds(ping_every)?,
                    pong_tolerance: seconds(pong_tolerance)?,
                    pong_every: pong_every.map(seconds).transpose()?,
                    idle_timeout: seconds(idle_timeout)?,
                    close_timeout: seconds(close_timeout)?,
                },
            },
            front: FrontSettings {
                max_header_bytes: header_bytes,
                max_variables,
                header_timeout: seconds(header_timeout)?,
                keep_alive_timeout: seconds(keep_alive_timeout)?,
                stall_timeout: seconds(stall_timeout)?,
                scoreboard: tally.map(|(descriptor, cell)| {
                    // SAFETY: as for the listeners: inherited for the engine alone, given once.
                    Scoreboard::new(unsafe { OwnedFd::from_raw_fd(descriptor) }, cell)
                }),
                routes: routes
                    .map(|routes| Arc::clone(&routes.get().compiled))
                    .unwrap_or_default(),
                connect_timeout: seconds(connect_timeout)?,
                router: Arc::new(router.map_err(PyValueError::new_err)?),
                static_files: static_files
                    .map(|files| Arc::clone(&files.get().files))
                    .unwrap_or_default(),
                trusted_proxies: trust(&trusted_proxies)?,
                http2,
                request_lines,
                tunnel_timeout: Some(seconds(route_idle_timeout)?).filter(|limit| !limit.is_zero()),
                ..FrontSettings::default()
            },
            origin: origin_policy(origins),
            delivery: if threads {
                Delivery::Threads
            } else {
                Delivery::Loop
            },
            slots,
            // The GIL runs one thread at a time; a build without it is as good as its cores.
            runners: if has_gil(py)? { 1 } else { usize::MAX },
            extra_headers,
            channels: channels.map(|channels| ChannelSettings {
                channels: channels.get().inner(),
                backlog: channels_backlog,
                slow_consumer,
            }),
            log: Arc::new(move |level, line| {
                note.put(Entry::Line(level, line.to_owned()));
            }),
            answered: Arc::new(move |about| {
                note_answered.put(Entry::Answered(Box::new(about)));
            }),
            absence: Arc::new(move |absence| {
                note_absence.put(Entry::Absence(absence));
            }),
            ..fl::Settings::default()
        };
        let listeners = listeners
            .into_iter()
            .enumerate()
            .map(|(number, (descriptor, kind))| {
                // SAFETY: the worker's start message gives each inherited descriptor to the engine, once.
                let listener = Listener::from_fd(unsafe { OwnedFd::from_raw_fd(descriptor) })?;
                let mut manner = manner(&kind)?;
                manner.proxy_protocol = proxy_protocol.contains(&kind);
                if let Some(Some(tls)) = tls.get(number) {
                    manner.scheme = Scheme::Https;
                    manner.tls = Some(tls.get().inner());
                }
                if kind == "http-to-https" {
                    let port = https_ports.get(number).copied().unwrap_or(0);
                    manner.to_https = Some(if port == 0 { 443 } else { port });
                }
                Ok(BoundListener {
                    listener,
                    config: manner,
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
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

    /// A membership of a channel for units that are threads; see `Hub.subscribe`.
    #[pyo3(signature = (name, since, limit, drops))]
    fn subscribe(
        &self,
        py: Python<'_>,
        name: &str,
        #[pyo3(from_py_with = offset)] since: Option<u64>,
        limit: usize,
        drops: &str,
    ) -> PyResult<Subscription> {
        let engine = Arc::clone(&self.engine);
        Subscription::start(py, engine, Waiter::Threads, name, since, limit, drops)
    }

    /// Blocks until there is a log line: `(level, text)`, level being "debug", "info", "warning" or "error"; `None`
    /// after `timeout` seconds; an `Answered` where a request's line is to be written. Level "away" or "back": the
    /// host's thread has stayed away from the loop for `text` seconds, and is away still, or has come back.
    fn wait_log<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.log.wait(py, seconds(timeout)?)
    }

    /// No new connections; a Close with `code` on every WebSocket. Requests in flight go on.
    fn drain(&self, py: Python<'_>, code: u16, reason: &str) {
        py.detach(|| self.engine.drain(CloseCode(code), reason));
    }

    /// No more requests for `wait_request`.
    fn dismiss(&self) {
        self.engine.dismiss();
    }

    /// `(units that run, WebSockets in the loop)`.
    fn busy(&self, py: Python<'_>) -> (usize, usize) {
        py.detach(|| self.engine.busy())
    }

    /// True once a drain is complete: no unit runs, no request can come any more, no connection is closing.
    fn is_quiet(&self, py: Python<'_>) -> bool {
        py.detach(|| self.engine.is_quiet())
    }

    /// Ends everything within `deadline` seconds.
    fn stop(&self, py: Python<'_>, deadline: f64) -> PyResult<()> {
        let deadline: Duration = seconds(deadline)?;
        py.detach(|| self.engine.stop(deadline));
        Ok(())
    }

    /// True while the host's thread is away from the loop.
    fn host_is_away(&self) -> bool {
        self.engine.host_is_away()
    }

    /// All counters, by name.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let now = self.engine.statistics();
        let (front, worker) = (&now.front, &now.worker);
        let all = PyDict::new(py);
        for (name, value) in [
            ("accepted", front.accepted),
            ("requests", front.requests),
            ("refused", front.refused),
            ("turns", worker.turns),
            ("takeovers", worker.takeovers),
            ("sessions_joined", worker.joined),
            ("sessions_left", worker.left),
            ("sessions_lost", worker.lost),
            ("sessions_failed", worker.failed),
            ("messages_in", worker.messages_in),
            ("messages_out", worker.messages_out),
            ("bytes_in", worker.bytes_in),
            ("bytes_out", worker.bytes_out),
            ("running", now.running as u64),
        ] {
            all.set_item(name, value)?;
        }
        Ok(all)
    }
}

fn origin_policy(origins: Vec<String>) -> OriginPolicy {
    if origins.iter().any(|origin| origin == "*") {
        OriginPolicy::Any
    } else if origins.is_empty() {
        OriginPolicy::SameOrigin
    } else {
        OriginPolicy::Allow(origins)
    }
}

fn trust(entries: &[String]) -> PyResult<TrustedProxies> {
    let mut trusted = TrustedProxies::default();
    for entry in entries {
        trusted
            .add(entry)
            .map_err(|why| PyValueError::new_err(format!("{entry:?} is no trusted proxy: {why}")))?;
    }
    Ok(trusted)
}

fn has_gil(py: Python<'_>) -> PyResult<bool> {
    // Asked by name: older interpreters, which have one, do not know the question.
    match py.import("sys")?.getattr_opt("_is_gil_enabled")? {
        Some(ask) => ask.call0()?.is_truthy(),
        None => Ok(true),
    }
}

/// How connections of a listener are treated, by the option that it comes from (`fairlead.listeners.Listener.kind`).
fn manner(kind: &str) -> PyResult<ListenerConfig> {
    match kind {
        "http" | "http-socket" | "https" | "https2" | "https-socket" | "http-to-https" => {
            Ok(ListenerConfig {
                router: !kind.ends_with("-socket"),
                ..ListenerConfig::default()
            })
        }
        "socket" | "uwsgi-socket" => Ok(ListenerConfig {
            protocol: Protocol::Uwsgi,
            ..ListenerConfig::default()
        }),
        other => Err(PyValueError::new_err(format!(
            "there are no listeners of the kind {other:?}"
        ))),
    }
}
