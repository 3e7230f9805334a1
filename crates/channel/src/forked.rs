//! A process that was forked from one with channels, without a new program: what its copy of them may still do.
//!
//! Publishing and looking back need the region alone, and the region is shared. Everything else is the parent's: its place,
//! its members, its loop and the threads that would wake it. The copy must not give those up when it ends, and it must not
//! take a lock of the parent's memory that a thread held which is not there.

use std::sync::atomic::{AtomicBool, Ordering};

static IS_FORKED: AtomicBool = AtomicBool::new(false);

/// This process has been forked. By the binding, in the child, before anything else.
pub fn note_fork() {
    IS_FORKED.store(true, Ordering::Relaxed);
}

/// True in a process that [`note_fork`] was called in.
#[inline]
pub fn is_forked() -> bool {
    IS_FORKED.load(Ordering::Relaxed)
}
