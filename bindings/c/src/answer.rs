//! The ways to answer a request: a response at once or in pieces, its body's counterpart, and the step to a WebSocket.
//!
//! Everything is copied on its way in and nothing blocks but what says so. The engine knows the order in which the calls
//! make sense; one that comes too late changes nothing.

use std::ffi::{c_char, c_int};

use fairlead_engine as fl;
use fl::{AcceptError, BodyRead, Delivery, ResponseHead};

use crate::arguments::{close_code, fl_header, header_list, only_with};
use crate::handle::{check_place, give, limit, live, optional_text, put, slice};
use crate::request::fl_request;
use crate::session::fl_session;
use crate::status::{
    guarded, Failure, FL_END, FL_ERR_BODY, FL_ERR_HANDSHAKE, FL_ERR_ORIGIN, FL_ERR_SYSTEM, FL_OK, FL_PENDING,
    FL_TIMEOUT,
};

/// Sends a whole response; `Content-Length` is added if the headers have none. `reason` NULL: the usual phrase. All is
/// copied. `FL_ERR_GONE`, `FL_ERR_ANSWERED`, and `FL_ERR_USAGE` for a header that cannot be sent. From any thread.
///
/// # Safety
/// `request` is NULL or live; strings are NUL-terminated, arrays as long as announced.
#[no_mangle]
pub unsafe extern "C" fn fl_request_respond(
    request: *mut fl_request,
    status: c_int,
    reason: *const c_char,
    headers: *const fl_header,
    header_count: usize,
    body: *const c_char,
    body_size: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, head, body) = unsafe {
            let head = head(status, reason, headers, header_count)?;
            (
                live(request)?,
                head,
                slice(body.cast::<u8>(), body_size, "the body's bytes")?,
            )
        };
        request
            .request
            .respond(head, body.to_vec())
            .map_err(|_| request.too_late())?;
        Ok(FL_OK)
    })
}

/// Begins a response whose body follows with `fl_request_write` and ends with `fl_request_finish`. Else as
/// `fl_request_respond`.
///
/// # Safety
/// As for `fl_request_respond`.
#[no_mangle]
pub unsafe extern "C" fn fl_request_start(
    request: *mut fl_request,
    status: c_int,
    reason: *const c_char,
    headers: *const fl_header,
    header_count: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, head) = unsafe { (live(request)?, head(status, reason, headers, header_count)?) };
        request
            .request
            .start_response(head)
            .map_err(|_| request.too_late())?;
        Ok(FL_OK)
    })
}

/// Adds to the body; copies and never blocks. Ask `fl_request_wait_writable` before the next, or memory grows with a
/// client that does not read. From any thread.
///
/// # Safety
/// `request` is NULL or live; `piece` has `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fl_request_write(
    request: *mut fl_request,
    piece: *const c_char,
    size: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, piece) = unsafe {
            (
                live(request)?,
                slice(piece.cast::<u8>(), size, "the piece's bytes")?,
            )
        };
        request
            .request
            .write(piece.to_vec())
            .map_err(|_| request.too_late())?;
        Ok(FL_OK)
    })
}

/// Ends a body that was begun. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_finish(request: *mut fl_request) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(request) }?.request.finish();
        Ok(FL_OK)
    })
}

/// Cuts the connection: the response was begun and cannot be completed, and the client shall know. `why` goes to the
/// log. From any thread.
///
/// # Safety
/// `request` is NULL or live; `why` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_request_abort(request: *mut fl_request, why: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, why) = unsafe { (live(request)?, optional_text(why, "the reason")?) };
        request.request.abort(why.unwrap_or("the application gave up"));
        Ok(FL_OK)
    })
}

/// `FL_OK` if the body's buffer has room now; else `FL_PENDING`, and `token` is woken when it has
/// (`FL_DELIVERY_LOOP`). From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_wait_writable(request: *mut fl_request, token: u64) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { wait_token(request, |request| request.wait_writable(token)) }
}

/// Blocks until the body's buffer has room (`FL_DELIVERY_THREADS`): `FL_OK` or `FL_TIMEOUT`. Negative `timeout_ms`: no
/// limit.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_wait_writable_blocking(
    request: *mut fl_request,
    timeout_ms: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { wait_blocking(request, timeout_ms, fl::Request::wait_writable) }
}

/// Takes up to `capacity` bytes of the request's body that are there: `FL_OK` and `*size`, at least 1; `FL_PENDING`;
/// `FL_END`; `FL_ERR_BODY` when the rest will not come. Never blocks. One thread at a time.
///
/// # Safety
/// `request` is NULL or live; `buffer` has room for `capacity` bytes; `size` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_request_read_body(
    request: *mut fl_request,
    buffer: *mut c_char,
    capacity: usize,
    size: *mut usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let request = unsafe {
            put(size, 0)?;
            live(request)?
        };
        check_place(buffer)?;
        if capacity == 0 {
            return Err(Failure::usage(
                "there is room for no byte of the body; give room for one at least",
            ));
        }
        match request.request.read_body(capacity) {
            BodyRead::Data(bytes) => {
                debug_assert!(bytes.len() <= capacity);
                // SAFETY: the engine gives `capacity` bytes at most, and the caller has room for them.
                unsafe {
                    buffer
                        .cast::<u8>()
                        .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                    put(size, bytes.len())?;
                }
                Ok(FL_OK)
            }
            BodyRead::End => Ok(FL_END),
            BodyRead::Pending => Ok(FL_PENDING),
            BodyRead::Failed(why) => Err(Failure::new(FL_ERR_BODY, why)),
        }
    })
}

