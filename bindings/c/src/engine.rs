//! `fl_engine`: start, poll or wait, drain, stop.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead_engine as fl;
use fl::{Address, Batch, BoundListener, Delivery, Event, Listener};

use crate::arguments::{close_code, only_thread};
use crate::handle::{check_place, give, limit, live, millis, optional_text, put, take, Handle, Tag};
use crate::log::LogQueue;
use crate::request::fl_request;
use crate::settings::{fl_settings, prepare, Prepared};
use crate::signals::Blocked;
use crate::status::{guarded, guarded_value, Failure, FL_END, FL_OK, FL_TIMEOUT};

/// A request has arrived; the event's `request` is the caller's from now on.
pub const FL_EVENT_REQUEST: c_int = 1;
/// What the task with this token waits for has changed: it asks again.
pub const FL_EVENT_WAKE: c_int = 2;
/// The time set for this token with `fl_engine_wake_at` has come.
pub const FL_EVENT_DEADLINE: c_int = 3;

/// How long a log that nobody reads can hold up a stop, as in the Python package.
const LAST_LINES: Duration = Duration::from_millis(200);

/// What `fl_engine_poll` reports.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_event {
    /// `FL_EVENT_*`.
    pub kind: c_int,
    /// Of a wake or a deadline.
    pub token: u64,
    /// Of a request, else NULL.
    pub request: *mut fl_request,
}

/// One process's engine.
#[repr(C)]
pub struct fl_engine {
    tag: Tag,
    carried: Mutex<Carried>,
    shared: Arc<Shared>,
    delivery: Delivery,
    addresses: Vec<(CString, c_int)>,
    log: Option<Arc<LogQueue>>,
}

/// What the thread that obeys a master has of the engine as well (`worker`).
pub(crate) struct Shared {
    pub(crate) engine: Arc<fl::Engine>,
    dismissed: AtomicBool,
}

impl Shared {
    pub(crate) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::SeqCst);
        self.engine.dismiss();
    }
}

/// What an engine starts from, wherever its settings came from.
pub(crate) struct Startable {
    pub(crate) settings: fl::Settings,
    pub(crate) listeners: Vec<BoundListener>,
    pub(crate) log: Option<Arc<LogQueue>>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_engine {
    const TAG: u32 = 0x464c_0001;
    const NAME: &'static str = "fl_engine";
}

/// What the last turn brought and did not fit.
#[derive(Default)]
struct Carried {
    events: VecDeque<Event>,
    requests: VecDeque<Box<fl::Request>>,
    /// Empty between calls; it keeps its memory.
    batch: Batch,
}

impl Carried {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.requests.is_empty()
    }

    fn refill(&mut self, engine: &fl::Engine, limit: Option<Duration>) {
        engine.poll(&mut self.batch, limit);
        self.events.extend(self.batch.events.drain(..));
        self.requests.extend(self.batch.requests.drain(..));
    }

    /// What is to be reported next.
    fn next(&mut self, delivery: Delivery) -> Option<fl_event> {
        let (kind, token) = match self.events.pop_front() {
            Some(Event::Wake(token)) => (FL_EVENT_WAKE, token),
            Some(Event::Deadline(token)) => (FL_EVENT_DEADLINE, token),
            None => {
                let request = self.requests.pop_front()?;
                return Some(fl_event {
                    kind: FL_EVENT_REQUEST,
                    token: 0,
                    request: give(fl_request::new(request, delivery)),
                });
            }
        };
        Some(fl_event {
            kind,
            token,
            request: std::ptr::null_mut(),
        })
    }
}

impl fl_engine {
    pub(crate) fn inner(&self) -> &Arc<fl::Engine> {
        &self.shared.engine
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery
    }

    pub(crate) fn start(from: Startable) -> Result<Self, Failure> {
        let addresses = from.listeners.iter().map(|one| address(&one.listener)).collect();
        let delivery = from.settings.delivery();
        let engine =
            fl::Engine::start(from.settings, from.listeners).map_err(|error| Failure::system(&error))?;
        Ok(Self {
            tag: Tag::of::<fl_engine>(),
            carried: Mutex::default(),
            shared: Arc::new(Shared {
                engine: Arc::new(engine),
                dismissed: AtomicBool::new(false),
            }),
            delivery,
            addresses,
            log: from.log,
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The program may end now: its last lines shall be there, if somebody takes them.
    fn flush_log(&self) {
        if let Some(log) = &self.log {
            log.flush(LAST_LINES);
        }
    }

    fn runs_with(&self, delivery: Delivery, instead: &str) -> Result<(), Failure> {
        if self.delivery == delivery {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "this engine was started with the other delivery; use {instead}"
        )))
    }
}

/// Starts an engine and accepts connections from now on. `*engine` is the caller's, to be freed with `fl_engine_free`;
/// it is NULL after an error. `settings` stays the caller's and is not needed afterwards. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `engine` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_start(settings: *const fl_settings, engine: *mut *mut fl_engine) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { put(engine, std::ptr::null_mut()) }?;
        let blocked = Blocked::all().map_err(|error| Failure::system(&error))?;
        // SAFETY: the caller's promise.
        let Prepared {
            settings,
            listeners,
            log,
        } = unsafe { prepare(settings) }?;
        let started = fl_engine::start(Startable {
            settings,
            listeners,
            log,
        })?;
        drop(blocked);
        let handle = give(started);
        // SAFETY: as above.
        unsafe { put(engine, handle) }?;
        Ok(FL_OK)
    })
}

