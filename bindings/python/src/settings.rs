//! `EngineSettings`: the one object that an engine is started with, and the table of what can be set in it.
//!
//! No setting is named here. A value travels by the name and the kind that the engine's table gives it, so a new setting needs
//! nothing of this file. What is no plain value (listeners, the channels, compiled rules) comes as an object of its own.

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairlead_engine as fl;
use fl::{BoundListener, ListenerConfig, Protocol, Scheme, Scoreboard, Setting, SettingKind, SettingValue};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::IntoPyObjectExt;

use crate::channels::Channels;
use crate::rows::SettingRow;
use crate::tls::Tls;

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
        types: HashMap<String, String>,
    ) -> PyResult<Self> {
        let files = fl::StaticFiles::new(&maps, index, types).map_err(PyValueError::new_err)?;
        Ok(Self {
            files: Arc::new(files),
        })
    }
}

/// A listening socket that was inherited as a number, and how its connections are treated. It belongs to this object from
/// now on, and to the engine that is started on it.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Listener {
    bound: Mutex<Option<BoundListener>>,
}

#[pymethods]
impl Listener {
    /// `kind`: the option that the listener comes from, such as "http" (`fairlead.listeners.Listener.kind`).
    /// `proxy_protocol`: its connections begin with a header of the PROXY protocol. `tls`: what makes it speak TLS.
    /// `https_port`: where a listener of the kind "http-to-https" sends its clients; 0 is 443.
    ///
    /// Raises `ValueError` for another kind, `OSError`.
    #[new]
    #[pyo3(signature = (descriptor, kind, *, proxy_protocol=false, tls=None, https_port=0))]
    fn new(
        descriptor: i32,
        kind: &str,
        proxy_protocol: bool,
        tls: Option<Bound<'_, Tls>>,
        https_port: u16,
    ) -> PyResult<Self> {
        // SAFETY: the worker's start message gives each inherited descriptor to the engine, once.
        let listener = fl::Listener::from_fd(unsafe { OwnedFd::from_raw_fd(descriptor) })?;
        let mut config = config_of(kind)?;
        config.proxy_protocol = proxy_protocol;
        if let Some(tls) = tls {
            config.scheme = Scheme::Https;
            config.tls = Some(tls.get().inner());
        }
        if kind == "http-to-https" {
            config.to_https = Some(if https_port == 0 { 443 } else { https_port });
        }
        Ok(Self {
            bound: Mutex::new(Some(BoundListener { listener, config })),
        })
    }
}

/// How connections of a listener are treated, by the option that it comes from.
fn config_of(kind: &str) -> PyResult<ListenerConfig> {
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

/// Everything that one engine is started with.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct EngineSettings {
    given: Mutex<Option<(fl::Settings, Vec<BoundListener>)>>,
}

#[pymethods]
impl EngineSettings {
    /// `values`: settings by the names of `settings_table()`; times are seconds, sizes bytes, None is "not chosen". `scoreboard`:
    /// the descriptor and our cell of what workers that share the listeners tell each other.
    ///
    /// Raises `ValueError` for a name that is no setting, a value that it cannot have, and a listener that was used before.
    #[new]
    #[pyo3(signature = (values, listeners, *, scoreboard=None, channels=None, routes=None, static_files=None))]
    fn new(
        values: &Bound<'_, PyDict>,
        listeners: Vec<Bound<'_, Listener>>,
        scoreboard: Option<(i32, u32)>,
        channels: Option<Bound<'_, Channels>>,
        routes: Option<Bound<'_, Routes>>,
        static_files: Option<Bound<'_, StaticFiles>>,
    ) -> PyResult<Self> {
        let mut settings = fl::Settings::default();
        for (name, value) in values {
            let setting = fl::find_setting(&name.extract::<String>()?).map_err(refused)?;
            settings
                .set(setting.name, typed(setting, &value)?)
                .map_err(refused)?;
        }
        settings.scoreboard = scoreboard.map(|(descriptor, cell)| {
            // SAFETY: as for the listeners: inherited for the engine alone, given once.
            Scoreboard::new(unsafe { OwnedFd::from_raw_fd(descriptor) }, cell)
        });
        settings.channels = channels.map(|channels| channels.get().inner());
        if let Some(routes) = routes {
            settings.routes = Arc::clone(&routes.get().compiled);
        }
        if let Some(files) = static_files {
            settings.static_files = Arc::clone(&files.get().files);
        }
        let bound = listeners
            .iter()
            .map(|listener| taken(&listener.get().bound, "listener"))
            .collect::<PyResult<_>>()?;
        Ok(Self {
            given: Mutex::new(Some((settings, bound))),
        })
    }
}

