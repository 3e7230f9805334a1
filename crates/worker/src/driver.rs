//! Who drives: one loop, turned by whoever waits and has the [`DriverLock`].
//!
//! Under the coroutine runners the app's own thread drives ([`Worker::drive`]), so that a message crosses no thread.
//! The loop thread watches: when nobody has begun a turn for two milliseconds it becomes the driver and drives until
//! the app wants to drive again; pings, time-outs, flushing and reading go on whatever the app does. Under the threads runner
//! it always drives.
//!
//! No wake-up is lost: who wants to drive sets `wanted` and wakes the poller, and the loop thread asks `wanted`
//! after every wait; the poller remembers a wake that came before a wait. A runner with a loop of its own (gevent,
//! asyncio) watches the poller's descriptor instead of waiting in a turn; the loop thread then watches it too, and
//! takes over when it stays ready. What its turns find for the runner sets a waker that the runner watches as well.
//!
//! While the app's thread waits the loop thread sleeps without a limit: in a park while that waits in the poller, and in a
//! poll while it waits in a loop of its own. Who ends such a wait looks whether it sleeps, and wakes it: the app may
//! compute next.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use fairlead_websocket::Time;

use crate::event::Event;
use crate::inbox::Shared;
use crate::poller::Waker;
use crate::reactor::{Reactor, Sources};
use crate::watchdog::Watchdog;

/// The reactor, and who has it: the one driver.
pub(crate) struct DriverLock {
    reactor: Mutex<Reactor>,
    /// An app thread is inside a turn.
    app_drives: AtomicBool,
    /// The app's own loop watches our descriptors, and comes when they are ready; or it computes, which looks the same.
    app_is_outside: AtomicBool,
    /// Counts the turns of app threads.
    app_turns: AtomicU64,
    /// An app thread wants to drive.
    wanted: AtomicBool,
    /// The loop thread is the driver, or is about to be.
    loop_drives: AtomicBool,
    /// Since when, in the loop's milliseconds.
    taken_at: AtomicU64,
    /// The loop thread sleeps without a limit.
    watch_asleep: AtomicBool,
    /// The loop thread polls without a limit, for a runner that is outside; woken it looks again.
    watch_polls: AtomicBool,
    recall: OnceLock<Waker>,
    stopped: AtomicBool,
    watcher: OnceLock<Thread>,
}