/// One turn of the loop by the calling thread (`FL_DELIVERY_LOOP`): waits at most `timeout_ms` (negative: no limit)
/// until something happens, and writes up to `capacity` events. Answers their number, or a negative status.
///
/// 0 may come before the time-out (a wake, a signal, the engine's own affairs): loop. Events that did not fit come first
/// the next time, without a turn. Each request belongs to the caller. One thread at a time.
///
/// # Safety
/// `engine` is NULL or live; `events` has room for `capacity` events.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_poll(
    engine: *mut fl_engine,
    events: *mut fl_event,
    capacity: usize,
    timeout_ms: c_int,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        engine.runs_with(Delivery::Loop, "fl_engine_wait_request")?;
        check_place(events)?;
        if capacity == 0 {
            return Err(Failure::usage(
                "there is room for no event; give room for one at least",
            ));
        }
        let mut carried = only_thread(&engine.carried)?;
        if carried.is_empty() {
            carried.refill(&engine.shared.engine, limit(timeout_ms));
        }
        let mut count = 0;
        while count < capacity.min(c_int::MAX as usize) {
            let Some(event) = carried.next(engine.delivery) else {
                break;
            };
            // SAFETY: the caller has room for `capacity` events, and `count` is below it.
            unsafe { events.add(count).write(event) };
            count += 1;
        }
        Ok(c_int::try_from(count).unwrap_or(c_int::MAX))
    })
}

/// Blocks until there is a request (`FL_DELIVERY_THREADS`), at most `timeout_ms` (negative: no limit). `*request`
/// belongs to the caller. `FL_TIMEOUT`; `FL_END` once the engine is dismissed and no request waits. From any thread, any
/// number at a time.
///
/// # Safety
/// `engine` is NULL or live; `request` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_wait_request(
    engine: *mut fl_engine,
    timeout_ms: c_int,
    request: *mut *mut fl_request,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe {
            put(request, std::ptr::null_mut())?;
            live(engine)?
        };
        engine.runs_with(Delivery::Threads, "fl_engine_poll")?;
        let Some(given) = engine.shared.engine.wait_request(limit(timeout_ms)) else {
            return Ok(if engine.shared.dismissed.load(Ordering::SeqCst) {
                FL_END
            } else {
                FL_TIMEOUT
            });
        };
        // SAFETY: as above.
        unsafe { put(request, give(fl_request::new(given, engine.delivery))) }?;
        Ok(FL_OK)
    })
}

/// Two descriptors for a foreign event loop: at least one of them polls readable while `fl_engine_poll` has something to
/// do. Watch both, level-triggered; call `fl_engine_poll` with time-out 0 when one is readable, and `fl_engine_leave` when
/// its events are dealt with. They belong to the engine; only poll them. From any thread.
///
/// # Safety
/// `engine` is NULL or live; `descriptors` is NULL or has room for two.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_descriptors(engine: *const fl_engine, descriptors: *mut c_int) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        let found = engine
            .shared
            .engine
            .descriptors()
            .map_err(|error| Failure::system(&error))?;
        for (index, descriptor) in found.into_iter().enumerate() {
            // SAFETY: as above; room for two was promised.
            unsafe { put(descriptors.wrapping_add(index), descriptor) }?;
        }
        Ok(FL_OK)
    })
}

/// The runner goes back to its own loop: what was sent leaves, and from here on a change makes a descriptor readable.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_leave(engine: *mut fl_engine) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(engine) }?.shared.engine.leave_to_foreign_loop();
        Ok(FL_OK)
    })
}

/// Ends the current or the next wait of `fl_engine_poll`. From any thread; not from a signal handler.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_wake(engine: *mut fl_engine) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(engine) }?.shared.engine.wake();
        Ok(FL_OK)
    })
}

