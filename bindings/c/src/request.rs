//! `fl_request`: the handle, and what the client asked. The answers are in `answer`.
//!
//! Bytes that a getter answers lie in the request and live as long as it. What the engine computes on the way (the CGI
//! variables, the label) is computed at the first question and kept.

use std::ffi::{c_char, c_int, CString};
use std::sync::OnceLock;

use fairlead_engine as fl;
use fl::Delivery;

use crate::handle::{fl_bytes, live, put, take, text, Handle, Tag};
use crate::status::{guarded, guarded_value, Failure, FL_END, FL_ERR_ANSWERED, FL_ERR_GONE, FL_OK};

/// A request that holds a slot.
#[repr(C)]
pub struct fl_request {
    tag: Tag,
    pub(crate) request: Box<fl::Request>,
    pub(crate) delivery: Delivery,
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
    pub(crate) fn too_late(&self) -> Failure {
        if self.request.is_gone() {
            Failure::new(FL_ERR_GONE, fl::Gone)
        } else {
            Failure::new(
                FL_ERR_ANSWERED,
                "this step of the response is not possible now: it was answered, or not begun",
            )
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
        let mut all = Self {
            arena: Vec::with_capacity(2048),
            spans: Vec::with_capacity(32),
        };
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

/// The request target, as it was sent, but without scheme and host (RFC 9112 §3.2). Lives as long as the request. From any thread.
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
    unsafe {
        part(request, |request| {
            fl_bytes::of(request.head().scheme().as_str().as_bytes())
        })
    }
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
        Ok(request
            .request
            .head()
            .header(name)
            .map_or(fl_bytes::NONE, fl_bytes::of))
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
        let all = request
            .variables
            .get_or_init(|| Variables::of(request.request.head()));
        let Some([name_at, name_size, value_at, value_size]) = all.spans.get(index) else {
            return Ok(FL_END);
        };
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
        Ok(request
            .label
            .get_or_init(|| CString::new(request.request.label()).unwrap_or_default())
            .as_ptr())
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
        Ok(c_int::from(
            request.request.head().has_token("upgrade", "websocket"),
        ))
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
            offered
                .into_iter()
                .filter_map(|name| CString::new(name).ok())
                .collect()
        });
        Ok(offered.get(index).map_or(std::ptr::null(), |name| name.as_ptr()))
    })
}

/// The task has ended: gives the slot back, while the handle stays valid. A WebSocket that is still open is closed with
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
