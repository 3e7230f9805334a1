//! The inner side of the handoff: what other threads leave for whoever drives the loop.
//!
//! The leaf queues of events and dirty connections (that of `arrivals` follows the same rules), each under a lock of its own
//! that is held for one push or one swap and never while another lock is taken. The rule that keeps wake-ups: push first,
//! then [`Shared::wake_driver`]; the driver announces that it will sleep, and only then looks once more whether it was notified. So either the pusher sees a sleeper and wakes it, or
//! the driver sees that it was notified and does not sleep.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::event::{Event, THREAD_TOKEN};
use crate::poller::{Poller, Waker};
use crate::settings::WorkerSettings;

/// Marks a key in the list of dirty connections: so whoever has no heartbeat is never asked for it. The bit that a slab never
/// sets.
pub(crate) const HEARTBEAT_BIT: u64 = 1 << 63;

/// Counters of one worker, read by anyone.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) turns: AtomicU64,
    pub(crate) takeovers: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) left: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// What the driver, the app's threads and the front share.
pub(crate) struct Shared {
    pub(crate) poller: Box<dyn Poller>,
    pub(crate) settings: WorkerSettings,
    pub(crate) counters: Counters,
    /// Set when anything below was pushed since the driver last began a turn.
    notified: AtomicBool,
    /// Somebody outside wants the driver back: it has put something where only the driver's owner looks (a request
    /// in a queue of its own). Unlike `notified` it survives the beginning of a turn.
    app_woken: AtomicBool,
    /// The driver is in a blocking wait, or about to be.
    sleeping: AtomicBool,
    events: Mutex<Vec<Event>>,
    /// Connections with something for the driver to do, by the loop's keys.
    dirty: Mutex<Vec<u64>>,
    /// Set when something waits for a runner whose own loop watches our descriptors, and the loop thread has taken the
    /// readiness that would have told it. Made when such a runner first waits.
    runner_waker: OnceLock<Waker>,
    /// The loop thread has stopped looking for app threads that are away; see `direct`.
    pub(crate) scan_parked: AtomicBool,
}

/// A panic elsewhere must cost one connection, not the loop: the data behind our locks is valid at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(poller: Box<dyn Poller>, settings: WorkerSettings) -> Self {
        Self {
            poller,
            settings,
            counters: Counters::default(),
            notified: AtomicBool::new(false),
            app_woken: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            events: Mutex::default(),
            dirty: Mutex::default(),
            runner_waker: OnceLock::new(),
            scan_parked: AtomicBool::new(true),
        }
    }

    /// Makes the current or the next wait of the driver end soon. Call it after the push.
    pub(crate) fn wake_driver(&self) {
        // Most messages find it set. Then the next turn has not begun, and will see the push: whoever begins it unsets this
        // first and looks into the queues afterwards. So nothing is written that all threads share.
        if !self.notified.load(Ordering::SeqCst) {
            self.notified.store(true, Ordering::SeqCst);
        }
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.poller.wake();
        }
    }

    /// Makes the current or the next turn of an app's thread end without a wait, for something that is not in our queues.
    pub(crate) fn wake_app(&self) {
        self.app_woken.store(true, Ordering::SeqCst);
        self.wake_driver();
    }

    /// True once after [`Shared::wake_app`].
    pub(crate) fn take_app_wake(&self) -> bool {
        self.is_app_woken() && self.app_woken.swap(false, Ordering::SeqCst)
    }

    /// True from [`Shared::wake_app`] to [`Shared::take_app_wake`].
    pub(crate) fn is_app_woken(&self) -> bool {
        self.app_woken.load(Ordering::SeqCst)
    }

    /// The driver begins a turn: what is pushed from here on notifies anew.
    pub(crate) fn begin_turn(&self) {
        self.notified.store(false, Ordering::SeqCst);
    }

    /// The driver wants to sleep. False if something was pushed in the meantime; then it must not.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        if self.notified.load(Ordering::SeqCst) {
            self.sleeping.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    pub(crate) fn wake_up(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// The descriptor that is readable while the runner is to come.
    pub(crate) fn runner_waker(&self) -> std::io::Result<BorrowedFd<'_>> {
        let waker = match self.runner_waker.get() {
            Some(waker) => waker,
            None => {
                let waker = Waker::new()?;
                self.runner_waker.get_or_init(|| waker)
            }
        };
        Ok(waker.descriptor())
    }

    /// Descriptors of the loop that a process which was forked from this one shares with it.
    pub(crate) fn own_descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let waker = self.runner_waker.get().map(Waker::descriptor);
        std::iter::once(self.poller.descriptor()).chain(waker)
    }

    /// Wakes the runner if something waits for it. Called by the loop thread, whose turns took the readiness.
    pub(crate) fn wake_runner(&self) {
        let Some(waker) = self.runner_waker.get() else {
            return;
        };
        if self.is_app_woken() || self.has_events() {
            waker.wake();
        }
    }

    /// The runner is here. Before it takes the events: what comes later wakes it anew.
    pub(crate) fn runner_is_here(&self) {
        if let Some(waker) = self.runner_waker.get() {
            waker.clear();
        }
    }

    /// Reports an event to the runner. It wakes nobody; that is [`Shared::wake_driver`], by the caller: inside a turn the runner
    /// gets the events when the turn ends anyway.
    pub(crate) fn report(&self, event: Event) {
        let (Event::Wake(token) | Event::Deadline(token)) = event;
        if token & THREAD_TOKEN == 0 {
            lock(&self.events).push(event);
        } else {
            (self.settings.wake_thread)(token);
        }
    }

    pub(crate) fn take_events(&self, into: &mut Vec<Event>) {
        into.append(&mut lock(&self.events));
    }

    pub(crate) fn has_events(&self) -> bool {
        !lock(&self.events).is_empty()
    }

    /// The connection with this key has something to write, or wants to be read again.
    pub(crate) fn mark_dirty(&self, key: u64) {
        lock(&self.dirty).push(key);
        self.wake_driver();
    }

    /// The heartbeat of the connection with this key is to be timed. The driver comes for the connection anyway.
    #[cold]
    pub(crate) fn mark_heartbeat(&self, key: u64) {
        lock(&self.dirty).push(key | HEARTBEAT_BIT);
    }

    /// Swaps the list of dirty connections for an empty one, so that both keep their memory.
    pub(crate) fn take_dirty(&self, empty: &mut Vec<u64>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut *lock(&self.dirty), empty);
    }
}