/// `FL_OK` if `fl_request_read_body` has something to say now; else `FL_PENDING`, and `token` is woken when it has
/// (`FL_DELIVERY_LOOP`). From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_wait_body(request: *mut fl_request, token: u64) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { wait_token(request, |request| request.wait_body(token)) }
}

/// Blocks until `fl_request_read_body` has something to say (`FL_DELIVERY_THREADS`): `FL_OK` or `FL_TIMEOUT`. Negative
/// `timeout_ms`: no limit.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_wait_body_blocking(request: *mut fl_request, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { wait_blocking(request, timeout_ms, fl::Request::wait_body) }
}

/// 1 once the client has gone, 0 before, or a negative status. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_is_gone(request: *const fl_request) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        Ok(c_int::from(unsafe { live(request) }?.request.is_gone()))
    })
}

/// Completes the WebSocket handshake, RFC 6455 §4.2.2, with one of the client's subprotocols or none (NULL). `*session`
/// is the caller's, to be freed with `fl_session_free`, and usable at once; it is NULL after an error. The request stays
/// the caller's too and keeps the slot: when it is completed or freed, the WebSocket is closed.
///
/// After `FL_ERR_HANDSHAKE` and `FL_ERR_ORIGIN` the client gets the fitting refusal if the program just frees the
/// request, or answers otherwise. Also `FL_ERR_ANSWERED`, `FL_ERR_GONE`, `FL_ERR_USAGE`. From any thread.
///
/// # Safety
/// `request` is NULL or live; `subprotocol` is NULL or NUL-terminated; `session` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_request_accept(
    request: *mut fl_request,
    subprotocol: *const c_char,
    session: *mut *mut fl_session,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, subprotocol) = unsafe {
            put(session, std::ptr::null_mut())?;
            (live(request)?, optional_text(subprotocol, "the subprotocol")?)
        };
        let connection = request.request.accept(None, subprotocol).map_err(|error| match error {
            AcceptError::Handshake(error) => Failure::new(FL_ERR_HANDSHAKE, error),
            AcceptError::Origin(origin) => Failure::new(
                FL_ERR_ORIGIN,
                format!("the page's origin {origin:?} is not this server's; allow it in the settings' origins"),
            ),
            AcceptError::Usage(error) => Failure::usage(error),
            AcceptError::AlreadyAnswered | AcceptError::Gone => request.too_late(),
        })?;
        // SAFETY: as above.
        unsafe { put(session, give(fl_session::new(connection, request.delivery))) }?;
        Ok(FL_OK)
    })
}

/// A descriptor that polls readable while there is a WebSocket message to receive; silent before the handshake, which
/// takes it over. Belongs to the engine; only poll it. Negative status on error. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_fileno(request: *const fl_request) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        request
            .request
            .notify_descriptor()
            .map_err(|error| Failure::new(FL_ERR_SYSTEM, error))
    })
}

/// The program is done with the WebSocket: closes it with `code` and `reason` (NULL: none) if nobody did yet, drops
/// what was not received, and lets the engine see the close handshake through. `FL_OK`, or `FL_END` if there is no
/// WebSocket. From any thread.
///
/// # Safety
/// `request` is NULL or live; `reason` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_request_release(
    request: *mut fl_request,
    code: c_int,
    reason: *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, reason) = unsafe { (live(request)?, optional_text(reason, "the reason")?) };
        let was_there = request
            .request
            .release(close_code(code)?, reason.unwrap_or_default());
        Ok(if was_there { FL_OK } else { FL_END })
    })
}

/// # Safety
/// `request` is NULL or live.
unsafe fn wait_token(request: *mut fl_request, ask: impl FnOnce(&fl::Request) -> bool) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        only_with(request.delivery, Delivery::Loop)?;
        Ok(if ask(&request.request) { FL_OK } else { FL_PENDING })
    })
}

/// # Safety
/// `request` is NULL or live.
unsafe fn wait_blocking(
    request: *mut fl_request,
    timeout_ms: c_int,
    ask: impl FnMut(&fl::Request, fl::Token) -> bool,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        only_with(request.delivery, Delivery::Threads)?;
        Ok(if request.request.wait_blocking(limit(timeout_ms), ask) {
            FL_OK
        } else {
            FL_TIMEOUT
        })
    })
}

/// # Safety
/// Strings are NULL or NUL-terminated, the array is as long as announced.
unsafe fn head(
    status: c_int,
    reason: *const c_char,
    headers: *const fl_header,
    header_count: usize,
) -> Result<ResponseHead, Failure> {
    // SAFETY: the caller's promise.
    let (headers, reason) = unsafe {
        (
            header_list(headers, header_count, "headers")?,
            optional_text(reason, "the reason phrase")?,
        )
    };
    let status =
        u16::try_from(status).map_err(|_| Failure::usage(format!("{status} is not an HTTP status")))?;
    let head = ResponseHead::new(status, headers).map_err(Failure::usage)?;
    match reason {
        Some(reason) => head.with_reason(reason).map_err(Failure::usage),
        None => Ok(head),
    }
}
