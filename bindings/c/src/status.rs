//! What a call answers: a stable number, and a sentence for people beside it.
//!
//! Zero is done, positive is an outcome that a program meets every day, negative is an error. Numbers are never
//! reused or changed. A panic of the engine stops at this border: unwinding into C would be undefined.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Done.
pub const FL_OK: c_int = 0;
/// Nothing now; a token that was given will be woken.
pub const FL_PENDING: c_int = 1;
/// The peer is behind: nothing was taken, wait for room and send again.
pub const FL_FULL: c_int = 2;
/// The WebSocket is closed or closing.
pub const FL_CLOSED: c_int = 3;
/// The time-out passed first.
pub const FL_TIMEOUT: c_int = 4;
/// There is no more: of a body, of a list, of requests.
pub const FL_END: c_int = 5;

/// The caller's mistake; nothing was changed.
pub const FL_ERR_USAGE: c_int = -1;
/// The engine panicked in this call. A fault of Fairlead: please report it.
pub const FL_ERR_PANIC: c_int = -2;
/// The system refused something.
pub const FL_ERR_SYSTEM: c_int = -3;
/// The client is gone.
pub const FL_ERR_GONE: c_int = -4;
/// A response or a handshake was sent before.
pub const FL_ERR_ANSWERED: c_int = -5;
/// The client's WebSocket handshake breaks RFC 6455.
pub const FL_ERR_HANDSHAKE: c_int = -6;
/// A browser page of a foreign origin asked for a WebSocket.
pub const FL_ERR_ORIGIN: c_int = -7;
/// The request's body broke off.
pub const FL_ERR_BODY: c_int = -8;
/// The channels cannot do this: they are full, damaged, removed, of another version, or somebody holds their lock.
pub const FL_ERR_CHANNELS: c_int = -9;

/// Why a call failed, before it becomes a number and the thread's last error.
#[derive(Debug)]
pub(crate) struct Failure {
    status: c_int,
    text: String,
}

impl Failure {
    pub(crate) fn new(status: c_int, text: impl ToString) -> Self {
        Self {
            status,
            text: text.to_string(),
        }
    }

    pub(crate) fn usage(text: impl ToString) -> Self {
        Self::new(FL_ERR_USAGE, text)
    }

    pub(crate) fn system(error: &std::io::Error) -> Self {
        Self::new(FL_ERR_SYSTEM, error)
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The sentence that belongs to the calling thread's last negative status; "" before the first. Never NULL, UTF-8.
///
/// Valid until the thread's next failing call; copy it to keep it. From any thread.
#[no_mangle]
pub extern "C" fn fl_last_error() -> *const c_char {
    LAST.try_with(|last| last.try_borrow().map_or(c"".as_ptr(), |text| text.as_ptr()))
        .unwrap_or(c"".as_ptr())
}

/// The version of this ABI: it changes when something that worked before does not any more. Compare it with the
/// header's `FL_ABI_VERSION`. From any thread.
#[no_mangle]
pub extern "C" fn fl_abi_version() -> c_int {
    FL_ABI_VERSION
}

/// See [`fl_abi_version`].
pub const FL_ABI_VERSION: c_int = 2;

/// Runs the body of an exported function that answers a status.
pub(crate) fn guarded(body: impl FnOnce() -> Result<c_int, Failure>) -> c_int {
    match caught(body) {
        Ok(status) => status,
        Err(failure) => report(failure),
    }
}

/// Runs the body of an exported function that answers a value; `missing` stands for an error.
pub(crate) fn guarded_value<T>(missing: T, body: impl FnOnce() -> Result<T, Failure>) -> T {
    caught(body).unwrap_or_else(|failure| {
        report(failure);
        missing
    })
}

fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What the body may leave half done is behind the engine's locks, which stay usable after a panic.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(from_panic(payload)))
}

fn from_panic(payload: Box<dyn Any + Send>) -> Failure {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no message".to_owned(),
    };
    // Its drop could panic again, outside of any guard.
    std::mem::forget(payload);
    Failure::new(
        FL_ERR_PANIC,
        format!("the engine panicked: {text}; please report this"),
    )
}

fn report(failure: Failure) -> c_int {
    let mut bytes = failure.text.into_bytes();
    bytes.retain(|byte| *byte != 0);
    let text = CString::new(bytes).unwrap_or_default();
    // A thread that is just ending has no place left for the sentence; the number still arrives.
    let _ = LAST.try_with(|last| last.replace(text));
    failure.status
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn last() -> String {
        // SAFETY: `fl_last_error` never answers NULL, and no call between frees the text.
        unsafe { CStr::from_ptr(fl_last_error()) }
            .to_string_lossy()
            .into_owned()
    }

    #[test]
    fn a_panic_becomes_a_status_and_a_sentence() {
        let limit = String::from("17");
        assert_eq!(guarded(|| panic!("no slot {limit}")), FL_ERR_PANIC);
        assert!(last().contains("no slot 17"), "{}", last());
        assert_eq!(guarded_value(9, || std::panic::panic_any(1u8)), 9);
        assert!(last().contains("no message"));
    }

    #[test]
    fn the_last_error_is_the_threads_own_and_survives_a_success() {
        assert_eq!(guarded(|| Err(Failure::usage("a\0b"))), FL_ERR_USAGE);
        assert_eq!(guarded(|| Ok(FL_OK)), FL_OK);
        assert_eq!(last(), "ab");
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
    }
}
