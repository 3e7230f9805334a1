//! `fl_request`: what the client asked, and the ways to answer.
//!
//! Bytes that a getter answers lie in the request and live as long as it. What the engine computes on the way (the CGI
//! variables, the label) is computed at the first question and kept.

use std::ffi::{c_char, c_int, CString};
use std::sync::OnceLock;
use std::time::Duration;

use fairlead_engine as fl;
use fl::{AcceptError, BodyRead, Delivery, ResponseHead};

use crate::engine::close_code;
use crate::handle::{check_place, fl_bytes, give, limit, live, optional_text, put, slice, take, text, Handle, Tag};
use crate::session::fl_session;
use crate::status::{
    guarded, guarded_value, Failure, FL_END, FL_ERR_ANSWERED, FL_ERR_BODY, FL_ERR_GONE, FL_ERR_HANDSHAKE, FL_ERR_ORIGIN,
    FL_ERR_SYSTEM, FL_OK, FL_PENDING, FL_TIMEOUT,
};

/// "No limit" for waits that want a number.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A header of a response: NUL-terminated strings.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_header {
    /// A token, RFC 9110 §5.6.2.
    pub name: *const c_char,
    /// Any bytes but control characters.
    pub value: *const c_char,
}

/// A request that holds a slot.
#[repr(C)]
pub struct fl_request {
    tag: Tag,
    request: Box<fl::Request>,
    delivery: Delivery,
    variables: OnceLock<Variables>,
    subprotocols: OnceLock<Vec<CString>>,
    label: OnceLock<CString>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_request {
    const TAG: u32 = 0x464c_0002;
    const NAME: &'static str = "fl_request";
}

impl fl_request {
    pub(crate) fn new(request: Box<fl::Request>, delivery: Delivery) -> Self {
        Self {
            tag: Tag::of::<fl_request>(),
            request,
            delivery,
            variables: OnceLock::new(),
            subprotocols: OnceLock::new(),
            label: OnceLock::new(),
        }
    }

    /// The engine knows one "too late" for all cases.
    fn too_late(&self) -> Failure {
        if self.request.is_gone() {
            Failure::new(FL_ERR_GONE, fl::Gone)
        } else {
            Failure::new(FL_ERR_ANSWERED, "this step of the response is not possible now: it was answered, or not begun")
        }
    }
}

/// All CGI variables, one after the other, each followed by a NUL.
#[derive(Default)]
struct Variables {
    arena: Vec<u8>,
    /// Where each name begins and how long it is, then the same of its value.
    spans: Vec<[usize; 4]>,
}

impl Variables {
    fn of(head: &fl::Head) -> Self {
        let mut all = Self { arena: Vec::with_capacity(2048), spans: Vec::with_capacity(32) };
        head.for_each_cgi_variable(|name, value| {
            let [name, value] = [name.as_bytes(), value].map(|bytes| {
                let start = all.arena.len();
                all.arena.extend_from_slice(bytes);
                all.arena.push(0);
                (start, bytes.len())
            });
            all.spans.push([name.0, name.1, value.0, value.1]);
        });
        all
    }
}

/// The method, as it was sent. Lives as long as the request. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_method(request: *const fl_request) -> fl_bytes {
    // SAFETY: the caller's promise.
    unsafe { part(request, |request| fl_bytes::of(request.head().method())) }
}

/// The request target, as it was sent (RFC 9112 §3.2). Lives as long as the request. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_target(request: *const fl_request) -> fl_bytes {
    // SAFETY: the caller's promise.
    unsafe { part(request, |request| fl_bytes::of(request.head().target())) }
}

/// The path of the target, not decoded. Lives as long as the request. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_path(request: *const fl_request) -> fl_bytes {
    // SAFETY: the caller's promise.
    unsafe { part(request, |request| fl_bytes::of(request.head().path())) }
}

/// What follows the first `?` of the target, not decoded. Lives as long as the request. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_query(request: *const fl_request) -> fl_bytes {
    // SAFETY: the caller's promise.
    unsafe { part(request, |request| fl_bytes::of(request.head().query())) }
}