impl DriverLock {
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            reactor: Mutex::new(Reactor::new(sources)),
            app_drives: AtomicBool::new(false),
            app_is_outside: AtomicBool::new(false),
            app_turns: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            loop_drives: AtomicBool::new(false),
            taken_at: AtomicU64::new(0),
            watch_asleep: AtomicBool::new(false),
            watch_polls: AtomicBool::new(false),
            recall: OnceLock::new(),
            stopped: AtomicBool::new(false),
            watcher: OnceLock::new(),
        }
    }

    /// One turn by an app thread, and all events reported so far.
    pub(crate) fn drive(&self, shared: &Shared, events: &mut Vec<Event>, limit: Option<Duration>) {
        self.app_is_outside.store(false, Ordering::SeqCst);
        self.app_drives.store(true, Ordering::SeqCst);
        self.app_turns.fetch_add(1, Ordering::Relaxed);
        if self.watch_polls.load(Ordering::SeqCst) && self.watch_polls.swap(false, Ordering::SeqCst) {
            if let Some(recall) = self.recall.get() {
                recall.wake();
            }
        }
        shared.runner_is_here();
        let mut reactor = self.take(shared);
        reactor.turn(shared, limit, true);
        drop(reactor);
        self.app_drives.store(false, Ordering::SeqCst);
        if self.watch_asleep.load(Ordering::SeqCst) && self.watch_asleep.swap(false, Ordering::SeqCst) {
            if let Some(watcher) = self.watcher.get() {
                watcher.unpark();
            }
        }
        shared.take_events(events);
    }

    /// Makes ready for a runner that will leave to a foreign loop.
    pub(crate) fn expect_foreign_loop(&self) -> std::io::Result<()> {
        if self.recall.get().is_none() {
            let waker = Waker::new()?;
            self.recall.get_or_init(|| waker);
        }
        Ok(())
    }

    /// The app has done what the last turn told it, and waits in a loop of its own now.
    pub(crate) fn leave_to_foreign_loop(&self, shared: &Shared) {
        self.take(shared).leave_to_foreign_loop(shared);
        self.app_is_outside.store(true, Ordering::SeqCst);
    }

    /// True while the loop thread is the driver, and in the moment before, when `on_takeover` is called.
    pub(crate) fn loop_drives(&self) -> bool {
        self.loop_drives.load(Ordering::SeqCst)
    }

    /// How long the app has been away, counted from the takeover; zero while it drives.
    pub(crate) fn app_away_for(&self, now: Time) -> Duration {
        if !self.loop_drives() {
            return Duration::ZERO;
        }
        let since = self.taken_at.load(Ordering::SeqCst);
        Duration::from_millis(now.as_millis().saturating_sub(since))
    }

    fn take(&self, shared: &Shared) -> MutexGuard<'_, Reactor> {
        match self.reactor.try_lock() {
            Ok(reactor) => return reactor,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
        self.wanted.store(true, Ordering::SeqCst);
        shared.poller.wake();
        let reactor = self.reactor.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(false, Ordering::SeqCst);
        reactor
    }

    pub(crate) fn stop(&self, shared: &Shared) {
        self.stopped.store(true, Ordering::SeqCst);
        shared.poller.wake();
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The life of the loop thread.
    fn watch(&self, shared: &Shared) {
        let mut seen = 0;
        let mut unchanged_waits = 0;
        while !self.is_stopped() {
            if shared.settings.threads_read {
                self.drive_as_loop(shared, None);
                continue;
            }
            std::thread::park_timeout(shared.settings.limits.takeover_after);
            let turns = self.app_turns.load(Ordering::Relaxed);
            if self.app_is_outside.load(Ordering::SeqCst) && turns == seen && !shared.poller.is_ready() {
                // Nothing is ready, so nobody is late. When something is, the app has its time to come for it.
                if self.sleep_while_app_is_outside(shared) {
                    continue;
                }
            }
            if self.app_drives.load(Ordering::SeqCst) {
                // The same wait, twice seen: sleep until it ends.
                unchanged_waits = if turns == seen { unchanged_waits + 1 } else { 0 };
                seen = turns;
                if unchanged_waits >= 2 {
                    self.sleep_while_app_waits();
                    unchanged_waits = 0;
                }
            } else if turns != seen {
                seen = turns;
            } else {
                shared.counters.takeovers.fetch_add(1, Ordering::Relaxed);
                self.taken_at
                    .store(shared.poller.now().as_millis(), Ordering::SeqCst);
                // In this order: who sees the flag unset does something before the takeover, and is told of it.
                self.loop_drives.store(true, Ordering::SeqCst);
                (shared.settings.on_takeover)();
                self.stand_in(shared);
                self.loop_drives.store(false, Ordering::SeqCst);
                seen = self.app_turns.load(Ordering::Relaxed);
            }
        }
    }

    fn sleep_while_app_waits(&self) {
        self.watch_asleep.store(true, Ordering::SeqCst);
        // The app may have left before it could see the flag; then nobody would wake us.
        while self.app_drives.load(Ordering::SeqCst)
            && self.watch_asleep.load(Ordering::SeqCst)
            && !self.is_stopped()
        {
            std::thread::park();
        }
        self.watch_asleep.store(false, Ordering::SeqCst);
    }

    /// False if that cannot be done.
    fn sleep_while_app_is_outside(&self, shared: &Shared) -> bool {
        let Some(recall) = self.recall.get() else {
            return false;
        };
        self.watch_polls.store(true, Ordering::SeqCst);
        // The app may have come back before it could see the flag; then nobody would wake us.
        if self.app_is_outside.load(Ordering::SeqCst) {
            shared.poller.wait_ready_or(recall.descriptor());
        }
        self.watch_polls.store(false, Ordering::SeqCst);
        recall.clear();
        true
    }

    /// Drives until the app comes back, and tells if that takes long.
    fn stand_in(&self, shared: &Shared) {
        let settings = &shared.settings;
        let mut stall = Watchdog::since(shared.poller.now(), settings.limits.stall_after);
        self.drive_as_loop(shared, Some(&mut stall));
        if let Some(ended) = stall.end(shared.poller.now()) {
            (settings.on_stall)(ended);
        }
    }

    fn drive_as_loop(&self, shared: &Shared, mut stall: Option<&mut Watchdog>) {
        let mut reactor = self.reactor.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.wanted.load(Ordering::SeqCst) && !self.is_stopped() {
            let limit = stall.as_ref().map(|stall| stall.quiet_for(shared.poller.now()));
            reactor.turn(shared, limit, false);
            shared.wake_runner();
            if let Some(lasts) = stall.as_mut().and_then(|stall| stall.look(shared.poller.now())) {
                (shared.settings.on_stall)(lasts);
            }
        }
        drop(reactor);
        // The lock is not fair: let the thread that wants it have it before we may come back.
        while self.wanted.load(Ordering::SeqCst) && !self.is_stopped() {
            std::thread::yield_now();
        }
    }
}

/// Starts the loop thread.
pub(crate) fn spawn(driver: Arc<DriverLock>, shared: Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let for_thread = Arc::clone(&driver);
    let handle = std::thread::Builder::new()
        .name("fairlead-loop".into())
        .spawn(move || for_thread.watch(&shared))?;
    let _ = driver.watcher.set(handle.thread().clone());
    Ok(handle)
}
