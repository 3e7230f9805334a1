//! What comes from C beside handles, strings and arrays (`handle`): values with a meaning to the engine, each checked once.
//!
//! Close codes, lists of headers, descriptors, and the two rules on who may call what: a wait fits the engine's delivery, and some
//! calls are one thread's at a time. Any file of the binding may use this one; it knows none of the handles.

use std::ffi::{c_char, c_int, CStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use fairlead_engine as fl;
use fl::{CloseCode, Delivery};

use crate::handle::{give, put, slice, take, text, Handle};
use crate::status::{guarded, Failure, FL_OK};

/// "No limit" for waits that want a number.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A header of a response: NUL-terminated strings.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_header {
    /// A token, RFC 9110 §5.6.2.
    pub name: *const c_char,
    /// Any bytes but control characters.
    pub value: *const c_char,
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
        let (name, value) = unsafe {
            (
                text(header.name, "a header's name")?,
                CStr::from_ptr(header.value),
            )
        };
        Ok((name.to_owned(), value.to_bytes().to_vec()))
    };
    headers.iter().map(pair).collect()
}

/// A close code that may travel (RFC 6455 §7.4).
pub(crate) fn close_code(code: c_int) -> Result<CloseCode, Failure> {
    u16::try_from(code).ok().map(CloseCode).filter(|code| code.is_valid_on_wire()).ok_or_else(|| {
        Failure::usage(format!(
            "{code} is not a close code that may be sent (RFC 6455 §7.4); use 1000, 1001, 1008, 1011 or 3000 to 4999"
        ))
    })
}

/// Tokens are woken by `fl_engine_poll`, and a thread that polls must not block: each delivery has its own waits.
pub(crate) fn only_with(delivery: Delivery, wanted: Delivery) -> Result<(), Failure> {
    match (delivery == wanted, wanted) {
        (true, _) => Ok(()),
        (false, Delivery::Loop) => Err(Failure::usage(
            "tokens are for FL_DELIVERY_LOOP; use the blocking call",
        )),
        (false, Delivery::Threads) => Err(Failure::usage(
            "blocking is for FL_DELIVERY_THREADS; wait with a token",
        )),
    }
}

/// For what one thread may do at a time: a second one is told so, instead of waiting for ever.
pub(crate) fn only_thread<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, Failure> {
    match mutex.try_lock() {
        Ok(guard) => Ok(guard),
        // After a panic the data is still in order: it changes in single steps.
        Err(TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
        Err(TryLockError::WouldBlock) => Err(Failure::usage(
            "another thread is inside this call; one at a time may be",
        )),
    }
}

/// A descriptor of our own, so that nobody closes the other's.
pub(crate) fn duplicate(descriptor: c_int) -> std::io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            format!("{descriptor} is no descriptor"),
        ));
    }
    // SAFETY: not -1, and used for this one call only, which finds out whether it is open.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

/// Names with values, both UTF-8.
///
/// # Safety
/// As for [`header_list`].
pub(crate) unsafe fn pair_list(
    pairs: *const fl_header,
    count: usize,
    what: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let utf8 = |value: Vec<u8>| String::from_utf8(value).map_err(|_| Failure::usage("a value is not UTF-8"));
    // SAFETY: the caller's promise.
    unsafe { header_list(pairs, count, what) }?
        .into_iter()
        .map(|(name, value)| Ok((name, utf8(value)?)))
        .collect()
}

/// # Safety
/// `list` is NULL or has `count` NUL-terminated strings.
pub(crate) unsafe fn strings(
    list: *const *const c_char,
    count: usize,
    what: &str,
) -> Result<Vec<String>, Failure> {
    // SAFETY: the caller's promise.
    let list = unsafe { slice(list, count, what) }?;
    // SAFETY: the caller's promise.
    list.iter()
        .map(|&item| unsafe { text(item, what) }.map(str::to_owned))
        .collect()
}

/// The body of a function that gives C a handle: `*place` is NULL after an error.
///
/// # Safety
/// `place` is NULL or writable.
pub(crate) unsafe fn guarded_handle<H: Handle>(
    place: *mut *mut H,
    make: impl FnOnce() -> Result<H, Failure>,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { put(place, std::ptr::null_mut()) }?;
        let handle = give(make()?);
        // SAFETY: as above.
        unsafe { put(place, handle) }?;
        Ok(FL_OK)
    })
}

/// The body of a function that takes one back; NULL is no error.
///
/// # Safety
/// `handle` is NULL or live, and used by nobody else.
pub(crate) unsafe fn free<H: Handle>(handle: *mut H) -> c_int {
    guarded(|| {
        if !handle.is_null() {
            // SAFETY: the caller's promise.
            drop(unsafe { take(handle) }?);
        }
        Ok(FL_OK)
    })
}