/// "http" or "https". Lives as long as the request. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_scheme(request: *const fl_request) -> fl_bytes {
    // SAFETY: the caller's promise.
    unsafe { part(request, |request| fl_bytes::of(request.head().scheme().as_str().as_bytes())) }
}

/// The first value of a header, its name in any case; `data` is NULL if it was not sent. Lives as long as the request.
/// From any thread.
///
/// # Safety
/// `request` is NULL or live; `name` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_request_header(request: *const fl_request, name: *const c_char) -> fl_bytes {
    guarded_value(fl_bytes::NONE, || {
        // SAFETY: the caller's promise.
        let (request, name) = unsafe { (live(request)?, text(name, "the header's name")?) };
        Ok(request.request.head().header(name).map_or(fl_bytes::NONE, fl_bytes::of))
    })
}

/// The CGI variable `index` (RFC 3875 §4.1), counted from 0: `FL_OK`, or `FL_END` beyond the last. Name and value live as
/// long as the request, and a NUL follows each. From any thread.
///
/// # Safety
/// `request` is NULL or live; `name` and `value` are NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_request_variable(
    request: *const fl_request,
    index: usize,
    name: *mut fl_bytes,
    value: *mut fl_bytes,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        let all = request.variables.get_or_init(|| Variables::of(request.request.head()));
        let Some([name_at, name_size, value_at, value_size]) = all.spans.get(index) else { return Ok(FL_END) };
        // SAFETY: the caller's promise.
        unsafe {
            put(name, fl_bytes::of(&all.arena[*name_at..name_at + name_size]))?;
            put(value, fl_bytes::of(&all.arena[*value_at..value_at + value_size]))?;
        }
        Ok(FL_OK)
    })
}

/// Peer and target, as the log names the request. NUL-terminated, lives as long as the request; NULL on misuse. From any
/// thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_label(request: *const fl_request) -> *const c_char {
    guarded_value(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        // The head can have no NUL: HTTP forbids it.
        Ok(request.label.get_or_init(|| CString::new(request.request.label()).unwrap_or_default()).as_ptr())
    })
}

/// Whether the client asks for a WebSocket, rightly or not (RFC 6455 §4.2.1, item 3): 1 or 0, or a negative status.
/// From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_wants_websocket(request: *const fl_request) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        Ok(c_int::from(request.request.head().has_token("upgrade", "websocket")))
    })
}

/// The client's subprotocol `index`, the most welcome first (RFC 6455 §4.2.2): NUL-terminated, lives as long as the request;
/// NULL beyond the last, and for a handshake that is not valid. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_subprotocol(request: *const fl_request, index: usize) -> *const c_char {
    guarded_value(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        let offered = request.subprotocols.get_or_init(|| {
            let offered = request.request.offered_subprotocols();
            offered.into_iter().filter_map(|name| CString::new(name).ok()).collect()
        });
        Ok(offered.get(index).map_or(std::ptr::null(), |name| name.as_ptr()))
    })
}

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
            (live(request)?, head, slice(body.cast::<u8>(), body_size, "the body's bytes")?)
        };
        request.request.respond(head, body.to_vec()).map_err(|_| request.too_late())?;
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
        request.request.start_response(head).map_err(|_| request.too_late())?;
        Ok(FL_OK)
    })
}

/// Adds to the body; copies and never blocks. Ask `fl_request_wait_writable` before the next, or memory grows with a
/// client that does not read. From any thread.
///
/// # Safety
/// `request` is NULL or live; `piece` has `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fl_request_write(request: *mut fl_request, piece: *const c_char, size: usize) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, piece) = unsafe { (live(request)?, slice(piece.cast::<u8>(), size, "the piece's bytes")?) };
        request.request.write(piece.to_vec()).map_err(|_| request.too_late())?;
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
pub unsafe extern "C" fn fl_request_wait_writable_blocking(request: *mut fl_request, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { wait_blocking(request, timeout_ms, |request, limit| request.wait_writable_blocking(limit)) }
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
            return Err(Failure::usage("there is room for no byte of the body; give room for one at least"));
        }
        match request.request.read_body(capacity) {
            BodyRead::Data(bytes) => {
                debug_assert!(bytes.len() <= capacity);
                // SAFETY: the engine gives `capacity` bytes at most, and the caller has room for them.
                unsafe {
                    buffer.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
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
    unsafe { wait_blocking(request, timeout_ms, |request, limit| request.wait_body_blocking(limit)) }
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
        request.request.notify_descriptor().map_err(|error| Failure::new(FL_ERR_SYSTEM, error))
    })
}

