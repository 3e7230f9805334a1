//! The settings struct: filled with defaults, changed by the program, read once by `fl_engine_start`.
//!
//! The struct grows at its end only. It begins with its own size as the program knew it when it was compiled, so an
//! older program leaves later fields at their defaults, and a newer one is told what this library knows.

use std::ffi::{c_char, c_int};
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use fairlead_engine as fl;
use fl::{
    Delivery, FrontSettings, Limits, Listener, LogLevel, LogSink, OriginPolicy, ResponseHead,
    SessionSettings, Timing,
};

use crate::arguments::{fl_header, header_list};
use crate::handle::{check_place, millis, slice, text};
use crate::status::{guarded, Failure, FL_ERR_SYSTEM, FL_OK};

/// One thread polls and runs all units (`fl_engine_poll`).
pub const FL_DELIVERY_LOOP: c_int = 0;
/// A thread for each unit (`fl_engine_wait_request`).
pub const FL_DELIVERY_THREADS: c_int = 1;

/// For whoever looks for a fault of the engine.
pub const FL_LOG_DEBUG: c_int = 0;
/// Changes that an operator may want to see.
pub const FL_LOG_INFO: c_int = 1;
/// Somebody sent something that was refused.
pub const FL_LOG_WARNING: c_int = 2;
/// The server cannot do its work.
pub const FL_LOG_ERROR: c_int = 3;

/// "The engine's own rule" where a number of milliseconds or bytes is asked for; see each field.
pub const FL_DEFAULT: u64 = u64::MAX;

/// Units at once, unless told otherwise. A unit that waits costs a C program a few kilobytes, so this is a bound against
/// running away, and no tuning.
const SLOTS: u32 = 1024;

/// What an engine is started with. See the header for each field.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_settings {
    /// Set by `fl_settings_init`.
    pub size: usize,
    /// Addresses to listen on.
    pub listen: *const *const c_char,
    /// How many.
    pub listen_count: usize,
    /// Listening sockets to accept from.
    pub inherited: *const c_int,
    /// How many.
    pub inherited_count: usize,
    /// `FL_DELIVERY_LOOP` or `FL_DELIVERY_THREADS`.
    pub delivery: c_int,
    /// Units at once.
    pub slots: u32,
    /// Where log lines go; -1: nowhere.
    pub log_fd: c_int,
    /// The least that is logged.
    pub log_level: c_int,
    /// Origins whose pages may open a WebSocket besides our own.
    pub origins: *const *const c_char,
    /// How many.
    pub origin_count: usize,
    /// Headers added to every response.
    pub extra_headers: *const fl_header,
    /// How many.
    pub extra_header_count: usize,
    /// Bytes in one message.
    pub max_message: usize,
    /// Unsent bytes at which `send` says `FL_FULL`.
    pub outbox_high: usize,
    /// Silence after which a ping goes out.
    pub ping_every_ms: u64,
    /// What a peer may take for a sign of life after it.
    pub pong_tolerance_ms: u64,
    /// Unasked pongs; `FL_DEFAULT`: midway between two pings.
    pub pong_every_ms: u64,
    /// Time without a message.
    pub idle_timeout_ms: u64,
    /// Time for the close handshake.
    pub close_timeout_ms: u64,
    /// Time for a request head.
    pub header_timeout_ms: u64,
    /// Silence between two requests of a connection.
    pub keep_alive_timeout_ms: u64,
    /// Time that a transfer may stand still.
    pub stall_timeout_ms: u64,
    /// Bytes of a request head.
    pub max_header_bytes: usize,
    /// Bytes of a request body; `FL_DEFAULT`: any number.
    pub max_body: u64,
}

