//! A socket and its session: the shell around the sans-IO machine.
//!
//! A [`Connection`] is shared by the driver of the loop and the units of the app; its one lock is held for the
//! length of one verb, never across a wait and never while the seat is taken (order: seat → connection → leaf
//! queues of `inbox`). Verbs never block: they say what to wait for, and the host does the waiting. What blocks on
//! purpose, for hosts whose threads read their own sockets, stands in `direct`.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use fairlead_protocol::{
    CloseCode, Closure, Counters, Lost, MessageKind, Session, Time, Transport, UsageError,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use crate::doorbell::Doorbell;
use crate::inbox::{lock, Event, Shared};
use crate::outbox::Outbox;
use crate::poller::Interest;
use crate::Token;

/// From this size on a payload is written straight from the app's memory: the copy into the outbox would cost
/// more than the write that corking could save.
const WRITE_THROUGH: usize = 16 * 1024;

/// One WebSocket connection.
pub struct Connection {
    state: Mutex<State>,
    pub(crate) shared: Arc<Shared>,
    /// Who and what it is, for the log: peer and path.
    label: Box<str>,
    /// When the app's thread last left its socket, in milliseconds plus one; 0 while it is there. Only `direct`
    /// uses it.
    pub(crate) away_since: AtomicU64,
    /// The socket arrived or is gone; for threads that wait before it is there.
    pub(crate) joined: Condvar,
}

/// The answer to [`Connection::receive`].
#[derive(Debug)]
pub enum Received<R> {
    /// A message, as the closure saw it.
    Message(R),
    /// Nothing complete is there; the given unit will be woken.
    Empty,
    /// The connection is over and all messages were taken.
    Closed(Closure),
}

/// The answer to [`Connection::send`].
#[derive(Debug)]
pub enum Sent {
    /// Accepted; it leaves with the next flush at the latest.
    Done,
    /// The outbox is at its high water: wait for room, then send again. Nothing was taken.
    Full,
    /// A Close was sent or received, or the peer is gone.
    Closed,
}

/// Who reads the socket at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The loop.
    Loop,
    /// The app's own thread.
    Thread,
}

/// What is to become of the connection after it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Retire,
}

