//! The worker: one loop per process that owns all its sessions, and the one who drives it.
//!
//! # The turn
//! Dirty outboxes flushed, one write each → arrivals join → wait → timers due → ready sockets read and parsed →
//! events handed to the runner. `reactor` says more.
//!
//! # Who drives
//! `driver`: the app's own thread while it waits, the loop thread as soon as nobody has driven for two milliseconds.
//!
//! # Locks, in the order in which they may be taken
//! 1. The driver lock: one per worker.
//! 2. The table of `subscriptions`.
//! 3. The state of a connection.
//! 4. One of the leaf queues of `inbox`.
//!
//! The app's verbs take 3 and 4, joining a channel 2, 3 and 4, the driver all of them. Nothing waits for a socket, a thread
//! or a language while it holds one; `direct` blocks with none held.
//!
//! # What a crash leaves
//! Nothing outside the process: sockets close with it. A panic in a verb or a turn poisons no lock for the others
//! (see `inbox::lock`).
//!
//! This crate knows no front, no HTTP, no tokio and no language. Linux's own calls stand in `poller`.

#![forbid(unsafe_code)]

mod arrivals;
mod backlog;
mod connection;
mod delivery;
mod direct;
mod driver;
mod event;
mod frames;
mod inbox;
mod members;
mod outbox;
mod poller;
mod process_exit;
mod reactor;
mod readiness_descriptor;
mod settings;
mod slab;
mod subscriber;
mod subscription;
mod subscriptions;
mod timers;
mod watch;
mod watchdog;

#[cfg(test)]
mod tests;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fairlead_websocket::{CloseCode, Negotiated, Time, TlsRecordLayer};

pub use backlog::SlowConsumer;
pub use connection::{Connection, Received, Sent};
pub use direct::IsReceiving;
pub use event::{Event, Token, Waiting, THREAD_TOKEN};
pub use frames::Style;
pub use poller::{EpollPoller, Interest, Poller, Readiness};
pub use process_exit::{end_this_process, explain_lost_descriptors, wait_for_hang_up, DESCRIPTORS_ARE_LOST};
pub use readiness_descriptor::ReadinessDescriptor;
pub use settings::{ChannelSettings, LoopLimits, SessionLog, WorkerSettings};
pub use slab::Slab;
pub use subscriber::Subscriber;
pub use subscription::{Drops, Message, Taken};
pub use subscriptions::{JoinAnswer, JoinError, JoinOptions};
pub use watch::Watch;
pub use watchdog::Stall;

use arrivals::{Arrival, Arrivals};
use driver::DriverLock;
use inbox::Shared;
use reactor::Sources;
use subscriptions::Subscriptions;
use watch::Watches;

/// One loop with its thread.
pub struct Worker {
    shared: Arc<Shared>,
    arrivals: Arc<Arrivals>,
    watches: Arc<Watches>,
    subscriptions: Option<Arc<Subscriptions<Connection>>>,
    driver: Arc<DriverLock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A snapshot of one worker's counters. Message and byte counts are those of connections that have ended.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // the names say it; the tasks are events and bytes
pub struct Statistics {
    pub turns: u64,
    pub takeovers: u64,
    pub joined: u64,
    pub left: u64,
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Connections whose peer vanished, and those whose peer broke a rule.
    pub lost: u64,
    pub failed: u64,
}

impl Worker {
    /// Starts a loop on epoll.
    ///
    /// # Errors
    /// The system's, when a descriptor or the thread cannot be had.
    pub fn start(settings: WorkerSettings) -> std::io::Result<Self> {
        Self::start_on(Box::new(EpollPoller::new()?), settings)
    }

    /// Starts a loop on another poller.
    ///
    /// # Errors
    /// The system's, when the thread cannot be had.
    pub fn start_on(poller: Box<dyn Poller>, settings: WorkerSettings) -> std::io::Result<Self> {
        let worker = Self::without_thread(poller, settings)?;
        let handle = driver::spawn(Arc::clone(&worker.driver), Arc::clone(&worker.shared))?;
        *inbox::lock(&worker.thread) = Some(handle);
        Ok(worker)
    }

