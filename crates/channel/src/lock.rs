//! The one lock of a region, across processes: POSIX's robust mutex, in the region's header.
//!
//! Robust: when its holder dies the next one gets it, and is told, so that it can put in order what was left half done.
//! It is held for one append or one change of the directory, never while anything waits.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::time::{Duration, SystemTime};

/// A mutex that lives in shared memory.
pub(crate) struct RobustLock(NonNull<libc::pthread_mutex_t>);

// SAFETY: a process-shared mutex is made to be used from every thread of every process that maps it.
unsafe impl Send for RobustLock {}
// SAFETY: as above.
unsafe impl Sync for RobustLock {}

/// Who has it.
pub(crate) struct Held<'a> {
    lock: &'a RobustLock,
    /// The last holder died with it.
    pub(crate) was_abandoned: bool,
}

impl RobustLock {
    /// Makes a new lock in this memory.
    ///
    /// # Safety
    /// The memory is 64 bytes, aligned to eight, stays mapped for as long as the answer lives, nobody else has a lock in it
    /// at the moment, and nobody touches it but through this type.
    pub(crate) unsafe fn initialise(memory: NonNull<libc::pthread_mutex_t>) -> io::Result<()> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: the attributes are made before they are used, and unmade after; the memory is the caller's word.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
            let attributes = attributes.as_mut_ptr();
            let shared = libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED);
            let robust = libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST);
            let made = check(shared)
                .and(check(robust))
                .and_then(|()| check(libc::pthread_mutex_init(memory.as_ptr(), attributes)));
            libc::pthread_mutexattr_destroy(attributes);
            made
        }
    }

    /// The lock that [`RobustLock::initialise`] has made there, in this process or another.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn at(memory: NonNull<libc::pthread_mutex_t>) -> RobustLock {
        RobustLock(memory)
    }

    /// Takes the lock, waiting at most `patience`.
    ///
    /// # Errors
    /// `TimedOut` when its holder has it for so long, which is a stopped process; the system's else.
    pub(crate) fn lock(&self, patience: Duration) -> io::Result<Held<'_>> {
        if let Some(held) = self.try_lock()? {
            return Ok(held);
        }
        let until = SystemTime::now() + patience;
        let since_1970 = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let until = libc::timespec {
            tv_sec: since_1970.as_secs() as libc::time_t,
            tv_nsec: since_1970.subsec_nanos() as libc::c_long,
        };
        // SAFETY: the mutex is made and mapped, see `at`.
        let status = unsafe { libc::pthread_mutex_timedlock(self.0.as_ptr(), &until) };
        self.taken(status)
    }

    /// Takes the lock if nobody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> io::Result<Option<Held<'_>>> {
        // SAFETY: the mutex is made and mapped, see `at`.
        let status = unsafe { libc::pthread_mutex_trylock(self.0.as_ptr()) };
        if status == libc::EBUSY {
            return Ok(None);
        }
        self.taken(status).map(Some)
    }

    /// What one of the calls has answered.
    #[inline]
    fn taken(&self, status: i32) -> io::Result<Held<'_>> {
        let was_abandoned = status == libc::EOWNERDEAD;
        if was_abandoned {
            // Now, not when all is in order: if we die before, the next one is told as well.
            // SAFETY: we hold it.
            check(unsafe { libc::pthread_mutex_consistent(self.0.as_ptr()) })?;
        } else {
            check(status)?;
        }
        Ok(Held {
            lock: self,
            was_abandoned,
        })
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this thread holds it: `Held` is made by `lock` alone and, having a pointer, stays on its thread.
        unsafe {
            libc::pthread_mutex_unlock(self.lock.0.as_ptr());
        }
    }
}

fn check(status: i32) -> io::Result<()> {
    match status {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
