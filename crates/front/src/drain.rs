//! The end, in order.
//!
//! 1. `stop_accepting`: the phase becomes *draining*. From now on nothing goes back to *open*.
//! 2. The accept tasks are aborted, which closes this process's copies of the listeners. Connections that wait in a shared
//!    listener's queue are accepted by another process, those of an unshared one are reset by the kernel.
//! 3. Every connection takes a turn. One with a request in flight answers it with `Connection: close` and closes then. A
//!    silent one, or one whose answer has begun without that word, does so with its next request, which may be on its way,
//!    and closes when none comes for a second: nobody who asks is left without an answer. An accepted upgrade still leaves
//!    the front with its socket.
//! 4. `stop`: the front's thread waits until the accept tasks have ended, which may just be accepting, and the last
//!    connection's registration is dropped, at most until the deadline.
//! 5. The runtime is dropped and with it every connection that is left: its exchange is gone, whoever waited on it is woken,
//!    an accepted upgrade is reported as lost.
//! 6. The thread ends and is joined. Nothing calls the handoff afterwards.
//!
//! The roster that makes this possible also serves the sweep: one look per tick at the deadlines of all connections instead
//! of a timer for each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::connection::Connection;
use crate::front_shared::FrontShared;
use crate::settings::FrontSettings;

/// While a drain waits for silent connections, deadlines of a second are looked at this often.
const DRAIN_TICK: Duration = Duration::from_millis(50);

/// Looks at the sockets before deadlines are judged; each finds a thousand that are ready.
const LOOKS_FIRST: u32 = 3;

/// Who is here. One per front.
pub(crate) struct Drain {
    shared: Arc<FrontShared>,
    roster: Mutex<Roster>,
    /// Accept tasks that live. An aborted one may be in the middle of an accept, and ends with its next await.
    accepting: AtomicUsize,
    left: Notify,
    begun: Notify,
}

#[derive(Default)]
struct Roster {
    /// By the key of its registration. Those of streams are swept, and count as no connections.
    registered: Slab<Arc<Connection>>,
    streams: usize,
    acceptors: Vec<AbortHandle>,
}

impl Roster {
    fn occupied(&self) -> usize {
        self.registered.len() - self.streams
    }
}

impl Drain {
    pub(crate) fn new(shared: Arc<FrontShared>) -> Drain {
        Drain {
            shared,
            roster: Mutex::default(),
            accepting: AtomicUsize::new(0),
            left: Notify::default(),
            begun: Notify::default(),
        }
    }

    pub(crate) fn active(&self) -> usize {
        self.roster().occupied()
    }

    /// Who is here, for the log.
    pub(crate) fn peers(&self) -> Vec<String> {
        let roster = self.roster();
        let registered = roster.registered.iter();
        registered
            .filter(|(_, connection)| !connection.is_stream())
            .map(|(_, connection)| connection.ends.peer.to_string())
            .collect()
    }

    /// Nobody is here and nobody can come any more.
    pub(crate) fn is_over(&self) -> bool {
        // In this order: whoever was accepted has a registration before the accept task ends.
        self.accepting.load(Ordering::Acquire) == 0 && self.active() == 0
    }

    pub(crate) fn add_acceptor(&self, acceptor: AbortHandle) {
        self.roster().acceptors.push(acceptor);
    }

    /// Steps 1 to 3. From any thread, any number of times.
    pub(crate) fn begin(&self) {
        if !self.shared.begin_drain() {
            return;
        }
        let mut roster = self.roster();
        let acceptors = std::mem::take(&mut roster.acceptors);
        let connections: Vec<_> = roster
            .registered
            .iter()
            .map(|(_, connection)| Arc::clone(connection))
            .collect();
        drop(roster);
        for acceptor in acceptors {
            acceptor.abort();
        }
        for connection in connections {
            connection.wake();
        }
        self.left.notify_one();
        self.begun.notify_one();
    }

    /// Step 4: until nobody is left.
    pub(crate) async fn wait_empty(&self) {
        while !self.is_over() {
            self.left.notified().await;
        }
    }

    /// Wakes the connections whose deadline has passed, for ever.
    pub(crate) async fn sweep(&self) {
        let mut tick = tick(&self.shared.settings);
        loop {
            if tokio::time::timeout(tick, self.begun.notified()).await.is_ok() {
                tick = tick.min(DRAIN_TICK);
            }
            let now = self.shared.now_ms();
            // A process that was stopped, or got no time, wakes up with all deadlines passed, and with requests in its
            // sockets that nobody has looked at: a signal ends epoll_wait(2) without a look. So first those have their turn.
            for _ in 0..LOOKS_FIRST {
                tokio::task::yield_now().await;
            }
            // On the front's own thread, so a wake-up takes no system call and no lock of the roster's users.
            for (_, connection) in &self.roster().registered {
                connection.wake_if_due(now);
            }
        }
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A deadline may be late by a tenth of the shortest time-out, within bounds: a second is fine for people, ten milliseconds
/// for tests.
fn tick(settings: &FrontSettings) -> Duration {
    let shortest = settings
        .header_timeout
        .min(settings.keep_alive_timeout)
        .min(settings.stall_timeout);
    (shortest / 10).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

/// An accept task's mark, for as long as it lives.
pub(crate) struct AcceptTask(Arc<Drain>);

impl AcceptTask {
    pub(crate) fn new(drain: &Arc<Drain>) -> AcceptTask {
        drain.accepting.fetch_add(1, Ordering::Relaxed);
        AcceptTask(Arc::clone(drain))
    }
}

impl Drop for AcceptTask {
    fn drop(&mut self) {
        self.0.accepting.fetch_sub(1, Ordering::Release);
        self.0.left.notify_one();
    }
}

/// A connection's place in the roster, for as long as its task lives.
pub(crate) struct Registration {
    drain: Arc<Drain>,
    connection: Arc<Connection>,
    key: usize,
    is_stream: bool,
}

impl Registration {
    pub(crate) fn take(drain: &Arc<Drain>, connection: Arc<Connection>) -> Registration {
        Registration::take_for(drain, connection, false)
    }

    /// For a stream of this registration's connection.
    pub(crate) fn beside(&self, stream: Arc<Connection>) -> Registration {
        Registration::take_for(&self.drain, stream, true)
    }

    fn take_for(drain: &Arc<Drain>, connection: Arc<Connection>, is_stream: bool) -> Registration {
        let mut roster = drain.roster();
        roster.streams += usize::from(is_stream);
        let key = roster.registered.insert(Arc::clone(&connection));
        drop(roster);
        Registration {
            drain: Arc::clone(drain),
            connection,
            key,
            is_stream,
        }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut roster = self.drain.roster();
        // `connection` refers to it too, so this drops no more than a count.
        roster.registered.remove(self.key);
        roster.streams -= usize::from(self.is_stream);
        let is_last = roster.occupied() == 0;
        drop(roster);
        if is_last && self.drain.shared.is_draining() {
            self.drain.left.notify_one();
        }
    }
}