pub(crate) struct State {
    /// Shared with a thread that reads it, so that it cannot be closed (and its number reused) under that read.
    pub(crate) socket: Option<Arc<OwnedFd>>,
    /// The loop's key, once joined.
    pub(crate) key: u64,
    pub(crate) session: Session,
    pub(crate) outbox: Outbox,
    /// What the poller has; `None` if it does not know the socket.
    pub(crate) registered: Option<Interest>,
    pub(crate) reader: Reader,
    /// A thread sits in `recv(2)` on the socket.
    pub(crate) thread_inside: bool,
    /// The last write could not take everything.
    blocked: bool,
    /// Since when a waiting outbox has not moved.
    stalled_since: Option<Time>,
    /// The write side was shut down.
    shut: bool,
    /// It stands in the list of dirty connections.
    dirty: bool,
    /// The unit that waits for a message, and those that wait for room to send.
    receiver: Option<Token>,
    senders: Vec<Token>,
    /// The earliest entry in the timers.
    pub(crate) timer_at: Option<Time>,
    doorbell: Option<Box<Doorbell>>,
    /// The app has let go of it.
    released: bool,
    /// The driver has dropped it from the loop.
    retired: bool,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        label: Box<str>,
        doorbell: Option<Box<Doorbell>>,
        reader: Reader,
    ) -> Self {
        let now = shared.poller.now();
        // Away until its thread comes for the first time: an app that never receives is looked after as well.
        let away_since = if reader == Reader::Thread {
            now.as_millis() + 1
        } else {
            0
        };
        Self {
            state: Mutex::new(State {
                socket: None,
                key: 0,
                session: Session::new(Arc::clone(&shared.settings.session), now),
                outbox: Outbox::default(),
                registered: None,
                reader,
                thread_inside: false,
                blocked: false,
                stalled_since: None,
                shut: false,
                dirty: false,
                receiver: None,
                senders: Vec::new(),
                timer_at: None,
                doorbell,
                released: false,
                retired: false,
            }),
            shared,
            label,
            away_since: AtomicU64::new(away_since),
            joined: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes the oldest message: `take` sees it in place and makes of it what the app gets. If nothing is there
    /// and a token is given, that unit is woken once something is.
    ///
    /// `take` runs under the connection's lock: it may copy and allocate, nothing else.
    pub fn receive<R>(
        self: &Arc<Self>,
        waiter: Option<Token>,
        take: impl FnOnce(MessageKind, &[u8]) -> R,
    ) -> Received<R> {
        let mut state = self.lock();
        if let Some((kind, payload)) = state.session.message() {
            let taken = take(kind, payload);
            state.session.consume_message();
            if state.wants_service() {
                self.make_dirty(&mut state);
            }
            state.ring_doorbell();
            return Received::Message(taken);
        }
        if let Some(closure) = state.session.closed() {
            return Received::Closed(closure.clone());
        }
        if waiter.is_some() {
            state.receiver = waiter;
        }
        Received::Empty
    }

    /// Asks that the unit be woken when [`Connection::receive`] has something. True if it has already.
    pub fn wait_receive(&self, token: Token) -> bool {
        let mut state = self.lock();
        if state.session.message().is_some() || state.session.closed().is_some() {
            return true;
        }
        state.receiver = Some(token);
        false
    }

    /// The unit no longer waits (its limit passed, or it was killed).
    pub fn forget(&self, token: Token) {
        let mut state = self.lock();
        if state.receiver == Some(token) {
            state.receiver = None;
        }
        state.senders.retain(|sender| *sender != token);
    }

    /// True if another unit waits in `receive`.
    pub fn has_receiver(&self) -> bool {
        self.lock().receiver.is_some()
    }

    /// Sends one unfragmented message. Text must be valid UTF-8 already.
    pub fn send(self: &Arc<Self>, kind: MessageKind, payload: &[u8]) -> Sent {
        let mut state = self.lock();
        if state.outbox.len() >= self.shared.settings.outbox_high {
            return if state.session.closed().is_some() {
                Sent::Closed
            } else {
                Sent::Full
            };
        }
        let mut header = [0u8; 10];
        let Ok(header_len) = state.session.start_message(kind, payload.len(), &mut header) else {
            return Sent::Closed;
        };
        let header = &header[..header_len];
        let at_once = match state.reader {
            // More complete messages wait: their answers leave together (RFC 6455 has nothing against it, and a
            // write per message would cost a factor of seven with 16 in flight).
            Reader::Thread => state.session.message().is_none(),
            Reader::Loop => payload.len() >= WRITE_THROUGH,
        };
        if at_once && !state.blocked && state.socket.is_some() {
            state.write_through(header, payload);
        } else {
            let buffer = state.outbox.buffer();
            buffer.extend_from_slice(header);
            buffer.extend_from_slice(payload);
        }
        if state.needs_driver() {
            self.make_dirty(&mut state);
        }
        Sent::Done
    }

    /// Asks to be woken when `send` has room again. True if it has already.
    pub fn wait_room(&self, token: Token) -> bool {
        let mut state = self.lock();
        if state.outbox.len() < self.shared.settings.outbox_high || state.session.closed().is_some() {
            return true;
        }
        state.senders.push(token);
        false
    }

    /// Starts the close handshake, RFC 6455 §7.1.2. Harmless when the connection is closing already.
    pub fn close(self: &Arc<Self>, code: CloseCode, reason: &str) -> Result<(), UsageError> {
        let now = self.shared.poller.now();
        let mut state = self.lock();
        let State { session, outbox, .. } = &mut *state;
        session.close(code, reason, now, outbox.buffer())?;
        self.after_verb(&mut state);
        Ok(())
    }

    /// Sends a Ping, RFC 6455 §5.5.2, with at most 125 bytes.
    pub fn ping(self: &Arc<Self>, payload: &[u8]) -> Result<(), UsageError> {
        let mut state = self.lock();
        let State { session, outbox, .. } = &mut *state;
        session.ping(payload, outbox.buffer())?;
        self.after_verb(&mut state);
        Ok(())
    }

    /// The app is done with the connection. If nobody closed it yet it is closed with `code`; the loop sees the
    /// close handshake through. Messages that were not received are dropped.
    pub fn release(self: &Arc<Self>, code: CloseCode, reason: &str) {
        let now = self.shared.poller.now();
        let mut state = self.lock();
        if state.released {
            return;
        }
        state.released = true;
        if state.session.closed().is_none() {
            let State { session, outbox, .. } = &mut *state;
            // The reason is ours and short, so the call cannot be refused.
            let _ = session.close(code, reason, now, outbox.buffer());
        }
        while state.session.message().is_some() {
            state.session.consume_message();
        }
        state.doorbell = None;
        state.reader = Reader::Loop;
        self.away_since.store(0, Ordering::SeqCst);
        self.after_verb(&mut state);
    }

    /// Drops the TCP connection at once, without a Close frame (`uwsgi.disconnect()`), or because `why`.
    pub fn abandon(self: &Arc<Self>, why: Lost) {
        let now = self.shared.poller.now();
        let mut state = self.lock();
        state.lose(why, now);
        self.after_verb(&mut state);
    }

    /// Peer and path, as the log names it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How and by whom it was closed; `None` while it is open.
    pub fn closure(&self) -> Option<Closure> {
        self.lock().session.closed().cloned()
    }

    /// Complete messages that wait to be received.
    pub fn queued_messages(&self) -> usize {
        self.lock().session.queued_messages()
    }

    /// What went over this connection so far.
    pub fn counters(&self) -> Counters {
        self.lock().session.counters()
    }

    /// A descriptor that polls readable exactly while [`Connection::receive`] would not wait.
    ///
    /// # Errors
    /// The system's error when no descriptors are free.
    pub fn notify_descriptor(&self) -> std::io::Result<RawFd> {
        let mut state = self.lock();
        if state.doorbell.is_none() {
            state.doorbell = Some(Box::new(Doorbell::new()?));
        }
        state.ring_doorbell();
        Ok(state.doorbell.as_ref().map_or(-1, |bell| bell.descriptor()))
    }

    fn after_verb(self: &Arc<Self>, state: &mut State) {
        state.wake_units(&self.shared);
        if state.socket.is_none() {
            self.joined.notify_all();
        }
        // A thread's own socket is written at once: its loop thread may be far from its next turn.
        if state.reader == Reader::Thread && !state.blocked {
            state.flush(self.shared.poller.now());
        }
        self.make_dirty(state);
        self.shared.ring();
    }

    /// Puts the connection on the driver's list.
    pub(crate) fn make_dirty(self: &Arc<Self>, state: &mut State) {
        if !state.dirty && !state.retired && state.socket.is_some() {
            state.dirty = true;
            self.shared.mark_dirty(self);
        }
    }
}

impl State {
    /// The driver is about to serve it.
    pub(crate) fn clear_dirty(&mut self) {
        self.dirty = false;
    }

    /// Reads once and lets the session have the bytes.
    pub(crate) fn read(&mut self, buffer: &mut [u8], now: Time) {
        let Some(socket) = &self.socket else { return };
        let got = rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT).map(|(bytes, _)| bytes);
        self.take_in(got, buffer, now);
    }

    /// What a read brought: bytes, the end, or an error.
    pub(crate) fn take_in(&mut self, got: Result<usize, Errno>, buffer: &[u8], now: Time) {
        match got {
            Ok(0) => self.session.receive_eof(now),
            Ok(count) => self.session.receive(&buffer[..count], now, self.outbox.buffer()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.lose(Lost::Reset, now),
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self, now: Time) {
        let Some(socket) = &self.socket else { return };
        while !self.outbox.is_empty() {
            let pending = self.outbox.pending();
            match rustix::net::send(socket, pending, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => {
                    let all = count == pending.len();
                    self.outbox.advance(count);
                    self.stalled_since = if all { None } else { Some(now) };
                    if !all {
                        self.blocked = true;
                        return;
                    }
                }
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    self.stalled_since.get_or_insert(now);
                    return;
                }
                Err(Errno::INTR) => {}
                Err(_) => return self.lose(Lost::Reset, now),
            }
        }
        self.blocked = false;
        self.stalled_since = None;
        if self.session.transport() == Transport::Closing && !self.shut {
            // RFC 6455 §7.1.1: the server ends its side, and the peer's last bytes are read before the rest goes,
            // so that a reset does not destroy the Close frame on its way.
            self.shut = true;
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
    }

    /// Writes the waiting bytes, the header and the payload in one call; what the socket does not take waits.
    fn write_through(&mut self, header: &[u8], payload: &[u8]) {
        let Some(socket) = &self.socket else { return };
        let pending = self.outbox.pending();
        let parts = [IoSlice::new(pending), IoSlice::new(header), IoSlice::new(payload)];
        let total = pending.len() + header.len() + payload.len();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written = rustix::net::sendmsg(socket, &parts, &mut SendAncillaryBuffer::default(), flags);
        // An error is met again, and dealt with, by the driver's flush.
        let mut written = written.unwrap_or(0);
        if written == total {
            let pending = self.outbox.len();
            self.outbox.advance(pending);
            return;
        }
        self.blocked = true;
        let from_outbox = written.min(self.outbox.len());
        self.outbox.advance(from_outbox);
        written -= from_outbox;
        let from_header = written.min(header.len());
        let buffer = self.outbox.buffer();
        buffer.extend_from_slice(&header[from_header..]);
        buffer.extend_from_slice(&payload[written - from_header..]);
    }

    pub(crate) fn lose(&mut self, why: Lost, now: Time) {
        self.session.lost(why, now);
        self.outbox.discard();
    }

    /// The session's deadline came. `unread` bytes in the socket prove that the peer lives, though we do not
    /// read it at present or have not come to it yet (back-pressure, a stopped process).
    pub(crate) fn tick(&mut self, now: Time, stall_timeout: std::time::Duration) {
        let unread = self
            .socket
            .as_ref()
            .is_some_and(|socket| rustix::io::ioctl_fionread(socket).unwrap_or(0) > 0);
        if unread {
            self.session.heard(now);
        }
        if self
            .stalled_since
            .is_some_and(|since| now.saturating_since(since) >= stall_timeout)
        {
            return self.lose(Lost::SlowConsumer, now);
        }
        self.session.tick(now, self.outbox.buffer());
        self.outbox.trim();
        // Quiet since the last tick or not: an empty inbox need not keep what it grew to.
        drop(self.session.take_spare_buffer());
    }

    /// Wakes the units whose wait is over.
    pub(crate) fn wake_units(&mut self, shared: &Shared) {
        let over = self.session.closed().is_some();
        if over || self.session.message().is_some() {
            if let Some(token) = self.receiver.take() {
                shared.report(Event::Wake(token));
            }
        }
        if !self.senders.is_empty() && (over || self.outbox.len() <= shared.settings.outbox_low) {
            for token in self.senders.drain(..) {
                shared.report(Event::Wake(token));
            }
        }
        self.ring_doorbell();
    }

    fn ring_doorbell(&mut self) {
        if let Some(bell) = &mut self.doorbell {
            bell.set(self.session.message().is_some() || self.session.closed().is_some());
        }
    }

    /// What the loop should watch the socket for.
    fn interest(&self, shared: &Shared) -> Interest {
        let read = self.reader == Reader::Loop
            && self.session.wants_input()
            && self.outbox.len() < shared.settings.outbox_high;
        Interest {
            read,
            write: self.blocked && !self.outbox.is_empty(),
        }
    }

    /// The driver must do something for it: write, or watch the socket for something else.
    fn needs_driver(&self) -> bool {
        match self.reader {
            Reader::Loop => !self.outbox.is_empty(),
            // The thread flushes itself; only what the socket did not take is the loop's.
            Reader::Thread => self.blocked,
        }
    }

    /// The app took a message: may the socket be read again?
    fn wants_service(&self) -> bool {
        self.reader == Reader::Loop
            && self.socket.is_some()
            && !self.registered.is_some_and(|interest| interest.read)
            && self.session.wants_input()
    }

    /// Brings the registration in line with what is wanted, and says whether the connection goes on.
    pub(crate) fn settle(&mut self, shared: &Shared) -> Fate {
        self.wake_units(shared);
        if self.session.transport() == Transport::Gone {
            return Fate::Retire;
        }
        let Some(socket) = &self.socket else {
            return Fate::Keep;
        };
        let wanted = Some(self.interest(shared)).filter(|interest| !interest.is_none());
        if wanted != self.registered {
            let done = match (self.registered, wanted) {
                (None, Some(interest)) => shared.poller.add(socket.as_fd(), self.key, interest),
                (Some(_), Some(interest)) => shared.poller.modify(socket.as_fd(), self.key, interest),
                (Some(_), None) => shared.poller.remove(socket.as_fd()),
                (None, None) => Ok(()),
            };
            if done.is_err() {
                // Out of memory or of watches: this connection cannot go on, the others can.
                self.lose(Lost::Reset, shared.poller.now());
                self.wake_units(shared);
                return Fate::Retire;
            }
            self.registered = wanted;
        }
        Fate::Keep
    }

    /// When the timers should look at it: the session's deadline or the end of the patience with a full outbox.
    pub(crate) fn next_deadline(&self, stall_timeout: std::time::Duration) -> Option<Time> {
        let stalled = self.stalled_since.map(|since| since + stall_timeout);
        match (self.session.deadline(), stalled) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes the socket out of the loop and closes it. If a thread sits in it, shutting it down ends that read.
    pub(crate) fn retire(&mut self, shared: &Shared) {
        self.retired = true;
        if !self.outbox.is_empty() {
            // A Close echo may still be in it; one try, without waiting.
            self.flush(shared.poller.now());
        }
        if let Some(socket) = &self.socket {
            if self.registered.take().is_some() {
                let _ = shared.poller.remove(socket.as_fd());
            }
            if self.thread_inside {
                let _ = rustix::net::shutdown(socket, Shutdown::Both);
            }
        }
        self.socket = None;
        self.outbox.discard();
    }

    /// The last write could not take everything: the loop watches for room.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// The session has to be looked at before its entry in the timers comes due.
    pub(crate) fn timer_is_late(&self, stall_timeout: std::time::Duration) -> bool {
        self.next_deadline(stall_timeout)
            .is_some_and(|at| self.timer_at.is_none_or(|set| at < set))
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired
    }
}
