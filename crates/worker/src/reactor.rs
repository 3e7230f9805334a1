//! The turn of the loop.
//!
//! A turn goes: channels' news delivered → what became dirty is flushed, one write each → arrivals join → wait → timers
//! due → ready sockets read and parsed → events for the runner. (The design counts from the timers on and ends with the flush; it is the
//! same circle, cut where the app runs.) The reactor is only ever touched by the driver. Nothing here
//! calls up: the runner learns of a session by an event, and nothing at all happens for a session whose app is busy
//! but what the protocol demands.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use fairlead_websocket::{Cause, CloseCode, ClosedBy, Time, TlsRecordLayer};

use crate::arrivals::{Arrival, Arrivals};
use crate::connection::{Connection, Fate, Reader, Socket, State};
use crate::delivery::FEEDS;
use crate::event::Event;
use crate::inbox::{Shared, HEARTBEAT_BIT};
use crate::poller::Readiness;
use crate::slab::Slab;
use crate::subscriptions::Subscriptions;
use crate::timers::{Due, Timers};
use crate::watch::{Watches, WATCH_BIT};

/// One read takes at most this much. 256 KiB: a whole 64 KiB message with its neighbours, still inside the L2 cache.
const READ_BUFFER: usize = 256 * 1024;

pub(crate) struct Reactor {
    sources: Sources,
    connections: Slab<Arc<Connection>>,
    timers: Timers,
    ready: Vec<Readiness>,
    dirty: Vec<u64>,
    buffer: Box<[u8]>,
    /// When to look for app threads that left their sockets; `None` while all are there.
    scan_at: Option<Time>,
    /// What the poller's alarm is set to.
    alarm: Option<Time>,
    /// All connections were told to close: what joins now is closed too.
    closing: Option<(CloseCode, String)>,
    /// How often an outbox may still be filled from a backlog in this turn.
    feeds: usize,
}

/// Where a turn finds what there is to do, besides the poller and the dirty connections.
pub(crate) struct Sources {
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) subscriptions: Option<Arc<Subscriptions<Connection>>>,
}

impl Sources {
    /// The driver wants to sleep. False if something came in the meantime; then it must not.
    fn fall_asleep(&self, shared: &Shared) -> bool {
        if !shared.fall_asleep() {
            return false;
        }
        let has_news = |channels: &Arc<Subscriptions<Connection>>| !channels.fall_asleep();
        if self.subscriptions.as_ref().is_some_and(has_news) {
            shared.wake_up();
            return false;
        }
        true
    }

    fn wake_up(&self, shared: &Shared) {
        shared.wake_up();
        if let Some(channels) = &self.subscriptions {
            channels.wake_up();
        }
    }
}

