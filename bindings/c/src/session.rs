//! `fl_session`: one WebSocket.
//!
//! A received message is copied once, into a buffer of the session that is used again for the next one; C gets a
//! pointer to it that is good until the next receive. So nothing is cut, nobody has to guess a size, and an echo costs no
//! allocation once warm.

use std::ffi::{c_char, c_int, CString};
use std::sync::{Arc, Mutex, OnceLock};

use fairlead_engine as fl;
use fl::{ClosedBy, Closure, Connection, Delivery, Lost, MessageKind, Received, Sent, Token};

use crate::arguments::{close_code, only_thread, only_with, FOR_EVER};
use crate::handle::{check_place, fl_bytes, limit, live, optional_text, put, slice, take, Handle, Tag};
use crate::status::{guarded, Failure, FL_CLOSED, FL_ERR_SYSTEM, FL_FULL, FL_OK, FL_PENDING, FL_TIMEOUT};

/// A text message: UTF-8, already checked.
pub const FL_MESSAGE_TEXT: c_int = 1;
/// A binary message.
pub const FL_MESSAGE_BINARY: c_int = 2;

/// The peer sent the first Close.
pub const FL_BY_PEER: c_int = 1;
/// We did: the program, a limit, or because the peer broke a rule.
pub const FL_BY_LOCAL: c_int = 2;
/// The connection was lost without a close handshake.
pub const FL_BY_LOST: c_int = 3;

/// What an idle session may keep of its buffer; a larger one goes back when nothing more is there to receive.
const KEPT: usize = 64 * 1024;

/// A received message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_message {
    /// `FL_MESSAGE_TEXT` or `FL_MESSAGE_BINARY`.
    pub kind: c_int,
    /// The payload, without a NUL behind it. Good until the next receive of this session.
    pub data: *const c_char,
    /// Its length.
    pub size: usize,
}

/// How a session ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_closure {
    /// The close code; 1005 when the peer gave none, 1006 when the connection was lost (RFC 6455 §7.1.5).
    pub code: c_int,
    /// `FL_BY_*`.
    pub by: c_int,
    /// The reason, or what happened; NUL-terminated, lives as long as the session.
    pub reason: fl_bytes,
}

/// What went over a session so far.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_counters {
    /// Data messages.
    pub messages_in: u64,
    /// Data messages.
    pub messages_out: u64,
    /// Bytes with their frame headers.
    pub bytes_in: u64,
    /// Bytes with their frame headers.
    pub bytes_out: u64,
    /// Control frames.
    pub pings_in: u64,
    /// Control frames.
    pub pings_out: u64,
    /// Control frames.
    pub pongs_in: u64,
    /// Control frames.
    pub pongs_out: u64,
}

/// One WebSocket.
#[repr(C)]
pub struct fl_session {
    tag: Tag,
    connection: Arc<Connection>,
    delivery: Delivery,
    /// The message that C looks at.
    buffer: Mutex<Vec<u8>>,
    closure: OnceLock<(c_int, c_int, CString)>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_session {
    const TAG: u32 = 0x464c_0003;
    const NAME: &'static str = "fl_session";
}

impl fl_session {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(crate) fn new(connection: Arc<Connection>, delivery: Delivery) -> Self {
        Self {
            tag: Tag::of::<fl_session>(),
            connection,
            delivery,
            buffer: Mutex::default(),
            closure: OnceLock::new(),
        }
    }

    fn receive(&self, buffer: &mut Vec<u8>, waiter: Option<Token>) -> Result<Option<fl_message>, c_int> {
        let received = self.connection.receive(waiter, |kind, payload| {
            buffer.clear();
            buffer.extend_from_slice(payload);
            kind
        });
        let kind = match received {
            Received::Message(MessageKind::Text) => FL_MESSAGE_TEXT,
            Received::Message(MessageKind::Binary) => FL_MESSAGE_BINARY,
            Received::Empty => {
                if buffer.capacity() > KEPT {
                    *buffer = Vec::new();
                }
                return Ok(None);
            }
            Received::Closed(_) => {
                *buffer = Vec::new();
                return Err(FL_CLOSED);
            }
        };
        let fl_bytes { data, size } = fl_bytes::of(buffer);
        Ok(Some(fl_message { kind, data, size }))
    }
}

/// Takes the next message if one is there: `FL_OK`, `FL_PENDING`, or `FL_CLOSED` when the session is over and all was
/// taken. Never blocks. `message->data` is good until the next receive of any kind, or `fl_session_free`. One thread at a
/// time.
///
/// # Safety
/// `session` is NULL or live; `message` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_session_receive_nowait(
    session: *mut fl_session,
    message: *mut fl_message,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { receive(session, None, message) }
}

/// Like `fl_session_receive_nowait`, but after `FL_PENDING` `token` is woken once there is a message or the end
/// (`FL_DELIVERY_LOOP`). Asking and registering are one step, so nothing is missed between them. The last token counts.
///
/// # Safety
/// `session` is NULL or live; `message` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_session_receive_or_wake(
    session: *mut fl_session,
    token: u64,
    message: *mut fl_message,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { receive(session, Some(token), message) }
}