/// The program is done with the WebSocket: closes it with `code` and `reason` (NULL: none) if nobody did yet, drops
/// what was not received, and lets the engine see the close handshake through. `FL_OK`, or `FL_END` if there is no
/// WebSocket. From any thread.
///
/// # Safety
/// `request` is NULL or live; `reason` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_request_release(request: *mut fl_request, code: c_int, reason: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, reason) = unsafe { (live(request)?, optional_text(reason, "the reason")?) };
        let was_there = request.request.release(close_code(code)?, reason.unwrap_or_default());
        Ok(if was_there { FL_OK } else { FL_END })
    })
}

/// The unit has ended: gives the slot back, while the handle stays valid. A WebSocket that is still open is closed with
/// 1011, a refused handshake is answered. Idempotent. From any thread.
///
/// # Safety
/// `request` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_request_complete(request: *mut fl_request) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(request) }?.request.complete();
        Ok(FL_OK)
    })
}

/// Completes the request and frees it, with all bytes it gave out. Without any answer the client gets a 500. NULL is no
/// error. From any thread, but no other call may use it.
///
/// # Safety
/// `request` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_request_free(request: *mut fl_request) -> c_int {
    guarded(|| {
        if !request.is_null() {
            // SAFETY: the caller's promise.
            drop(unsafe { take(request) }?);
        }
        Ok(FL_OK)
    })
}

/// # Safety
/// `request` is NULL or live.
unsafe fn part(request: *const fl_request, look: impl FnOnce(&fl::Request) -> fl_bytes) -> fl_bytes {
    // SAFETY: the caller's promise.
    guarded_value(fl_bytes::NONE, || Ok(look(&unsafe { live(request) }?.request)))
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
    wait: impl FnOnce(&fl::Request, Duration) -> bool,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let request = unsafe { live(request) }?;
        only_with(request.delivery, Delivery::Threads)?;
        Ok(if wait(&request.request, limit(timeout_ms).unwrap_or(FOR_EVER)) { FL_OK } else { FL_TIMEOUT })
    })
}

/// Tokens are woken by `fl_engine_poll`, and a thread that polls must not block: each delivery has its own waits.
pub(crate) fn only_with(delivery: Delivery, wanted: Delivery) -> Result<(), Failure> {
    match (delivery == wanted, wanted) {
        (true, _) => Ok(()),
        (false, Delivery::Loop) => Err(Failure::usage("tokens are for FL_DELIVERY_LOOP; use the blocking call")),
        (false, Delivery::Threads) => Err(Failure::usage("blocking is for FL_DELIVERY_THREADS; wait with a token")),
    }
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
        (header_list(headers, header_count, "headers")?, optional_text(reason, "the reason phrase")?)
    };
    let status = u16::try_from(status).map_err(|_| Failure::usage(format!("{status} is not an HTTP status")))?;
    let mut head = ResponseHead::new(status, headers).map_err(Failure::usage)?;
    head.reason = reason.map(str::to_owned);
    Ok(head)
}

/// # Safety
/// The array is as long as announced, its strings are NULL or NUL-terminated.
pub(crate) unsafe fn header_list(
    headers: *const fl_header,
    count: usize,
    what: &str,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    // SAFETY: the caller's promise.
    let headers = unsafe { slice(headers, count, what) }?;
    let pair = |header: &fl_header| {
        if header.value.is_null() {
            return Err(Failure::usage("a header's value is NULL"));
        }
        // SAFETY: the caller's promise; a value may be any bytes (RFC 9110 §5.5), so it need not be UTF-8.
        let (name, value) = unsafe { (text(header.name, "a header's name")?, std::ffi::CStr::from_ptr(header.value)) };
        Ok((name.to_owned(), value.to_bytes().to_vec()))
    };
    headers.iter().map(pair).collect()
}
