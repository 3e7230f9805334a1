//! `fl_worker`: the worker's end of `python/fairlead/control_protocol.py`, for programs of other languages.
//!
//! The life of a worker in its order: join, loading, start, ready, leave. What the master says after that is `control`'s; the
//! engine from the master's first line is `start`'s. A first part: what it cannot serve yet (TLS, routes, static files) it
//! refuses in a sentence, so that nothing which an operator asked for is dropped in silence.

mod control;
mod start;

use std::ffi::{c_char, c_int, CString};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Value};

use crate::engine::fl_engine;
use crate::handle::{check_place, give, live, put, take, text, Handle, Tag};
use crate::signals::Blocked;
use crate::status::{guarded, Failure, FL_END, FL_OK};
use control::Control;

/// One worker of a master.
#[repr(C)]
pub struct fl_worker {
    tag: Tag,
    control: Arc<Control>,
    start: Value,
    /// The options that are texts, with their NUL: what C is given lives as long as the worker.
    texts: Vec<(String, CString)>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_worker {
    const TAG: u32 = 0x464c_0010;
    const NAME: &'static str = "fl_worker";
}

/// Takes up the control socket that the master left in the environment, and waits for its first line. `FL_END` if no master
/// started this program. `*worker` is the caller's, to be ended with `fl_worker_leave`; else it is NULL. Once, before the
/// program has threads.
///
/// # Safety
/// `worker` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_join(worker: *mut *mut fl_worker) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { put(worker, std::ptr::null_mut()) }?;
        let Some(control) = Control::from_environment()? else {
            return Ok(FL_END);
        };
        let start = control.first_line()?;
        start::keep_from_children(&start)?;
        let texts = start["settings"].as_object().into_iter().flatten();
        let texts = texts
            .filter_map(|(name, value)| Some((name.clone(), CString::new(value.as_str()?).ok()?)))
            .collect();
        let handle = give(fl_worker {
            tag: Tag::of::<fl_worker>(),
            control: Arc::new(control),
            start,
            texts,
        });
        // SAFETY: as above.
        unsafe { put(worker, handle) }?;
        Ok(FL_OK)
    })
}

/// An option by its name, with _ for -; `*value` is NULL if it is not given, or no text. It lives as long as the worker. From
/// any thread.
///
/// # Safety
/// `worker` is NULL or live; `name` is NULL or NUL-terminated; `value` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_text(
    worker: *const fl_worker,
    name: *const c_char,
    value: *mut *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (worker, name) = unsafe { (live(worker)?, text(name, "the name")?) };
        let found = worker.texts.iter().find(|(known, _)| known == name);
        // SAFETY: as above.
        unsafe { put(value, found.map_or(std::ptr::null(), |(_, text)| text.as_ptr())) }?;
        Ok(FL_OK)
    })
}

/// A number of the command line by its name, or of the master's line ("`worker_id`", "`master_pid`", "generation"); a flag is 0 or
/// 1. `FL_END` if there is none of that name. From any thread.
///
/// # Safety
/// `worker` is NULL or live; `name` is NULL or NUL-terminated; `value` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_number(
    worker: *const fl_worker,
    name: *const c_char,
    value: *mut u64,
) -> c_int {
    guarded(|| {
        check_place(value)?;
        // SAFETY: the caller's promise.
        let (worker, name) = unsafe { (live(worker)?, text(name, "the name")?) };
        let number = |value: &Value| value.as_u64().or_else(|| value.as_bool().map(u64::from));
        let found = number(&worker.start["settings"][name])
            .or_else(|| number(&worker.start["engine"][name]))
            .or_else(|| number(&worker.start[name]));
        let Some(found) = found else {
            return Ok(FL_END);
        };
        // SAFETY: as above.
        unsafe { put(value, found) }?;
        Ok(FL_OK)
    })
}

/// Tells the master that the application is being loaded. From any thread.
///
/// # Safety
/// `worker` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_loading(worker: *mut fl_worker) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(worker) }?
            .control
            .tell(&json!({"event": "loading"}));
        Ok(FL_OK)
    })
}

/// Tells the master in one sentence why this worker cannot serve; exit with 2 then. From any thread.
///
/// # Safety
/// `worker` is NULL or live; `message` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_failed(worker: *mut fl_worker, message: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (worker, message) = unsafe { (live(worker)?, text(message, "the message")?) };
        worker
            .control
            .tell(&json!({"event": "failed", "message": message}));
        Ok(FL_OK)
    })
}

/// Starts the engine with all that the master gives: settings, listeners, scoreboard, channels. `delivery` is "loop" or
/// "threads". `*engine` is the caller's; it is NULL after an error. Once.
///
/// # Safety
/// `worker` is NULL or live; `delivery` is NULL or NUL-terminated; `engine` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_start(
    worker: *mut fl_worker,
    delivery: *const c_char,
    engine: *mut *mut fl_engine,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (worker, delivery) = unsafe {
            put(engine, std::ptr::null_mut())?;
            (live(worker)?, text(delivery, "the delivery")?)
        };
        if worker.control.has_engine() {
            return Err(Failure::usage("this worker has started its engine before"));
        }
        // The engine's threads take no signals: those are the program's, and SIGPIPE would end it.
        let blocked = Blocked::all().map_err(|error| Failure::system(&error))?;
        let started = fl_engine::start(start::prepared(&worker.start, delivery)?)?;
        drop(blocked);
        worker.control.serves(started.shared());
        // SAFETY: as above.
        unsafe { put(engine, give(started)) }?;
        Ok(FL_OK)
    })
}

/// Tells the master that this worker serves, and obeys it from now on: a stop drains the engine, and once all is quiet
/// `fl_engine_wait_request` answers `FL_END` and `fl_worker_has_ended` 1. At the stop's deadline the process ends. Once.
///
/// # Safety
/// `worker` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_ready(worker: *mut fl_worker) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let worker = unsafe { live(worker) }?;
        if !worker.control.has_engine() {
            return Err(Failure::usage("there is no engine; call fl_worker_start first"));
        }
        let mercy = worker.start["settings"]["reload_mercy_s"]
            .as_f64()
            .unwrap_or(60.0);
        let spread = worker.start["settings"]["reload_spread_s"].as_f64();
        control::obey(&worker.control, mercy, spread).map_err(|error| Failure::system(&error))?;
        worker
            .control
            .tell(&json!({"event": "ready", "answers_pings": true}));
        Ok(FL_OK)
    })
}

/// 1 once the worker was told to stop and all is quiet, else 0: for a loop, whose `fl_engine_poll` then returns. From any thread.
///
/// # Safety
/// `worker` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_has_ended(worker: *const fl_worker) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        Ok(c_int::from(unsafe { live(worker) }?.control.has_ended()))
    })
}

/// Ends the engine within half a second and frees the worker; exit with 0 then. The engine's handle stays the caller's. NULL is
/// no error.
///
/// # Safety
/// `worker` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_worker_leave(worker: *mut fl_worker) -> c_int {
    guarded(|| {
        if !worker.is_null() {
            // SAFETY: the caller's promise.
            unsafe { take(worker) }?.control.leave(Duration::from_millis(500));
        }
        Ok(FL_OK)
    })
}