    /// A loop that only moves when it is driven: for tests, where time and readiness are parameters.
    fn without_thread(poller: Box<dyn Poller>, settings: WorkerSettings) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(poller, settings));
        let subscriptions = match &shared.settings.channels {
            Some(channels) => Some(Subscriptions::new(&shared, channels).map_err(std::io::Error::other)?),
            None => None,
        };
        let subscriptions = subscriptions.map(Arc::new);
        let arrivals = Arc::<Arrivals>::default();
        let watches = Arc::new(Watches::new(&shared));
        let driver = DriverLock::new(Sources {
            arrivals: Arc::clone(&arrivals),
            watches: Arc::clone(&watches),
            subscriptions: subscriptions.clone(),
        });
        Ok(Self {
            shared,
            arrivals,
            watches,
            subscriptions,
            driver: Arc::new(driver),
            thread: Mutex::new(None),
        })
    }

    /// Makes the connection of a session whose socket is still on its way; the session's time begins now. Messages
    /// can be sent at once, they wait for the socket. `label`: peer and path, for the log; `readiness`: the descriptor
    /// that the app was given before.
    pub fn connection(
        &self,
        negotiated: Negotiated,
        label: Box<str>,
        readiness: Option<ReadinessDescriptor>,
    ) -> Arc<Connection> {
        let reader = if self.shared.settings.threads_read {
            connection::Reader::Thread
        } else {
            connection::Reader::Loop
        };
        Arc::new(Connection::new(
            Arc::clone(&self.shared),
            self.subscriptions.clone(),
            negotiated,
            label,
            readiness,
            reader,
        ))
    }

    /// The socket has arrived, with the bytes that were read behind the handshake.
    pub fn join(&self, connection: &Arc<Connection>, socket: OwnedFd, read_ahead: Vec<u8>) {
        self.join_tls(connection, socket, read_ahead, None);
    }

    /// The same for a socket that carries TLS: `read_ahead` is plaintext, what follows goes through the layer.
    pub fn join_tls(
        &self,
        connection: &Arc<Connection>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn TlsRecordLayer>>,
    ) {
        let connection = Arc::clone(connection);
        // Counted from here on: on its way to the loop it must not be missed.
        self.shared.counters.joined.fetch_add(1, Ordering::SeqCst);
        self.arrive(Arrival::Join {
            connection,
            socket,
            read_ahead,
            layer,
        });
    }

    /// One turn by the calling thread, which waits at most `limit` (`None`: until something happens) and gets all
    /// events reported so far. One thread at a time.
    pub fn drive(&self, events: &mut Vec<Event>, limit: Option<Duration>) {
        self.driver.drive(&self.shared, events, limit);
    }

    /// True while the loop thread drives. What is done after a `false` is done before the next `on_takeover`.
    pub fn loop_thread_drives(&self) -> bool {
        self.driver.loop_drives()
    }

    /// For how long no thread of the app has called [`Worker::drive`], counted from the moment in which the loop thread took
    /// over; zero before. Has no meaning where threads read, since there the loop thread always drives.
    pub fn app_away_for(&self) -> Duration {
        self.driver.app_away_for(self.now())
    }

    /// Ends the current or the next wait of [`Worker::drive`]. From any thread.
    pub fn wake(&self) {
        self.shared.wake_app();
    }

    /// Reports an event from outside, for instance that a request's body has more.
    pub fn report(&self, event: Event) {
        self.shared.report(event);
        self.shared.wake_driver();
    }

    /// [`Event::Deadline`] with this token will be reported once `after` has passed.
    pub fn wake_at(&self, after: Duration, token: Token) {
        let at = self.shared.poller.now() + after;
        self.arrive(Arrival::Timer { at, token });
    }

    /// The loop's clock.
    pub fn now(&self) -> Time {
        self.shared.poller.now()
    }

    /// For runners on a foreign loop: descriptors of which at least one polls readable while [`Worker::drive`] has
    /// something to do. Level-triggered; only to be polled. [`Worker::leave_to_foreign_loop`] before each wait.
    ///
    /// # Errors
    /// The system's, when no descriptor is free.
    pub fn descriptors(&self) -> std::io::Result<[BorrowedFd<'_>; 2]> {
        self.driver.expect_foreign_loop()?;
        Ok([self.shared.poller.descriptor(), self.shared.runner_waker()?])
    }

    /// What loop and runner wait for. A process that is forked from this one shares it, and must give it up: what it
    /// changes there changes here.
    pub fn own_descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.shared.own_descriptors()
    }

    /// Call it when all events of a [`Worker::drive`] without a wait are dealt with: it flushes, and from here on a
    /// change makes a descriptor readable.
    pub fn leave_to_foreign_loop(&self) {
        self.driver.leave_to_foreign_loop(&self.shared);
    }

    /// Reports [`Event::Wake`] with this token once `descriptor` is ready, as long as the answer is kept.
    ///
    /// # Errors
    /// The system's: not open, not pollable (a regular file), or too many descriptors.
    pub fn watch(
        &self,
        descriptor: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> std::io::Result<Watch> {
        Watch::start(&self.watches, descriptor, interest, token)
    }

    /// Makes a task of the app a member of a channel; it takes the messages itself. At most `limit` of them wait.
    ///
    /// # Errors
    /// There are no channels; a bad name; no room for another channel.
    pub fn subscribe(
        &self,
        name: &str,
        since: Option<u64>,
        limit: usize,
        drops: Drops,
    ) -> Result<(Subscriber, JoinAnswer), JoinError> {
        let subscriptions = self.subscriptions.as_ref().ok_or(JoinError::NoChannels)?;
        Subscriber::start(&self.shared, subscriptions, name, since, limit, drops)
    }

    /// Starts the close handshake on every connection, from the driver's next turn on and evenly spread over a time, until
    /// which the others go on; connections that join later are closed as well. Called again, it is for those that are left.
    pub fn close_all(&self, code: CloseCode, reason: &str, spread: Duration) {
        self.arrive(Arrival::CloseAll {
            code,
            reason: reason.to_owned(),
            spread,
        });
    }

    /// Connections in the loop and on their way to it, those that are closing included.
    pub fn connections(&self) -> usize {
        let count = &self.shared.counters;
        // `left` first: a connection that comes and goes in between must not make the difference negative.
        let left = count.left.load(Ordering::SeqCst);
        count.joined.load(Ordering::SeqCst).saturating_sub(left) as usize
    }

    /// A snapshot of the counters.
    pub fn statistics(&self) -> Statistics {
        let count = &self.shared.counters;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            turns: read(&count.turns),
            takeovers: read(&count.takeovers),
            joined: read(&count.joined),
            left: read(&count.left),
            messages_in: read(&count.messages_in),
            messages_out: read(&count.messages_out),
            bytes_in: read(&count.bytes_in),
            bytes_out: read(&count.bytes_out),
            lost: read(&count.lost),
            failed: read(&count.failed),
        }
    }

    /// Stops the loop thread. Sockets that are still there close when their connections are dropped.
    pub fn stop(&self) {
        self.driver.stop(&self.shared);
        if let Some(thread) = inbox::lock(&self.thread).take() {
            // It ends at its next look; a panic in it was reported when it happened.
            let _ = thread.join();
        }
        if let Some(subscriptions) = &self.subscriptions {
            subscriptions.stop();
        }
        // Sockets that never joined.
        drop(self.arrivals.take());
    }

    fn arrive(&self, arrival: Arrival) {
        self.arrivals.push(arrival);
        self.shared.wake_driver();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}