impl Reactor {
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            sources,
            connections: Slab::default(),
            timers: Timers::default(),
            ready: Vec::new(),
            dirty: Vec::new(),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            scan_at: None,
            alarm: None,
            closing: None,
            feeds: FEEDS,
        }
    }

    /// One turn. Waits at most `limit`; not at all if events wait for the runner and the runner is who drives.
    pub(crate) fn turn(&mut self, shared: &Shared, limit: Option<Duration>, for_runner: bool) {
        shared.counters.turns.fetch_add(1, Ordering::Relaxed);
        shared.begin_turn();
        self.feeds = FEEDS;
        let now = shared.poller.now();
        let more = self.deliver(shared, now);
        self.take_arrivals(shared, now);
        let mut limit = self.time_to_wait(now, limit);
        if more {
            limit = Some(Duration::ZERO);
        }
        if for_runner && (shared.take_app_wake() || shared.has_events()) {
            limit = Some(Duration::ZERO);
        }
        if limit != Some(Duration::ZERO) && !self.sources.fall_asleep(shared) {
            limit = Some(Duration::ZERO);
        }
        let waited = shared.poller.wait(&mut self.ready, limit);
        self.sources.wake_up(shared);
        debug_assert!(waited.is_ok(), "the poller failed: {waited:?}");
        let now = shared.poller.now();
        self.serve_timers(shared, now);
        self.serve_sockets(shared, now);
        if self.scan_at.is_some_and(|at| at <= now) || shared.settings.threads_read && self.scan_at.is_none()
        {
            self.scan_away(shared, now);
        }
    }

    /// What a turn does before its wait, for a runner that waits on [`crate::Poller::descriptor`] in a loop of its own.
    pub(crate) fn leave_to_foreign_loop(&mut self, shared: &Shared) {
        shared.begin_turn();
        self.feeds = FEEDS;
        let now = shared.poller.now();
        let more = self.deliver(shared, now);
        self.take_arrivals(shared, now);
        let next = self.timers.next();
        // An alarm that has gone off is never set to the same time again: what is due by then needs none.
        let is_due = next.is_some_and(|at| at <= now);
        if next != self.alarm && !is_due {
            // Refused only for lack of descriptors; then the loop thread's own waits keep the time, after its takeover.
            if shared.poller.alarm(next).is_ok() {
                self.alarm = next;
            }
        }
        if is_due || more || shared.is_app_woken() || shared.has_events() || !self.sources.fall_asleep(shared)
        {
            shared.poller.wake();
        }
    }

    /// What channels have for members here, and what became dirty of that or before. True if channels have more.
    fn deliver(&mut self, shared: &Shared, now: Time) -> bool {
        let more = match &self.sources.subscriptions {
            Some(subscriptions) => subscriptions.serve(),
            None => false,
        };
        self.flush_dirty(shared, now);
        more
    }

    fn time_to_wait(&self, now: Time, limit: Option<Duration>) -> Option<Duration> {
        let next = [self.timers.next(), self.scan_at].into_iter().flatten().min();
        let until_timer = next.map(|at| at.saturating_since(now));
        match (limit, until_timer) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn flush_dirty(&mut self, shared: &Shared, now: Time) {
        let mut dirty = std::mem::take(&mut self.dirty);
        shared.take_dirty(&mut dirty);
        for key in dirty.drain(..) {
            let Some(connection) = self.connections.get(key) else {
                self.time_heartbeat(key);
                continue;
            };
            let mut state = connection.lock();
            state.clear_dirty();
            flush(connection, &mut state, now, &mut self.feeds);
            if settle(&mut self.timers, shared, connection, &mut state) == Fate::Retire {
                drop(state);
                self.retire(shared, key);
            }
        }
        self.dirty = dirty;
    }

    fn take_arrivals(&mut self, shared: &Shared, now: Time) {
        for arrival in self.sources.arrivals.take() {
            match arrival {
                Arrival::Timer { at, token } => self.timers.add(at, Due::Task(token)),
                Arrival::Join {
                    connection,
                    socket,
                    read_ahead,
                    layer,
                } => {
                    self.join(shared, connection, socket, &read_ahead, layer, now);
                }
                Arrival::CloseAll { code, reason, spread } => {
                    self.closing = Some((code, reason));
                    self.close_all(spread, now);
                }
            }
        }
    }

    fn join(
        &mut self,
        shared: &Shared,
        connection: Arc<Connection>,
        socket: OwnedFd,
        read_ahead: &[u8],
        layer: Option<Box<dyn TlsRecordLayer>>,
        now: Time,
    ) {
        let key = self.connections.insert(Arc::clone(&connection));
        let mut state = connection.lock();
        if state.reader == Reader::Thread {
            // It wants to block in `recv(2)`; the loop says DONTWAIT with each call.
            let _ = rustix::io::ioctl_fionbio(&socket, false);
            // Its thread is away until it receives for the first time, which it may never do.
            shared.scan_parked.store(false, Ordering::SeqCst);
            self.scan_at
                .get_or_insert(now + shared.settings.limits.takeover_after);
        }
        state.socket = Some(Socket::Own(socket));
        state.key = key;
        state.begin(read_ahead, layer, now);
        flush(&connection, &mut state, now, &mut self.feeds);
        if let Some(at) = state.heartbeat_at() {
            self.timers.add(at, Due::Heartbeat(key));
        }
        connection.joined.notify_all();
        let fate = settle(&mut self.timers, shared, &connection, &mut state);
        drop(state);
        if fate == Fate::Retire {
            self.retire(shared, key);
        }
        self.close_with_all(&connection);
    }

    /// Closes all connections, evenly spread over a time: their clients come back at once, and whoever serves them then has
    /// a handshake for each.
    fn close_all(&mut self, spread: Duration, now: Time) {
        let count = self.connections.iter().count() as u64;
        let spread_ms = spread.as_millis() as u64;
        for (number, connection) in self.connections.iter().enumerate() {
            let after_ms = spread_ms.saturating_mul(number as u64) / count;
            if after_ms == 0 {
                self.close_with_all(connection);
            } else {
                let at = now + Duration::from_millis(after_ms);
                self.timers.add(at, Due::Close(connection.lock().key));
            }
        }
    }

    fn close_with_all(&self, connection: &Connection) {
        if let Some((code, reason)) = &self.closing {
            // Refused only for a connection that is over.
            let _ = connection.close_because(Cause::Drain, *code, reason);
        }
    }

    fn serve_timers(&mut self, shared: &Shared, now: Time) {
        while let Some((at, due)) = self.timers.pop_due(now) {
            match due {
                Due::Task(token) => shared.report(Event::Deadline(token)),
                Due::Session(key) => self.tick(shared, key, at, now),
                Due::Close(key) => {
                    if let Some(connection) = self.connections.get(key) {
                        self.close_with_all(connection);
                    }
                }
                Due::Heartbeat(key) => self.beat(shared, key, now),
            }
        }
    }

    fn tick(&mut self, shared: &Shared, key: u64, at: Time, now: Time) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let mut state = connection.lock();
        if state.timer_at != Some(at) {
            return; // an entry that an earlier one has replaced
        }
        if state.session.is_idle(now) {
            // It is about to be closed, and its client is there.
            drop(state);
            connection.settle_memberships();
            state = connection.lock();
        }
        state.timer_at = None;
        state.tick(now, shared.settings.limits.stall_timeout);
        state.flush(now);
        if settle(&mut self.timers, shared, connection, &mut state) == Fate::Retire {
            drop(state);
            self.retire(shared, key);
        }
    }

    /// A connection has a heartbeat from now on, if the key says that.
    #[cold]
    #[inline(never)]
    fn time_heartbeat(&mut self, key: u64) {
        let key = key ^ HEARTBEAT_BIT;
        let connection = self.connections.get(key); // none for a connection that is gone
        if let Some(at) = connection.and_then(|connection| connection.lock().heartbeat_at()) {
            self.timers.add(at, Due::Heartbeat(key));
        }
    }

    fn beat(&mut self, shared: &Shared, key: u64, now: Time) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let mut state = connection.lock();
        state.beat(now);
        state.flush(now);
        if let Some(at) = state.heartbeat_at() {
            self.timers.add(at, Due::Heartbeat(key));
        }
        if settle(&mut self.timers, shared, connection, &mut state) == Fate::Retire {
            drop(state);
            self.retire(shared, key);
        }
    }

    fn serve_sockets(&mut self, shared: &Shared, now: Time) {
        let mut ready = std::mem::take(&mut self.ready);
        for Readiness {
            key,
            readable,
            writable,
        } in ready.drain(..)
        {
            if key & WATCH_BIT != 0 {
                self.sources.watches.fire(key);
                continue;
            }
            let Some(connection) = self.connections.get(key) else {
                continue;
            };
            let mut state = connection.lock();
            if writable {
                flush(connection, &mut state, now, &mut self.feeds);
            }
            // Its thread may have come back since the wait ended: bytes read now would lie here unseen while it blocks.
            if readable && state.reader == Reader::Loop {
                state.read(&mut self.buffer, now);
            }
            if state.wants_flush() {
                connection.make_dirty(&mut state);
            }
            if settle(&mut self.timers, shared, connection, &mut state) == Fate::Retire {
                drop(state);
                self.retire(shared, key);
            }
        }
        self.ready = ready;
    }

    /// Lets a connection go that is over.
    fn retire(&mut self, shared: &Shared, key: u64) {
        let Some(connection) = self.connections.remove(key) else {
            return;
        };
        let mut state = connection.lock();
        state.retire(shared);
        let memberships = state.take_memberships();
        if let Some(subscriptions) = &self.sources.subscriptions {
            subscriptions.depart(memberships);
        }
        connection.joined.notify_all();
        let count = &shared.counters;
        let session = state.session.counters();
        count.left.fetch_add(1, Ordering::Relaxed);
        count
            .messages_in
            .fetch_add(session.messages_in, Ordering::Relaxed);
        count
            .messages_out
            .fetch_add(session.messages_out, Ordering::Relaxed);
        count.bytes_in.fetch_add(session.bytes_in, Ordering::Relaxed);
        count.bytes_out.fetch_add(session.bytes_out, Ordering::Relaxed);
        if let Some(closure) = state.session.closed() {
            let lost = matches!(closure.by, ClosedBy::Lost(_));
            count.lost.fetch_add(u64::from(lost), Ordering::Relaxed);
            count
                .failed
                .fetch_add(u64::from(closure.error.is_some()), Ordering::Relaxed);
            (shared.settings.session_log)(connection.label(), closure);
        }
    }

    /// Takes over the sockets whose threads have been away for a while; see `direct`.
    fn scan_away(&mut self, shared: &Shared, now: Time) {
        let patience = shared.settings.limits.takeover_after;
        let mut someone_is_away = self.take_over(now, patience);
        if !someone_is_away {
            // Say that nobody looks any more, then look once more: a thread that leaves now either is seen here
            // or sees the flag.
            shared.scan_parked.store(true, Ordering::SeqCst);
            someone_is_away = self.take_over(now, patience);
        }
        if someone_is_away {
            shared.scan_parked.store(false, Ordering::SeqCst);
            self.scan_at = Some(now + patience.max(Duration::from_millis(1)));
        } else {
            self.scan_at = None;
        }
    }

    fn take_over(&self, now: Time, patience: Duration) -> bool {
        let mut someone_is_away = false;
        for connection in self.connections.iter() {
            let Some(since) = connection.away_since() else {
                continue;
            };
            if now.saturating_since(since) < patience {
                someone_is_away = true;
                continue;
            }
            let mut state = connection.lock();
            if connection.away_since().is_none() || state.thread_inside {
                continue;
            }
            connection.mark_taken();
            state.reader = Reader::Loop;
            // Served with the next turn's dirty ones: flushed, and watched for reading.
            connection.make_dirty(&mut state);
        }
        someone_is_away
    }
}

/// Brings the poller and the timers in line with the session after it was served, and says whether the connection goes on.
#[inline]
fn settle(timers: &mut Timers, shared: &Shared, connection: &Connection, state: &mut State) -> Fate {
    let fate = state.settle(shared);
    if state.take_late_readiness() {
        match fate {
            Fate::Retire => state.update_readiness(),
            Fate::Keep => connection.make_dirty(state),
        }
    }
    if fate == Fate::Keep {
        if let Some(at) = state.late_timer(shared.settings.limits.stall_timeout) {
            state.timer_at = Some(at);
            timers.add(at, Due::Session(state.key));
        }
    }
    fate
}

/// Writes what waits, and then what waits behind it in the channels' log.
fn flush(connection: &Connection, state: &mut State, now: Time, feeds: &mut usize) {
    match &connection.subscriptions {
        Some(subscriptions) if state.has_backlog() => {
            state.offer(subscriptions.place(), now, feeds);
            if state.has_backlog() && !state.is_blocked() {
                connection.make_dirty(state);
            }
        }
        _ => state.flush(now),
    }
}
