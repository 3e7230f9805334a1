//! Memory that was freed goes back to the system once it is quiet.
//!
//! An allocator keeps what is freed for the next time. After a crowd of connections has gone that is most of what the process
//! had, and the next crowd may never come. So when many tasks have ended, a thread of a few seconds waits until few do, and
//! gives back what lies free. Under a load that stays as it is nothing is given back: it would be wanted again at once.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Tasks that have to end before it is worth a look: fewer leave a few hundred KiB behind.
const WORTH: usize = 100;

/// How long a look lasts, and into how many times fewer ends than in the busiest one means that it is quiet.
const LOOK: Duration = Duration::from_secs(1);
const QUIET: usize = 8;

/// Counts the ends of tasks.
#[derive(Default)]
pub(crate) struct Trimmer {
    ended: AtomicUsize,
    /// The thread is there.
    looks: AtomicBool,
}

impl Trimmer {
    /// A task has ended.
    pub(crate) fn count_end(self: &Arc<Self>) {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if ended < WORTH || self.looks.load(Ordering::Relaxed) || self.looks.swap(true, Ordering::SeqCst) {
            return;
        }
        let trimmer = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("fairlead-trim".into())
            .spawn(move || trimmer.wait_and_trim());
        if thread.is_err() {
            // No thread to be had: the next end asks again.
            self.looks.store(false, Ordering::SeqCst);
        }
    }

    fn wait_and_trim(&self) {
        let mut busiest = self.ended.swap(0, Ordering::Relaxed);
        loop {
            std::thread::sleep(LOOK);
            let ended = self.ended.swap(0, Ordering::Relaxed);
            busiest = busiest.max(ended);
            if ended <= busiest / QUIET {
                break;
            }
        }
        give_back();
        self.looks.store(false, Ordering::SeqCst);
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it takes the allocator's own locks, and touches what is free only.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}
