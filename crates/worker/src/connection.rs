//! A socket and its session: the shell around the sans-IO machine.
//!
//! A [`Connection`] is shared by the driver of the loop and the tasks of the app; its one lock is held for the
//! length of one verb, never across a wait and never while the driver lock is taken (order: driver lock → connection → leaf
//! queues of `inbox`). Verbs never block: they say what to wait for, and the runner does the waiting. What blocks on
//! purpose, for runners whose threads read their own sockets, stands in `direct`.

mod memberships;
mod state;
mod tls;

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use fairlead_websocket::{
    Cause, CloseCode, Closure, Counters, Lost, MessageKind, Negotiated, Session, UsageError,
};

use crate::event::{Token, Waiting};
use crate::inbox::{lock, Shared};
use crate::readiness_descriptor::ReadinessDescriptor;
use crate::subscriptions::Subscriptions;

pub(crate) use memberships::TooSlow;
pub(crate) use state::{Fate, Reader, Socket, State};

/// From this size on a payload is written straight from the app's memory: the copy into the outbox would cost
/// more than the write that corking could save.
const WRITE_THROUGH: usize = 16 * 1024;

/// One WebSocket connection.
pub struct Connection {
    state: Mutex<State>,
    pub(crate) shared: Arc<Shared>,
    /// Who is a member of which channel, if the worker has channels.
    pub(crate) subscriptions: Option<Arc<Subscriptions<Connection>>>,
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
    /// Nothing complete is there; the given task will be woken.
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

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        subscriptions: Option<Arc<Subscriptions<Connection>>>,
        negotiated: Negotiated,
        label: Box<str>,
        readiness: Option<ReadinessDescriptor>,
        reader: Reader,
    ) -> Self {
        let now = shared.poller.now();
        // Away until its thread comes for the first time: an app that never receives is looked after as well.
        let away_since = if reader == Reader::Thread {
            now.as_millis() + 1
        } else {
            0
        };
        let session = Session::new(Arc::clone(&shared.settings.session), negotiated, now);
        Self {
            state: Mutex::new(State::new(session, readiness, reader)),
            shared,
            subscriptions,
            label,
            away_since: AtomicU64::new(away_since),
            joined: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes the oldest message: `take` sees it in place and makes of it what the app gets. If nothing is there
    /// and a token is given, that task is woken once something is.
    ///
    /// `take` runs under the connection's lock: it may copy and allocate, nothing else.
    pub fn receive<R>(
        &self,
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
            state.update_readiness();
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

    /// The subprotocol that the handshake agreed on.
    pub fn subprotocol(&self) -> Option<Box<str>> {
        self.lock().session.negotiated().subprotocol.clone()
    }

    /// True if [`Connection::receive`] would return a message or the end.
    pub fn has_something(&self) -> bool {
        let state = self.lock();
        state.session.message().is_some() || state.session.closed().is_some()
    }

    /// The same for a task whose wait is over and that takes nothing yet: its descriptor says so from now on, and not with
    /// the next turn as for one that receives.
    pub fn shows_something(&self) -> bool {
        let mut state = self.lock();
        state.take_late_readiness();
        state.update_readiness();
        state.session.message().is_some() || state.session.closed().is_some()
    }

    /// Asks that the task be woken when [`Connection::receive`] has something.
    pub fn wait_receive(&self, token: Token) -> Waiting {
        let mut state = self.lock();
        if state.session.message().is_some() || state.session.closed().is_some() {
            return Waiting::Ready;
        }
        if state.receiver.is_some_and(|other| other != token) {
            return Waiting::Taken;
        }
        state.receiver = Some(token);
        Waiting::Registered
    }

    /// The task no longer waits (its limit passed, or it was killed).
    pub fn forget(&self, token: Token) {
        let mut state = self.lock();
        if state.receiver == Some(token) {
            state.receiver = None;
        }
        state.senders.retain(|sender| *sender != token);
    }

    /// Sends one unfragmented message. Text must be valid UTF-8 already.
    pub fn send(&self, kind: MessageKind, payload: &[u8]) -> Sent {
        let mut state = self.lock();
        if state.outbox.len() >= self.shared.settings.limits.outbox_high {
            return if state.session.closed().is_some() {
                Sent::Closed
            } else {
                Sent::Full
            };
        }
        let Ok(frame) = state.session.frame(kind, payload) else {
            return Sent::Closed;
        };
        let can_write = !state.blocked && state.socket.is_some();
        // While more complete messages wait, a thread's answers gather and leave together: a write per message would
        // cost a factor of seven with 16 in flight.
        let last_of_thread = state.reader == Reader::Thread && state.session.message().is_none();
        if can_write
            && frame.payload().len() >= WRITE_THROUGH
            && (state.reader == Reader::Loop || last_of_thread)
        {
            state.write_through(frame.header(), frame.payload());
        } else {
            frame.append_to(state.outbox.buffer());
            if can_write && last_of_thread {
                state.flush(self.shared.poller.now());
            }
        }
        if state.needs_driver() {
            self.make_dirty(&mut state);
        }
        Sent::Done
    }

    /// Asks to be woken when `send` has room again. True if it has already.
    pub fn wait_room(&self, token: Token) -> bool {
        let mut state = self.lock();
        if state.outbox.len() < self.shared.settings.limits.outbox_high || state.session.closed().is_some() {
            return true;
        }
        if !state.senders.contains(&token) {
            state.senders.push(token);
        }
        false
    }

    /// Starts the close handshake for the app, RFC 6455 §7.1.2. Harmless when the connection is closing already.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), UsageError> {
        self.close_because(Cause::Application, code, reason)
    }

    pub(crate) fn close_because(
        &self,
        cause: Cause,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), UsageError> {
        self.settle_memberships();
        let now = self.shared.poller.now();
        let mut state = self.lock();
        let State { session, outbox, .. } = &mut *state;
        session.close_because(cause, code, reason, now, outbox.buffer())?;
        self.after_verb(&mut state);
        Ok(())
    }

    /// Sends a Ping, RFC 6455 §5.5.2, with at most 125 bytes.
    pub fn ping(&self, payload: &[u8]) -> Result<(), UsageError> {
        let mut state = self.lock();
        let State { session, outbox, .. } = &mut *state;
        session.ping(payload, outbox.buffer())?;
        self.after_verb(&mut state);
        Ok(())
    }

    /// The app is done with the connection. If nobody closed it yet it is closed with `code`; the loop sees the
    /// close handshake through. Messages that were not received are dropped.
    pub fn release(&self, code: CloseCode, reason: &str) {
        self.settle_memberships();
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
        state.readiness = None;
        state.reader = Reader::Loop;
        self.away_since.store(0, Ordering::SeqCst);
        let memberships = state.take_memberships();
        self.after_verb(&mut state);
        drop(state);
        if let Some(subscriptions) = &self.subscriptions {
            subscriptions.leave_all(memberships);
        }
    }

    /// Drops the TCP connection at once, without a Close frame (`uwsgi.disconnect()`), or because `why`.
    pub fn abandon(&self, why: Lost) {
        if why == Lost::Dropped {
            self.settle_memberships();
        }
        let now = self.shared.poller.now();
        let mut state = self.lock();
        if why == Lost::Dropped {
            // What the app has sent before it dropped the peer is not what it wants to drop.
            state.flush(now);
        }
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
        if state.readiness.is_none() {
            state.readiness = Some(ReadinessDescriptor::new()?);
        }
        state.update_readiness();
        Ok(state
            .readiness
            .as_ref()
            .map_or(-1, ReadinessDescriptor::descriptor))
    }

    fn after_verb(&self, state: &mut State) {
        state.wake_tasks(&self.shared);
        if state.take_late_readiness() && (state.socket.is_none() || state.retired) {
            // No turn will look at it.
            state.update_readiness();
        }
        if state.socket.is_none() {
            self.joined.notify_all();
        }
        // A thread's own socket is written at once: its loop thread may be far from its next turn.
        if state.reader == Reader::Thread && !state.blocked {
            state.flush(self.shared.poller.now());
        }
        self.make_dirty(state);
        self.shared.wake_driver();
    }

    /// Puts the connection on the driver's list.
    pub(crate) fn make_dirty(&self, state: &mut State) {
        if !state.dirty && !state.retired && state.socket.is_some() {
            state.dirty = true;
            self.shared.mark_dirty(state.key);
        }
    }
}