/// Blocks until there is a message (`FL_DELIVERY_THREADS`), at most `timeout_ms` (negative: no limit): `FL_OK`,
/// `FL_TIMEOUT` or `FL_CLOSED`. The message as in `fl_session_receive_nowait`. One thread at a time; others may send.
///
/// # Safety
/// `session` is NULL or live; `message` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_session_receive(
    session: *mut fl_session,
    timeout_ms: c_int,
    message: *mut fl_message,
) -> c_int {
    guarded(|| {
        check_place(message)?;
        // SAFETY: the caller's promise.
        let session = unsafe { live(session) }?;
        only_with(session.delivery, Delivery::Threads)?;
        let mut buffer = only_thread(&session.buffer)?;
        // The way of a busy connection: one lock, no clock.
        let mut in_time = true;
        let started = std::time::Instant::now;
        let deadline = limit(timeout_ms).map(|limit| started() + limit);
        loop {
            match session.receive(&mut buffer, None) {
                // SAFETY: checked above.
                Ok(Some(taken)) => return unsafe { put(message, taken) }.map(|()| FL_OK),
                Err(closed) => return Ok(closed),
                Ok(None) if !in_time => return Ok(FL_TIMEOUT),
                Ok(None) => {}
            }
            let left = deadline.map(|at| at.saturating_duration_since(started()));
            // Never refused: who waits has the buffer. Before the socket has left the front a wait without a limit ends
            // early as well.
            in_time = session.connection.wait_message(left) == Ok(true) || left.is_none();
        }
    })
}

/// The task no longer waits with this token. From any thread.
///
/// # Safety
/// `session` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_session_forget(session: *mut fl_session, token: u64) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(session) }?.connection.forget(token);
        Ok(FL_OK)
    })
}

/// Sends a text message; `FL_ERR_USAGE` if it is not UTF-8 (RFC 6455 §5.6), and nothing is sent then. Else as
/// `fl_session_send_binary`.
///
/// # Safety
/// `session` is NULL or live; `data` has `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fl_session_send_text(
    session: *mut fl_session,
    data: *const c_char,
    size: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { send(session, MessageKind::Text, data, size) }
}

/// Sends a binary message, whole or not at all: `FL_OK`; `FL_FULL`: nothing was taken, the peer is behind, wait for room;
/// `FL_CLOSED`. `data` may be that of a received message and is not needed afterwards. Never blocks. From any thread.
///
/// # Safety
/// `session` is NULL or live; `data` has `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fl_session_send_binary(
    session: *mut fl_session,
    data: *const c_char,
    size: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { send(session, MessageKind::Binary, data, size) }
}

/// `FL_OK` if a send has room now, or the session is over; else `FL_PENDING`, and `token` is woken when it has
/// (`FL_DELIVERY_LOOP`). From any thread.
///
/// # Safety
/// `session` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_session_wait_room(session: *mut fl_session, token: u64) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let session = unsafe { live(session) }?;
        only_with(session.delivery, Delivery::Loop)?;
        Ok(if session.connection.wait_room(token) {
            FL_OK
        } else {
            FL_PENDING
        })
    })
}

/// Blocks until a send has room, or the session is over (`FL_DELIVERY_THREADS`): `FL_OK` or `FL_TIMEOUT`. Negative
/// `timeout_ms`: no limit. From any thread.
///
/// # Safety
/// `session` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_session_wait_room_blocking(session: *mut fl_session, timeout_ms: c_int) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let session = unsafe { live(session) }?;
        only_with(session.delivery, Delivery::Threads)?;
        let room = session
            .connection
            .wait_room_blocking(limit(timeout_ms).unwrap_or(FOR_EVER));
        Ok(if room { FL_OK } else { FL_TIMEOUT })
    })
}

/// Starts the close handshake, RFC 6455 §7.1.2, with `code` and `reason` (NULL: none; over 123 bytes it is cut).
/// Messages that were complete can still be received. Harmless on a session that is closing. From any thread.
///
/// # Safety
/// `session` is NULL or live; `reason` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_session_close(
    session: *mut fl_session,
    code: c_int,
    reason: *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (session, reason) = unsafe { (live(session)?, optional_text(reason, "the reason")?) };
        session
            .connection
            .close(close_code(code)?, reason.unwrap_or_default())
            .map_err(Failure::usage)?;
        Ok(FL_OK)
    })
}

/// Drops the connection at once, without a Close. From any thread.
///
/// # Safety
/// `session` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_session_disconnect(session: *mut fl_session) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(session) }?.connection.abandon(Lost::Dropped);
        Ok(FL_OK)
    })
}

/// Sends a Ping of the program's own with up to 125 bytes, RFC 6455 §5.5.2; the engine's go out by themselves. `FL_CLOSED`
/// once the session is over. From any thread.
///
/// # Safety
/// `session` is NULL or live; `data` has `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fl_session_ping(
    session: *mut fl_session,
    data: *const c_char,
    size: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (session, data) = unsafe {
            (
                live(session)?,
                slice(data.cast::<u8>(), size, "the ping's bytes")?,
            )
        };
        match session.connection.ping(data) {
            Ok(()) => Ok(FL_OK),
            Err(fl::UsageError::Closed) => Ok(FL_CLOSED),
            Err(error) => Err(Failure::usage(error)),
        }
    })
}

