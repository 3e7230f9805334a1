//! `fl_settings`: what an engine is started with; made empty, filled by name, read by `fl_engine_start`.
//!
//! No setting is named here: a value travels by the name and the kind that the engine's table gives it, so this file and the
//! ABI stay as they are when the table grows. The header's list of names is made from that table. Times are milliseconds.

use std::ffi::{c_char, c_int};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairlead_engine as fl;
use fl::{BoundListener, Listener, ListenerConfig, LogLevel, SettingKind, SettingValue};

use crate::arguments::{duplicate, fl_header, guarded_handle, pair_list, strings};
use crate::channels::fl_channels;
use crate::handle::{live, take, text, Handle, Tag};
use crate::log::LogQueue;
use crate::status::{guarded, Failure, FL_ERR_SYSTEM, FL_OK};

/// For whoever looks for a fault of the engine.
pub const FL_LOG_DEBUG: c_int = 0;
/// Changes that an operator may want to see.
pub const FL_LOG_INFO: c_int = 1;
/// Somebody sent something that was refused.
pub const FL_LOG_WARNING: c_int = 2;
/// The server cannot do its work.
pub const FL_LOG_ERROR: c_int = 3;

/// Where log lines go until the program says otherwise: standard error.
const STANDARD_ERROR: c_int = 2;

/// What an engine is started with.
#[repr(C)]
pub struct fl_settings {
    tag: Tag,
    draft: Mutex<Draft>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_settings {
    const TAG: u32 = 0x464c_0004;
    const NAME: &'static str = "fl_settings";
}

/// The settings so far.
struct Draft {
    settings: fl::Settings,
    /// Those of addresses first; these are bound when an engine is started.
    listeners: Vec<(Source, ListenerConfig)>,
    log: Log,
}

/// Where a listener comes from.
pub(crate) enum Source {
    Address(String),
    Descriptor(OwnedFd),
}

enum Log {
    /// To standard error, as it is when an engine is started.
    Usual,
    Nowhere,
    To(File, LogLevel),
}

impl fl_settings {
    pub(crate) fn with(&self, change: impl FnOnce(&mut fl::Settings)) {
        self.change(|draft| change(&mut draft.settings));
    }

    pub(crate) fn add_listener(&self, source: Source, config: ListenerConfig) {
        self.change(|draft| {
            let all = &mut draft.listeners;
            let place = match source {
                Source::Descriptor(_) => all.len(),
                Source::Address(_) => all
                    .iter()
                    .take_while(|(one, _)| matches!(one, Source::Address(_)))
                    .count(),
            };
            all.insert(place, (source, config));
        });
    }

    /// Changes the draft; after an error nothing has changed.
    fn change<T>(&self, change: impl FnOnce(&mut Draft) -> T) -> T {
        change(&mut self.draft.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Settings at their defaults, with nothing to listen on. `*settings` is the caller's, to be freed with
/// `fl_settings_free`; it is NULL after an error. From any thread.
///
/// # Safety
/// `settings` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_new(settings: *mut *mut fl_settings) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        guarded_handle(settings, || {
            Ok(fl_settings {
                tag: Tag::of::<fl_settings>(),
                draft: Mutex::new(Draft {
                    settings: fl::Settings::default(),
                    listeners: Vec::new(),
                    log: Log::Usual,
                }),
            })
        })
    }
}

/// One more address to listen on; it is bound when an engine is started. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `address` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_listen(settings: *mut fl_settings, address: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (settings, address) = unsafe { (live(settings)?, text(address, "the address")?) };
        settings.add_listener(Source::Address(address.to_owned()), ListenerConfig::default());
        Ok(FL_OK)
    })
}

/// One more listening socket to accept from. It is duplicated. From any thread.
///
/// # Safety
/// `settings` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_inherit(settings: *mut fl_settings, descriptor: c_int) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let settings = unsafe { live(settings) }?;
        let own = duplicate(descriptor).map_err(|error| Failure::system(&error))?;
        settings.add_listener(Source::Descriptor(own), ListenerConfig::default());
        Ok(FL_OK)
    })
}

/// The channels that sessions and subscriptions of the engine may join; NULL: none, which is the default. They may be freed
/// afterwards. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `channels` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_channels(
    settings: *mut fl_settings,
    channels: *const fl_channels,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let settings = unsafe { live(settings) }?;
        let channels = if channels.is_null() {
            None
        } else {
            // SAFETY: the caller's promise.
            Some(unsafe { live(channels) }?.inner())
        };
        settings.change(|draft| draft.settings.channels = channels);
        Ok(FL_OK)
    })
}

/// Where log lines go (-1: nowhere), and the least that is logged, `FL_LOG_*`. The descriptor is duplicated. From any
/// thread.
///
/// # Safety
/// `settings` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_log(
    settings: *mut fl_settings,
    descriptor: c_int,
    least_level: c_int,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let settings = unsafe { live(settings) }?;
        let least = match least_level {
            FL_LOG_DEBUG => LogLevel::Debug,
            FL_LOG_INFO => LogLevel::Info,
            FL_LOG_WARNING => LogLevel::Warning,
            FL_LOG_ERROR => LogLevel::Error,
            other => {
                return Err(Failure::usage(format!(
                    "the level {other} is not one of FL_LOG_*"
                )))
            }
        };
        let log = match descriptor {
            -1 => Log::Nowhere,
            other => Log::To(log_file(other)?, least),
        };
        settings.change(|draft| draft.log = log);
        Ok(FL_OK)
    })
}