impl Default for fl_settings {
    fn default() -> Self {
        let engine = fl::Settings::default();
        let (limits, timing, front) = (&engine.session.limits, &engine.session.timing, &engine.front);
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            size: size_of::<Self>(),
            listen: std::ptr::null(),
            listen_count: 0,
            inherited: std::ptr::null(),
            inherited_count: 0,
            delivery: FL_DELIVERY_LOOP,
            slots: SLOTS,
            log_fd: 2,
            log_level: FL_LOG_INFO,
            origins: std::ptr::null(),
            origin_count: 0,
            extra_headers: std::ptr::null(),
            extra_header_count: 0,
            max_message: limits.max_message,
            outbox_high: engine.outbox_high,
            ping_every_ms: ms(timing.ping_every),
            pong_tolerance_ms: ms(timing.pong_tolerance),
            pong_every_ms: timing.pong_every.map_or(FL_DEFAULT, ms),
            idle_timeout_ms: ms(timing.idle_timeout),
            close_timeout_ms: ms(timing.close_timeout),
            header_timeout_ms: ms(front.header_timeout),
            keep_alive_timeout_ms: ms(front.keep_alive_timeout),
            stall_timeout_ms: ms(front.stall_timeout),
            max_header_bytes: front.max_header_bytes,
            max_body: front.max_body.unwrap_or(FL_DEFAULT),
        }
    }
}

/// Fills `settings` with the defaults. `size` is `sizeof(fl_settings)` as the caller was compiled; what lies beyond this
/// library's own struct becomes zero, and `settings->size` says what it knows. From any thread.
///
/// # Safety
/// `settings` is NULL or has `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_init(settings: *mut fl_settings, size: usize) -> c_int {
    guarded(|| {
        check_place(settings)?;
        if size < SIZE_OF_VERSION_1 || size > isize::MAX as usize {
            return Err(Failure::usage(format!(
                "{size} is not the size of an fl_settings; pass sizeof(fl_settings)"
            )));
        }
        let known = size.min(size_of::<fl_settings>());
        let defaults = fl_settings {
            size: known,
            ..fl_settings::default()
        };
        // SAFETY: the caller has `size` bytes there; `defaults` has at least `known`.
        unsafe {
            settings.cast::<u8>().write_bytes(0, size);
            settings
                .cast::<u8>()
                .copy_from_nonoverlapping((&raw const defaults).cast(), known);
        }
        Ok(FL_OK)
    })
}

/// The smallest struct that was ever published. It stays when fields are added.
const SIZE_OF_VERSION_1: usize = std::mem::offset_of!(fl_settings, max_body) + size_of::<u64>();

/// The settings of C, checked: what the engine wants.
pub(crate) struct Checked {
    pub(crate) settings: fl::Settings,
    pub(crate) listeners: Vec<Listener>,
}

/// # Safety
/// `settings` is NULL, or its `size` bytes, and all that its pointers and counts announce, are readable.
pub(crate) unsafe fn check(settings: *const fl_settings) -> Result<Checked, Failure> {
    check_place(settings).map_err(|_| Failure::usage("the settings are NULL"))?;
    // SAFETY: not NULL, aligned, and the struct begins with its size.
    let size = unsafe { (&raw const (*settings).size).read() };
    if !(SIZE_OF_VERSION_1..=size_of::<fl_settings>()).contains(&size) {
        return Err(Failure::usage(
            "the settings have no valid size; call fl_settings_init first",
        ));
    }
    let mut given = fl_settings::default();
    // SAFETY: the caller has `size` bytes, and ours has no fewer.
    unsafe {
        (&raw mut given)
            .cast::<u8>()
            .copy_from_nonoverlapping(settings.cast(), size)
    };

    let delivery = match given.delivery {
        FL_DELIVERY_LOOP => Delivery::Loop,
        FL_DELIVERY_THREADS => Delivery::Threads,
        other => {
            return Err(Failure::usage(format!(
                "delivery {other} is neither FL_DELIVERY_LOOP nor FL_DELIVERY_THREADS"
            )))
        }
    };
    if given.slots == 0 || given.outbox_high == 0 {
        return Err(Failure::usage("slots and outbox_high must be at least 1"));
    }
    // SAFETY: the caller's promise on all pointers and counts.
    let (origins, extra_headers) = unsafe {
        (strings(given.origins, given.origin_count, "origins")?, {
            header_list(given.extra_headers, given.extra_header_count, "extra_headers")?
        })
    };
    ResponseHead::new(200, extra_headers.clone()).map_err(Failure::usage)?;
    let text_of =
        |value: Vec<u8>| String::from_utf8(value).map_err(|_| Failure::usage("an extra header is not UTF-8"));
    let extra_headers = extra_headers
        .into_iter()
        .map(|(name, value)| Ok((name, text_of(value)?)))
        .collect::<Result<_, Failure>>()?;
    let settings = fl::Settings {
        session: SessionSettings {
            limits: Limits::for_messages_up_to(given.max_message),
            timing: Timing {
                ping_every: millis(given.ping_every_ms),
                pong_tolerance: millis(given.pong_tolerance_ms),
                pong_every: (given.pong_every_ms != FL_DEFAULT).then(|| millis(given.pong_every_ms)),
                idle_timeout: millis(given.idle_timeout_ms),
                close_timeout: millis(given.close_timeout_ms),
            },
        },
        front: FrontSettings {
            header_timeout: millis(given.header_timeout_ms),
            keep_alive_timeout: millis(given.keep_alive_timeout_ms),
            stall_timeout: millis(given.stall_timeout_ms),
            max_header_bytes: given.max_header_bytes,
            max_body: (given.max_body != FL_DEFAULT).then_some(given.max_body),
            ..FrontSettings::default()
        },
        origin: origin_policy(origins),
        delivery,
        slots: given.slots as usize,
        outbox_high: given.outbox_high,
        extra_headers,
        log: log_sink(given.log_fd, given.log_level)?,
        ..fl::Settings::default()
    };
    // SAFETY: the caller's promise on all pointers and counts.
    let listeners = unsafe { listeners(&given) }?;
    Ok(Checked { settings, listeners })
}