/// `FL_EVENT_DEADLINE` with `token` comes once `after_ms` have passed (`FL_DELIVERY_LOOP`). It cannot be taken back: a
/// program that no longer waits ignores the event. From any thread.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_wake_at(engine: *mut fl_engine, after_ms: u64, token: u64) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        engine.runs_with(Delivery::Loop, "the time-outs of the blocking calls")?;
        engine.shared.engine.wake_at(millis(after_ms), token);
        Ok(FL_OK)
    })
}

/// No new connections, and a Close with `code` and `reason` (NULL: none) on every open WebSocket, RFC 6455 §7.1.2.
/// Requests in flight go on, and one that is just being accepted may miss its Close: call it again while
/// `fl_engine_busy` finds some. From any thread.
///
/// # Safety
/// `engine` is NULL or live; `reason` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_drain(
    engine: *mut fl_engine,
    code: c_int,
    reason: *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (engine, reason) = unsafe { (live(engine)?, optional_text(reason, "the reason")?) };
        let reason = reason.unwrap_or_default();
        engine
            .shared
            .engine
            .drain(close_code(code)?, reason, Duration::ZERO);
        Ok(FL_OK)
    })
}

/// The same, with the Closes evenly spread over `spread_ms`: clients that come back do not come back in one wave. From any
/// thread.
///
/// # Safety
/// As for `fl_engine_drain`.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_drain_over(
    engine: *mut fl_engine,
    code: c_int,
    reason: *const c_char,
    spread_ms: u64,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (engine, reason) = unsafe { (live(engine)?, optional_text(reason, "the reason")?) };
        let reason = reason.unwrap_or_default();
        engine
            .shared
            .engine
            .drain(close_code(code)?, reason, millis(spread_ms));
        Ok(FL_OK)
    })
}

/// No more requests for `fl_engine_wait_request`: threads that wait there get `FL_END`. From any thread.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_dismiss(engine: *mut fl_engine) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        engine.shared.dismissed.store(true, Ordering::SeqCst);
        engine.shared.engine.dismiss();
        Ok(FL_OK)
    })
}

/// Ends the front within `deadline_ms`, cutting what is not done by then, and the engine's threads. Blocks that long at
/// most. Idempotent. From any thread.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_stop(engine: *mut fl_engine, deadline_ms: u64) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        engine.shared.dismissed.store(true, Ordering::SeqCst);
        engine.shared.engine.stop(millis(deadline_ms));
        engine.flush_log();
        Ok(FL_OK)
    })
}

/// Frees the engine, after `fl_engine_stop` with 0 if there was none. Better free requests and sessions before: those that
/// the caller still holds stay valid handles, of connections that are over, but some memory may stay behind for good. NULL is no error. No other thread may be
/// inside a call with this engine.
///
/// # Safety
/// `engine` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_free(engine: *mut fl_engine) -> c_int {
    guarded(|| {
        if engine.is_null() {
            return Ok(FL_OK);
        }
        // SAFETY: the caller's promise.
        let engine = unsafe { take(engine) }?;
        engine.shared.engine.stop(Duration::ZERO);
        engine.flush_log();
        // What waits inside holds what it waits in: a request its queue, a connection its loop. Last turns take it all out.
        let mut rest = std::mem::take(&mut *only_thread(&engine.carried)?);
        loop {
            drop(std::mem::take(&mut rest));
            rest.refill(&engine.shared.engine, Some(Duration::ZERO));
            if rest.is_empty() {
                return Ok(FL_OK);
            }
        }
    })
}

/// The address of listener `index` as it is bound: "127.0.0.1:8080", "[::1]:80", "unix:/path"; those of `listen` come
/// first, then those of `inherited`. NULL beyond the last. Lives as long as the engine. From any thread.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_address(engine: *const fl_engine, index: usize) -> *const c_char {
    guarded_value(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        Ok(engine
            .addresses
            .get(index)
            .map_or(std::ptr::null(), |(address, _)| address.as_ptr()))
    })
}

/// The TCP port of listener `index`: the one that the system chose if port 0 was asked for; 0 for a UNIX socket.
/// `FL_ERR_USAGE` beyond the last. From any thread.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_port(engine: *const fl_engine, index: usize) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        let known = engine.addresses.len();
        let listener = engine.addresses.get(index);
        listener
            .map(|(_, port)| *port)
            .ok_or_else(|| Failure::usage(format!("there is no listener {index}, there are {known}")))
    })
}

fn address(listener: &Listener) -> (CString, c_int) {
    let address = listener.local_address();
    let port = match &address {
        Address::Inet(address) => c_int::from(address.port()),
        Address::Unix(_) | Address::Unknown => 0,
    };
    // A path has no NUL; an abstract name may, and is then not shown.
    (CString::new(address.to_string()).unwrap_or_default(), port)
}
