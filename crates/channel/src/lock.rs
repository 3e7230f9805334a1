//! The one lock of a region, across processes: POSIX's robust mutex, in the region's header.
//!
//! Robust: when its holder dies the next one gets it, and is told, so that it can put in order what was left half done.
//! It is held for one append or one change of the directory, never while anything waits. Its holder may be stopped all the
//! same, so whoever waits for it says for how long; the time is the monotonic clock's.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A mutex that lives in shared memory.
pub(crate) struct RobustLock(NonNull<libc::pthread_mutex_t>);

// SAFETY: a process-shared mutex is made to be used from every thread of every process that maps it.
unsafe impl Send for RobustLock {}
// SAFETY: as above.
unsafe impl Sync for RobustLock {}

/// How often a waiting thread looks before it lets others run, and how often it does that before it sleeps. An append takes
/// a microsecond.
const LOOKS: u32 = 50;
const YIELDS: u32 = 60;
/// How long it sleeps between two looks, at first and at most.
const NAP: Duration = Duration::from_micros(50);
const LONGEST_NAP: Duration = Duration::from_millis(2);

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
        // POSIX's timed lock has the wall clock, which may jump; the one with a choice of clocks is missing in older C
        // libraries. So this looks again and again.
        let (mut looks, mut nap) = (0, NAP);
        let begun = Instant::now();
        loop {
            if let Some(held) = self.try_lock()? {
                return Ok(held);
            }
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
                continue;
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if looks < YIELDS {
                std::thread::yield_now();
            } else {
                std::thread::sleep(nap.min(left));
                nap = (nap * 2).min(LONGEST_NAP);
            }
        }
    }

    /// The thread that has it, by the system's number, while somebody has.
    pub(crate) fn holder(&self) -> Option<u32> {
        if !cfg!(target_env = "gnu") {
            return None; // another C library may keep it elsewhere
        }
        // SAFETY: the mutex is made and mapped; its first word is the one that the kernel knows (set_robust_list(2)).
        let word = unsafe { AtomicU32::from_ptr(self.0.as_ptr().cast()) }.load(Ordering::Relaxed);
        Some(word & libc::FUTEX_TID_MASK).filter(|thread| *thread != 0)
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
