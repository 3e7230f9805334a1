//! What comes from C is checked here before anything uses it: handles, strings, arrays, places for results.
//!
//! Every handle is a boxed struct whose first word is a tag of its kind. A call looks at it first, so that NULL, a handle
//! of another kind and (as long as nobody else got the memory) a handle that was freed are answered with
//! `FL_ERR_USAGE`. That last case is a help in debugging, not a promise: who frees a handle must not use it again.

use std::ffi::{c_char, c_int, CStr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::status::Failure;

/// Bytes that belong to somebody else. `data` is NULL where there is nothing (a header that was not sent), and not NULL
/// for something that is empty.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_bytes {
    /// The first byte. Followed by a NUL only where a function says so.
    pub data: *const c_char,
    /// How many.
    pub size: usize,
}

impl fl_bytes {
    pub(crate) const NONE: Self = Self {
        data: std::ptr::null(),
        size: 0,
    };

    pub(crate) fn of(bytes: &[u8]) -> Self {
        // An empty slice may lie anywhere; C gets an address that it may look at.
        let data = if bytes.is_empty() {
            c"".as_ptr()
        } else {
            bytes.as_ptr().cast()
        };
        Self {
            data,
            size: bytes.len(),
        }
    }
}

/// The first word of every handle.
pub(crate) struct Tag(AtomicU32);

impl Tag {
    pub(crate) fn of<H: Handle>() -> Self {
        Self(AtomicU32::new(H::TAG))
    }
}

/// A struct that C holds a pointer to.
///
/// # Safety
/// The struct is `repr(C)` and its first field is a [`Tag`]; no two kinds share a `TAG`, and none is 0.
pub(crate) unsafe trait Handle: Send + Sync + Sized {
    const TAG: u32;
    const NAME: &'static str;
}

/// Gives a handle to C.
pub(crate) fn give<H: Handle>(handle: H) -> *mut H {
    Box::into_raw(Box::new(handle))
}

/// Looks at a handle that C still owns.
///
/// # Safety
/// `handle` is NULL, or came from [`give`] (of any kind) and is not freed during `'a`.
pub(crate) unsafe fn live<'a, H: Handle>(handle: *const H) -> Result<&'a H, Failure> {
    // SAFETY: the caller's promise.
    if unsafe { tag(handle) }?.load(Ordering::Relaxed) != H::TAG {
        return Err(Failure::usage(format!(
            "this is no live {}: it was freed, or is a handle of another kind",
            H::NAME
        )));
    }
    // SAFETY: the tag says that it is an `H` that was not freed.
    Ok(unsafe { &*handle })
}

/// Takes a handle back from C.
///
/// # Safety
/// As for [`live`], and no other call uses the handle.
pub(crate) unsafe fn take<H: Handle>(handle: *mut H) -> Result<Box<H>, Failure> {
    // SAFETY: the caller's promise.
    let tag = unsafe { tag(handle) }?;
    if tag
        .compare_exchange(H::TAG, 0, Ordering::Relaxed, Ordering::Relaxed)
        .is_err()
    {
        return Err(Failure::usage(format!(
            "this is no live {}: it was freed before, or is of another kind",
            H::NAME
        )));
    }
    // SAFETY: `give` boxed it, and the exchange lets only one call come here.
    Ok(unsafe { Box::from_raw(handle) })
}

/// # Safety
/// As for [`live`].
unsafe fn tag<'a, H: Handle>(handle: *const H) -> Result<&'a AtomicU32, Failure> {
    if handle.is_null() {
        return Err(Failure::usage(format!("the {} is NULL", H::NAME)));
    }
    if !handle.is_aligned() {
        return Err(Failure::usage(format!(
            "this is no {}: the address is not one of ours",
            H::NAME
        )));
    }
    // SAFETY: whatever its kind, it begins with a tag (`Handle`), and the caller says that it lives.
    Ok(unsafe { &(*handle.cast::<Tag>()).0 })
}

/// A place for a result.
///
/// # Safety
/// `place` is NULL or valid for writes; it may hold anything.
pub(crate) unsafe fn put<T>(place: *mut T, value: T) -> Result<(), Failure> {
    check_place(place)?;
    // SAFETY: neither NULL nor crooked, and the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}

/// For places that must be good before something is taken that could not be put back.
pub(crate) fn check_place<T>(place: *const T) -> Result<(), Failure> {
    if place.is_null() || !place.is_aligned() {
        return Err(Failure::usage(
            "the place for the result is NULL, or not aligned for its type",
        ));
    }
    Ok(())
}

/// # Safety
/// `data` is NULL (then `size` must be 0) or has `size` readable elements for as long as `'a`.
pub(crate) unsafe fn slice<'a, T>(data: *const T, size: usize, what: &str) -> Result<&'a [T], Failure> {
    if size == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() || size > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::usage(format!(
            "{what}: {size} are announced, but the address or the number cannot be right"
        )));
    }
    // SAFETY: checked as far as it can be, and the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, size) })
}

/// A NUL-terminated string; `None` for NULL.
///
/// # Safety
/// `text` is NULL or NUL-terminated and unchanged during `'a`.
pub(crate) unsafe fn optional_text<'a>(text: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map(Some)
        .map_err(|_| Failure::usage(format!("{what} is not UTF-8")))
}

/// # Safety
/// As for [`optional_text`].
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    unsafe { optional_text(text, what) }?.ok_or_else(|| Failure::usage(format!("{what} is NULL")))
}

/// A time-out in C's fashion: negative is none.
pub(crate) fn limit(timeout_ms: c_int) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// Milliseconds, with the largest values cut to what every clock can add: 34 years.
pub(crate) fn millis(value: u64) -> Duration {
    Duration::from_millis(value.min(1 << 40))
}
