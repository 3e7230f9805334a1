//! The inner side of the handoff: what other threads leave for whoever drives the loop.
//!
//! Leaf queues for arrivals, events and dirty connections, each under a lock of its own that is held for one push or one
//! swap and never while another lock is taken. The rule that keeps wake-ups: push first, then [`Shared::ring`]; the driver announces that it
//! will sleep, and only then looks at the bell once more. So either the pusher sees a sleeper and wakes it, or
//! the driver sees the bell and does not sleep.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use fairlead_websocket::{CloseCode, Closure, SecureLayer, SessionSettings, Time};

use crate::absence::Absence;
use crate::connection::Connection;
use crate::poller::{Bell, Poller};
use crate::subscriptions::{ChannelSettings, Subscriptions};
use crate::watch::Watches;
use crate::{Token, THREAD_TOKEN};

/// What the loop reports to the host. A closed list: nothing else ever wakes a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// What the unit with this token waited for has changed: look again.
    Wake(Token),
    /// The deadline set with [`crate::Worker::wake_at`] has passed.
    Deadline(Token),
}

/// Where ended connections are told: label and closure.
pub type Journal = Arc<dyn Fn(&str, &Closure) + Send + Sync>;

/// The bounds of one worker's loop. Every number has its reason.
#[derive(Clone)]
pub struct WorkerSettings {
    /// Limits and time-outs of each session.
    pub session: Arc<SessionSettings>,
    /// `send` waits from this many unsent bytes on, and the peer is no longer read. 256 KiB: four times a usual
    /// socket buffer, so that a healthy peer never meets it.
    pub outbox_high: usize,
    /// `send` goes on below this. Half of the high water, so that a slow peer wakes the app seldom.
    pub outbox_low: usize,
    /// A peer that takes nothing of a waiting outbox for this long is dropped: without it, a reader that stopped
    /// would hold its memory for ever.
    pub stall_timeout: Duration,
    /// The loop thread takes the seat when nobody drove for this long, and reads for a thread that is away for
    /// this long. 2 ms: twice that stays below the promised 5 ms; 500 checks a second cost 0.2 % of a core.
    pub takeover_after: Duration,
    /// True if each app thread reads its own socket (the threads host): then the loop thread always drives.
    pub threads_read: bool,
    /// Called when the loop thread takes the seat, because nobody has driven for a while: what the driver would have
    /// done at its next turn and others wait for. It must not block.
    pub on_takeover: Arc<dyn Fn() + Send + Sync>,
    /// `on_absence` is told when no app thread has driven for this long. 1 s: long beyond a slow request of a busy worker,
    /// and soon enough for somebody who wonders why nothing answers.
    pub absence_after: Duration,
    /// Told, by the loop thread and with the seat held, that all units wait for one of the app's; it may note that,
    /// nothing else. Never where threads read.
    pub on_absence: Arc<dyn Fn(Absence) + Send + Sync>,
    /// Told of each event whose token carries [`THREAD_TOKEN`]; as `journal`, it runs with a connection locked.
    pub wake_thread: Arc<dyn Fn(Token) + Send + Sync>,
    /// The channels that connections and units can be members of; `None`: there are none.
    pub channels: Option<ChannelSettings>,
    /// Told of each connection that ends: its label and its closure. Runs on the driver's thread, with the
    /// connection locked: it may count and write a log line, nothing else.
    pub journal: Journal,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            session: Arc::default(),
            outbox_high: 256 * 1024,
            outbox_low: 128 * 1024,
            stall_timeout: Duration::from_secs(60),
            takeover_after: Duration::from_millis(2),
            threads_read: false,
            on_takeover: Arc::new(|| {}),
            absence_after: Duration::from_secs(1),
            on_absence: Arc::new(|_| {}),
            wake_thread: Arc::new(|_| {}),
            channels: None,
            journal: Arc::new(|_, _| {}),
        }
    }
}