/// How the session ended: `FL_OK` and `*closure`, or `FL_PENDING` while it is open. From any thread.
///
/// # Safety
/// `session` is NULL or live; `closure` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_session_closed(session: *const fl_session, closure: *mut fl_closure) -> c_int {
    guarded(|| {
        check_place(closure)?;
        // SAFETY: the caller's promise.
        let session = unsafe { live(session) }?;
        if session.closure.get().is_none() {
            let Some(ended) = session.connection.closure() else {
                return Ok(FL_PENDING);
            };
            // The engine keeps the first cause, so a second thread brings the same.
            let _ = session.closure.set(kept(&ended));
        }
        let Some((code, by, reason)) = session.closure.get() else {
            return Ok(FL_PENDING);
        };
        let ended = fl_closure {
            code: *code,
            by: *by,
            reason: fl_bytes::of(reason.as_bytes()),
        };
        // SAFETY: checked above.
        unsafe { put(closure, ended) }?;
        Ok(FL_OK)
    })
}

/// What went over the session so far. From any thread.
///
/// # Safety
/// `session` is NULL or live; `counters` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_session_counters(
    session: *const fl_session,
    counters: *mut fl_counters,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let session = unsafe { live(session) }?;
        let now = session.connection.counters();
        let now = fl_counters {
            messages_in: now.messages_in,
            messages_out: now.messages_out,
            bytes_in: now.bytes_in,
            bytes_out: now.bytes_out,
            pings_in: u64::from(now.pings_in),
            pings_out: u64::from(now.pings_out),
            pongs_in: u64::from(now.pongs_in),
            pongs_out: u64::from(now.pongs_out),
        };
        // SAFETY: the caller's promise.
        unsafe { put(counters, now) }?;
        Ok(FL_OK)
    })
}

/// A descriptor that polls readable exactly while a receive would not wait. Belongs to the engine; only poll it. Negative
/// status on error. From any thread.
///
/// # Safety
/// `session` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_session_fileno(session: *const fl_session) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let session = unsafe { live(session) }?;
        session
            .connection
            .notify_descriptor()
            .map_err(|error| Failure::new(FL_ERR_SYSTEM, error))
    })
}

/// Frees the handle and the message it holds; the WebSocket itself goes with its request. NULL is no error. From any
/// thread, but no other call may use it.
///
/// # Safety
/// `session` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_session_free(session: *mut fl_session) -> c_int {
    guarded(|| {
        if !session.is_null() {
            // SAFETY: the caller's promise.
            drop(unsafe { take(session) }?);
        }
        Ok(FL_OK)
    })
}

/// # Safety
/// `session` is NULL or live; `message` is NULL or writable.
unsafe fn receive(session: *mut fl_session, waiter: Option<Token>, message: *mut fl_message) -> c_int {
    guarded(|| {
        // First: a message that has no place to go must not be taken.
        check_place(message)?;
        // SAFETY: the caller's promise.
        let session = unsafe { live(session) }?;
        if waiter.is_some() {
            only_with(session.delivery, Delivery::Loop)?;
        }
        let mut buffer = only_thread(&session.buffer)?;
        match session.receive(&mut buffer, waiter) {
            // SAFETY: checked above.
            Ok(Some(taken)) => unsafe { put(message, taken) }.map(|()| FL_OK),
            Ok(None) => Ok(FL_PENDING),
            Err(closed) => Ok(closed),
        }
    })
}

/// # Safety
/// `session` is NULL or live; `data` has `size` bytes.
unsafe fn send(session: *mut fl_session, kind: MessageKind, data: *const c_char, size: usize) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (session, data) = unsafe {
            (
                live(session)?,
                slice(data.cast::<u8>(), size, "the message's bytes")?,
            )
        };
        if matches!(kind, MessageKind::Text) && !fl::is_utf8(data) {
            return Err(Failure::usage(
                "a text message must be UTF-8 (RFC 6455 §5.6); send it as binary",
            ));
        }
        Ok(match session.connection.send(kind, data) {
            Sent::Done => FL_OK,
            Sent::Full => FL_FULL,
            Sent::Closed => FL_CLOSED,
        })
    })
}

fn kept(closure: &Closure) -> (c_int, c_int, CString) {
    let by = match closure.by {
        ClosedBy::Peer => FL_BY_PEER,
        ClosedBy::Local(_) => FL_BY_LOCAL,
        ClosedBy::Lost(_) => FL_BY_LOST,
    };
    let reason = match (&closure.error, closure.by) {
        (Some(error), _) => error.to_string(),
        (None, ClosedBy::Lost(why)) if closure.reason.is_empty() => why.to_string(),
        (None, _) => closure.reason.clone(),
    };
    // A peer may put a NUL into its reason; C sees what stands before it.
    let reason = reason.split('\0').next().unwrap_or_default();
    (
        c_int::from(closure.code),
        by,
        CString::new(reason).unwrap_or_default(),
    )
}