/// # Safety
/// As for [`check`].
unsafe fn listeners(given: &fl_settings) -> Result<Vec<Listener>, Failure> {
    // SAFETY: the caller's promise.
    let (addresses, inherited) = unsafe {
        (strings(given.listen, given.listen_count, "listen")?, {
            slice(given.inherited, given.inherited_count, "inherited")?
        })
    };
    let bound = addresses.iter().map(|address| Listener::bind(address));
    let taken = inherited
        .iter()
        .map(|&number| Listener::from_fd(duplicate(number)?));
    let listeners = bound
        .chain(taken)
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|error| Failure::system(&error))?;
    if listeners.is_empty() {
        return Err(Failure::usage(
            "there is nothing to listen on; set listen or inherited",
        ));
    }
    Ok(listeners)
}

/// A descriptor of our own, so that nobody closes the other's.
fn duplicate(descriptor: c_int) -> std::io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            format!("{descriptor} is no descriptor"),
        ));
    }
    // SAFETY: not -1, and used for this one call only, which finds out whether it is open.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

fn log_sink(descriptor: c_int, least: c_int) -> Result<LogSink, Failure> {
    let least = match least {
        FL_LOG_DEBUG => LogLevel::Debug,
        FL_LOG_INFO => LogLevel::Info,
        FL_LOG_WARNING => LogLevel::Warning,
        FL_LOG_ERROR => LogLevel::Error,
        other => {
            return Err(Failure::usage(format!(
                "log_level {other} is not one of FL_LOG_*"
            )))
        }
    };
    if descriptor == -1 {
        return Ok(Arc::new(|_, _| {}));
    }
    let file = File::from(
        duplicate(descriptor).map_err(|error| Failure::new(FL_ERR_SYSTEM, format!("log_fd: {error}")))?,
    );
    Ok(Arc::new(move |level, line| {
        if level >= least {
            let name = match level {
                LogLevel::Debug => "debug",
                LogLevel::Info => "info",
                LogLevel::Warning => "warning",
                LogLevel::Error => "error",
            };
            // One line is one write, so that those of several threads do not mix. A log that cannot be written has nobody to tell.
            let _ = (&file)
                .write_all(format!("fairlead: {name}: {}\n", line.replace(['\n', '\r'], " ")).as_bytes());
        }
    }))
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

/// # Safety
/// `list` is NULL or has `count` NUL-terminated strings.
unsafe fn strings(list: *const *const c_char, count: usize, what: &str) -> Result<Vec<String>, Failure> {
    // SAFETY: the caller's promise.
    let list = unsafe { slice(list, count, what) }?;
    // SAFETY: the caller's promise.
    list.iter()
        .map(|&item| unsafe { text(item, what) }.map(str::to_owned))
        .collect()
}