/// A change that only the driver can make.
pub(crate) enum Arrival {
    /// A socket whose handshake is done, with the bytes that were read behind it, and its TLS if it has any.
    Join {
        connection: Arc<Connection>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn SecureLayer>>,
    },
    /// A unit that wants to be woken at a time.
    Timer { at: Time, token: Token },
    /// Every connection is to be closed, those that join later too.
    CloseAll { code: CloseCode, reason: String },
}

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
    bell: AtomicBool,
    /// Somebody outside wants the driver back: it has put something where only the driver's owner looks (a request on
    /// the desk). Unlike the bell it survives the beginning of a turn.
    called: AtomicBool,
    /// The driver is in a blocking wait, or about to be.
    sleeping: AtomicBool,
    arrivals: Mutex<Vec<Arrival>>,
    events: Mutex<Vec<Event>>,
    dirty: Mutex<Vec<Arc<Connection>>>,
    pub(crate) watches: Watches,
    /// Rung when something waits for a host whose own loop watches our descriptors, and the loop thread has taken the
    /// readiness that would have told it. Made when such a host first waits.
    host_bell: OnceLock<Bell>,
    /// The loop thread has stopped looking for app threads that are away; see `direct`.
    pub(crate) scan_parked: AtomicBool,
    /// Who is a member of which channel, if there are any.
    pub(crate) subscriptions: Option<Subscriptions>,
}

/// A panic elsewhere must cost one connection, not the loop: the data behind our locks is valid at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        poller: Box<dyn Poller>,
        settings: WorkerSettings,
        subscriptions: Option<Subscriptions>,
    ) -> Self {
        Self {
            poller,
            settings,
            counters: Counters::default(),
            bell: AtomicBool::new(false),
            called: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            arrivals: Mutex::default(),
            events: Mutex::default(),
            dirty: Mutex::default(),
            watches: Watches::default(),
            host_bell: OnceLock::new(),
            scan_parked: AtomicBool::new(true),
            subscriptions,
        }
    }

    /// Makes the current or the next wait of the driver end soon. Call it after the push.
    pub(crate) fn ring(&self) {
        self.bell.store(true, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.poller.wake();
        }
    }

    /// Makes the current or the next turn of an app's thread end without a wait, for something that is not in our queues.
    pub(crate) fn call(&self) {
        self.called.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// True once after [`Shared::call`].
    pub(crate) fn was_called(&self) -> bool {
        self.is_called() && self.called.swap(false, Ordering::SeqCst)
    }

    /// True from [`Shared::call`] to [`Shared::was_called`].
    pub(crate) fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }

    /// The driver begins a turn: what is pushed from here on rings anew.
    pub(crate) fn begin_turn(&self) {
        self.bell.store(false, Ordering::SeqCst);
    }

    /// The driver wants to sleep. False if something was pushed in the meantime; then it must not.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        let has_news = || {
            self.subscriptions
                .as_ref()
                .is_some_and(|channels| !channels.fall_asleep())
        };
        if self.bell.load(Ordering::SeqCst) || has_news() {
            self.sleeping.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    pub(crate) fn wake_up(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
        if let Some(channels) = &self.subscriptions {
            channels.wake_up();
        }
    }

    /// The descriptor that is readable while the host bell is rung.
    pub(crate) fn host_bell(&self) -> std::io::Result<BorrowedFd<'_>> {
        let bell = match self.host_bell.get() {
            Some(bell) => bell,
            None => {
                let bell = Bell::new()?;
                self.host_bell.get_or_init(|| bell)
            }
        };
        Ok(bell.descriptor())
    }

    /// Rings if something waits for the host. Called by the loop thread, whose turns took the readiness.
    pub(crate) fn call_host(&self) {
        let Some(bell) = self.host_bell.get() else { return };
        if self.is_called() || self.has_events() {
            bell.ring();
        }
    }

    /// The host is here. Before it takes the events: what comes later rings anew.
    pub(crate) fn host_is_here(&self) {
        if let Some(bell) = self.host_bell.get() {
            bell.silence();
        }
    }

    pub(crate) fn arrive(&self, arrival: Arrival) {
        lock(&self.arrivals).push(arrival);
        self.ring();
    }

    pub(crate) fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *lock(&self.arrivals))
    }

    /// Reports an event to the host. Rings only through [`Shared::ring`] of the caller: inside a turn the host
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

    /// The connection has something to write, or wants to be read again.
    pub(crate) fn mark_dirty(&self, connection: &Arc<Connection>) {
        lock(&self.dirty).push(Arc::clone(connection));
        self.ring();
    }

    /// Swaps the list of dirty connections for an empty one, so that both keep their memory.
    pub(crate) fn take_dirty(&self, empty: &mut Vec<Arc<Connection>>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut *lock(&self.dirty), empty);
    }
}