impl EngineSettings {
    /// For the one engine that is started with them.
    pub(crate) fn take(&self) -> PyResult<(fl::Settings, Vec<BoundListener>)> {
        taken(&self.given, "settings object")
    }
}

fn taken<T>(place: &Mutex<Option<T>>, what: &str) -> PyResult<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    place
        .take()
        .ok_or_else(|| PyValueError::new_err(format!("this {what} was used for an engine already")))
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn refused(why: fl::SettingError) -> PyErr {
    PyValueError::new_err(why.to_string())
}

/// A value from Python in the shape of its setting's kind; the engine checks it. What has no such shape is refused here, with
/// the setting's name.
fn typed(setting: &Setting, value: &Bound<'_, PyAny>) -> PyResult<SettingValue> {
    if value.is_none() {
        return Ok(SettingValue::Unset);
    }
    let shaped = match setting.kind {
        SettingKind::Flag => value.extract().map(SettingValue::Flag),
        SettingKind::Count | SettingKind::Bytes => value.extract().map(SettingValue::Number),
        SettingKind::Duration => value.extract().and_then(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map(SettingValue::Duration)
                .map_err(|_| PyValueError::new_err("no length of time"))
        }),
        SettingKind::Text | SettingKind::Choice(_) => value
            .extract()
            .map(|text: String| SettingValue::Text(text.into())),
        SettingKind::Texts => value.extract().map(SettingValue::Texts),
        SettingKind::Pairs => value.extract().map(SettingValue::Pairs),
    };
    shaped.map_err(|_| {
        let given = value
            .repr()
            .map_or_else(|_| "of another kind".to_owned(), |text| text.to_string());
        PyValueError::new_err(format!(
            "{} is {given}, and it must be {}",
            setting.name,
            setting.kind.needs()
        ))
    })
}

/// The engine's table of settings: every value that `EngineSettings` takes.
#[pyfunction]
pub(crate) fn settings_table(py: Python<'_>) -> PyResult<Vec<SettingRow>> {
    fl::settings().iter().map(|setting| row(py, setting)).collect()
}

#[allow(clippy::cast_precision_loss)] // the ranges are far below 2^53, but for one that is no limit at all
fn row(py: Python<'_>, setting: &Setting) -> PyResult<SettingRow> {
    let default = match &setting.default {
        SettingValue::Unset => py.None(),
        SettingValue::Flag(flag) => flag.into_py_any(py)?,
        SettingValue::Number(number) => number.into_py_any(py)?,
        SettingValue::Duration(time) => time.as_secs_f64().into_py_any(py)?,
        SettingValue::Text(text) => text.into_py_any(py)?,
        SettingValue::Texts(texts) => texts.into_py_any(py)?,
        SettingValue::Pairs(pairs) => pairs.into_py_any(py)?,
    };
    let task = match setting.kind {
        SettingKind::Count | SettingKind::Bytes => Some(1.0),
        SettingKind::Duration => Some(1000.0),
        _ => None,
    };
    let words = match setting.kind {
        SettingKind::Choice(words) => words.to_vec(),
        _ => Vec::new(),
    };
    Ok(SettingRow {
        name: setting.name,
        kind: setting.kind.name(),
        default,
        least: task.map(|task| setting.range.0 as f64 / task),
        most: task.map(|task| setting.range.1 as f64 / task),
        words,
        meaning: setting.meaning(),
        reason: setting.reason(),
    })
}
