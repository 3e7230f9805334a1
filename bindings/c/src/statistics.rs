//! What an engine does and has done, for whoever watches it: busy or quiet, and counts since its start.

use std::ffi::c_int;

use crate::engine::fl_engine;
use crate::handle::{live, put};
use crate::status::{guarded, FL_OK};

/// What an engine has done since its start. Messages and bytes are those of WebSockets that have ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_statistics {
    /// Connections.
    pub accepted: u64,
    /// Those that the program got or will get.
    pub requests: u64,
    /// Requests that broke a rule.
    pub refused: u64,
    /// Requests that hold a slot now.
    pub running: u64,
    /// Of the loop, by whoever drives it.
    pub turns: u64,
    /// How often the engine's own thread has taken the loop over from the program's.
    pub takeovers: u64,
    /// WebSockets.
    pub sessions_joined: u64,
    /// WebSockets that ended with a close handshake.
    pub sessions_left: u64,
    /// WebSockets that ended without one.
    pub sessions_lost: u64,
    /// WebSockets whose peers broke a rule or a limit.
    pub sessions_failed: u64,
    /// Data messages.
    pub messages_in: u64,
    /// Data messages.
    pub messages_out: u64,
    /// With frame headers.
    pub bytes_in: u64,
    /// With frame headers.
    pub bytes_out: u64,
}

/// 1 once a drain is complete: no request runs or can come any more, and no connection is closing; else 0. From any thread.
///
/// # Safety
/// `engine` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_is_quiet(engine: *const fl_engine) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        Ok(c_int::from(unsafe { live(engine) }?.inner().is_quiet()))
    })
}

/// What the engine has done since its start. From any thread.
///
/// # Safety
/// `engine` is NULL or live; `statistics` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_statistics(
    engine: *const fl_engine,
    statistics: *mut fl_statistics,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let now = unsafe { live(engine) }?.inner().statistics();
        let (front, worker) = (&now.front, &now.worker);
        let now = fl_statistics {
            accepted: front.accepted,
            requests: front.requests,
            refused: front.refused,
            running: now.running as u64,
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
        };
        // SAFETY: the caller's promise.
        unsafe { put(statistics, now) }?;
        Ok(FL_OK)
    })
}

/// Requests that hold a slot, and WebSockets in the loop, those that are closing included: both 0 when a drain is
/// complete. Either place may be NULL. From any thread.
///
/// # Safety
/// `engine` is NULL or live; `requests` and `sessions` are NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_busy(
    engine: *const fl_engine,
    requests: *mut usize,
    sessions: *mut usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let engine = unsafe { live(engine) }?;
        let busy = engine.inner().busy();
        for (place, value) in [(requests, busy.0), (sessions, busy.1)] {
            if !place.is_null() {
                // SAFETY: the caller's promise.
                unsafe { put(place, value) }?;
            }
        }
        Ok(FL_OK)
    })
}
