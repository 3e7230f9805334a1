//! The engine's threads take no signals.
//!
//! A thread inherits the mask of the one that starts it, so all signals are blocked while the engine starts its own. That
//! leaves a C program's signals to the program's threads. And it keeps the program alive: a plain C program has SIGPIPE
//! at its default, which kills, while the front writes with `writev(2)`, which cannot say `MSG_NOSIGNAL`; SIGPIPE goes to
//! the writing thread, and blocked it is only an EPIPE. (Rust programs and CPython ignore SIGPIPE from the start.)

use std::mem::MaybeUninit;

/// All signals blocked in this thread, until dropped.
pub(crate) struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    pub(crate) fn all() -> std::io::Result<Self> {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigfillset` initialises the set, and `sigdelset` only changes it.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            // A fault of the thread itself: the program's crash handler shall see it.
            for fault in [
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGFPE,
                libc::SIGILL,
                libc::SIGABRT,
                libc::SIGTRAP,
            ] {
                libc::sigdelset(all.as_mut_ptr(), fault);
            }
        }
        // SAFETY: `all` is initialised; `before` is a place for a set.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr()) };
        if error != 0 {
            return Err(std::io::Error::from_raw_os_error(error));
        }
        // SAFETY: the call succeeded, so it has filled it.
        let before = unsafe { before.assume_init() };
        Ok(Self { before })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set came from the system; it is only read.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_blocked(signal: libc::c_int) -> bool {
        let mut now = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: a NULL set asks only; the call fills `now`.
        unsafe {
            assert_eq!(
                libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), now.as_mut_ptr()),
                0
            );
            libc::sigismember(now.as_ptr(), signal) == 1
        }
    }

    #[test]
    fn threads_started_meanwhile_inherit_the_mask_and_this_one_gets_its_own_back() {
        let blocked = Blocked::all().unwrap();
        let inherits = || {
            (
                is_blocked(libc::SIGPIPE),
                is_blocked(libc::SIGTERM),
                is_blocked(libc::SIGSEGV),
            )
        };
        assert_eq!(std::thread::spawn(inherits).join().unwrap(), (true, true, false));
        drop(blocked);
        assert!(!is_blocked(libc::SIGPIPE));
    }
}