/// Sets a count, bytes, a time in milliseconds, or a flag (0 or 1). From any thread.
///
/// # Safety
/// `settings` is NULL or live; `name` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_set_number(
    settings: *mut fl_settings,
    name: *const c_char,
    value: u64,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (settings, name) = unsafe { (live(settings)?, text(name, "the name")?) };
        let value = match fl::find_setting(name).map_err(Failure::usage)?.kind {
            SettingKind::Flag if value <= 1 => SettingValue::Flag(value == 1),
            SettingKind::Duration => SettingValue::Duration(Duration::from_millis(value)),
            _ => SettingValue::Number(value),
        };
        set(settings, name, value)
    })
}

/// Sets a text, or one of a few words. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `name` and `value` are NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_set_text(
    settings: *mut fl_settings,
    name: *const c_char,
    value: *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (settings, name, value) = unsafe {
            (
                live(settings)?,
                text(name, "the name")?,
                text(value, "the value")?,
            )
        };
        set(settings, name, SettingValue::Text(value.to_owned().into()))
    })
}

/// Sets a list of texts. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `name` is NULL or NUL-terminated; `values` has `count` NUL-terminated strings.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_set_texts(
    settings: *mut fl_settings,
    name: *const c_char,
    values: *const *const c_char,
    count: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (settings, name, values) = unsafe {
            (
                live(settings)?,
                text(name, "the name")?,
                strings(values, count, "values")?,
            )
        };
        set(settings, name, SettingValue::Texts(values))
    })
}

/// Sets a list of names with values, both UTF-8. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `name` is NULL or NUL-terminated; `pairs` has `count` elements whose strings are
/// NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_set_pairs(
    settings: *mut fl_settings,
    name: *const c_char,
    pairs: *const fl_header,
    count: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (settings, name, pairs) = unsafe {
            (
                live(settings)?,
                text(name, "the name")?,
                pair_list(pairs, count, "pairs")?,
            )
        };
        set(settings, name, SettingValue::Pairs(pairs))
    })
}

/// Frees the settings; engines that were started with them go on.
///
/// # Safety
/// `settings` is NULL or live, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_free(settings: *mut fl_settings) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        drop(unsafe { take(settings) }?);
        Ok(FL_OK)
    })
}

fn set(settings: &fl_settings, name: &str, value: SettingValue) -> Result<c_int, Failure> {
    settings
        .change(|draft| draft.settings.set(name, value))
        .map_err(Failure::usage)?;
    Ok(FL_OK)
}

/// What an engine is started with: the settings, the listeners, bound now, and the lines of its log, if it has one.
pub(crate) struct Prepared {
    pub(crate) settings: fl::Settings,
    pub(crate) listeners: Vec<BoundListener>,
    pub(crate) log: Option<Arc<LogQueue>>,
}

/// The thread of the log inherits the caller's signal mask.
///
/// # Safety
/// `settings` is NULL or live.
pub(crate) unsafe fn prepare(settings: *const fl_settings) -> Result<Prepared, Failure> {
    // SAFETY: the caller's promise.
    unsafe { live(settings) }?.change(|draft| {
        let mut settings = draft.settings.clone();
        let log = match &draft.log {
            Log::Nowhere => None,
            Log::Usual => Some((log_file(STANDARD_ERROR)?, LogLevel::Info)),
            Log::To(file, least) => {
                Some((file.try_clone().map_err(|error| Failure::system(&error))?, *least))
            }
        };
        let listener = |(source, config): &(Source, ListenerConfig)| {
            let listener = match source {
                Source::Address(address) => Listener::bind(address),
                Source::Descriptor(socket) => Listener::from_fd(socket.try_clone()?),
            }?;
            Ok(BoundListener {
                listener,
                config: config.clone(),
            })
        };
        let listeners = draft
            .listeners
            .iter()
            .map(listener)
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| Failure::system(&error))?;
        if listeners.is_empty() {
            return Err(Failure::usage(
                "there is nothing to listen on; call fl_settings_listen, fl_settings_inherit or fl_settings_add_listener",
            ));
        }
        let mut queue = None;
        if let Some((file, least)) = log {
            let (sink, lines) = LogQueue::start(file, least).map_err(|error| Failure::system(&error))?;
            (settings.log, queue) = (sink, Some(lines));
        }
        Ok(Prepared {
            settings,
            listeners,
            log: queue,
        })
    })
}

fn log_file(descriptor: c_int) -> Result<File, Failure> {
    let own =
        duplicate(descriptor).map_err(|error| Failure::new(FL_ERR_SYSTEM, format!("the log: {error}")))?;
    Ok(File::from(own))
}
