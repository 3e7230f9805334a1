//! What the sides of one HTTP/1.1 connection share: hyper's transport, its service, the answers, and the task around them.
//!
//! All of them run in that one task, so the lock is never contended. Lock order: this one before the state of an exchange.
//! Invariant: whatever changes the deadline is followed by a turn of the task, which stores the new one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use fairlead_http::Request;
use hyper::body::Incoming;

use crate::connection::Connection;
use crate::deadline::{Overdue, Situation};
use crate::error::Refusal;
use crate::exchange::Core;
use crate::file_range::FileRange;
use crate::http1::framing::Framing;
use crate::http1::pump::{Pump, Pumped};
use crate::http1::sendfile::Trust;
use crate::upgrade::Upgrade;

/// One connection's.
pub(crate) struct Http1State {
    pub(super) connection: Arc<Connection>,
    /// What the client speaks is the uwsgi protocol: there is one request, and a response that is not chunked.
    pub(super) is_uwsgi: bool,
    /// When the client last went on with a handshake of TLS.
    handshake_ms: u64,
    trust: Trust,
    inner: Mutex<Inner>,
}

/// What a request says of its connection.
#[derive(Clone, Copy, Default)]
pub(super) struct Terms {
    pub(super) is_http10: bool,
    /// It asks for an upgrade.
    pub(super) may_upgrade: bool,
    /// It wants the connection closed, whatever else it says (RFC 9112 §9.3).
    pub(super) closes: bool,
}

/// What a client that has ended its side still has to get.
pub(super) enum Rest {
    Some,
    Unknown,
    None,
}

struct Inner {
    framing: Framing,
    heads: u64,
    pump: Option<Pump>,
    /// The 101 response is being written for it.
    upgrade: Option<Upgrade>,
    in_flight: bool,
    /// The head of the present answer has not been made yet, so it can still say that the connection closes.
    owes_head: bool,
    /// The head of an answer in chunks is in hyper's hands, and not yet all of its chunks.
    sends_chunks: bool,
    /// hyper knows that the next answer is the last.
    is_leaving: bool,
    /// The client has ended its side, behind a whole request, and hyper does not know.
    has_ended: bool,
    /// hyper had a turn since, and no request was in flight.
    has_looked_behind: bool,
    /// What the present request says of itself.
    terms: Terms,
    /// The client may still be sending what nobody will read.
    unread: bool,
    /// When the present wait began: for a head, for the next request, or for bytes of a body.
    waiting_since_ms: u64,
    write_blocked_since_ms: Option<u64>,
    /// Ranges of files that hyper was given stand-ins for, in that order.
    files: VecDeque<Arc<FileRange>>,
    /// What the head that hyper reads next stands for.
    given: Option<Request>,
}

impl Http1State {
    /// `handshake_ms`: when the client last went on with a handshake of TLS, or 0.
    pub(crate) fn new(connection: Arc<Connection>, handshake_ms: u64) -> Http1State {
        let inner = Inner {
            framing: Framing::default(),
            heads: 0,
            pump: None,
            upgrade: None,
            in_flight: false,
            owes_head: false,
            sends_chunks: false,
            is_leaving: false,
            has_ended: false,
            has_looked_behind: false,
            terms: Terms::default(),
            unread: false,
            waiting_since_ms: connection.accepted_ms(),
            write_blocked_since_ms: None,
            files: VecDeque::new(),
            given: None,
        };
        Http1State {
            connection,
            is_uwsgi: false,
            handshake_ms,
            trust: Trust::default(),
            inner: Mutex::new(inner),
        }
    }

    /// For a connection of the uwsgi protocol: the head that hyper reads first stands for `request`.
    pub(crate) fn for_uwsgi(connection: Arc<Connection>, request: Request) -> Http1State {
        let mut state = Http1State::new(connection, 0);
        state.is_uwsgi = true;
        state
            .inner
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .given = Some(request);
        state
    }

    fn now_ms(&self) -> u64 {
        self.connection.shared().now_ms()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the transport.
impl Http1State {
    /// Bytes have arrived.
    pub(super) fn read(&self, bytes: &[u8]) -> Vec<usize> {
        let mut inner = self.lock();
        let was_inside = inner.framing.inside_head();
        let minors = inner.framing.follow(bytes);
        // The time for a head runs from its first byte, however slowly the others follow. The first head of a connection is
        // timed from the accept: a client that connects has something to say.
        let head_began = !was_inside && inner.framing.inside_head() && inner.heads > 0;
        // What is read for nothing has one time in all.
        let moves_body = inner.pump.as_ref().is_some_and(|pump| !pump.is_skipping());
        if head_began || moves_body {
            inner.waiting_since_ms = self.now_ms();
        }
        minors
    }

    /// The client has ended its side. True: what it has asked for is answered all the same, and hyper must not know, which
    /// would give the answer up. A body that is not complete has failed with it; and nobody can speak WebSocket without a
    /// way there (RFC 6455 §5.5.1 wants a Close from both). Who leaves while it waits for a slot is not served: that is how
    /// people leave a page that does not come.
    pub(super) fn outlives_end(&self) -> bool {
        let mut inner = self.lock();
        let is_in_vain = inner.in_flight
            && (inner.terms.may_upgrade || self.connection.is_still_waiting(inner.heads == 1));
        inner.has_ended = inner.framing.is_outside_bodies() && !is_in_vain;
        inner.has_ended
    }

    /// What was written ends between two chunks. For hyper's reads: what it has encoded by then has left, or stands still.
    pub(super) fn is_between_chunks(&self) -> bool {
        let inner = self.lock();
        inner.sends_chunks && inner.write_blocked_since_ms.is_none()
    }

    /// A write was tried; `blocked`: the client takes no more at present.
    pub(super) fn wrote(&self, blocked: bool) {
        let mut inner = self.lock();
        match (blocked, inner.write_blocked_since_ms) {
            (true, None) => inner.write_blocked_since_ms = Some(self.now_ms()),
            (false, Some(_)) => inner.write_blocked_since_ms = None,
            _ => {}
        }
    }

    /// The range whose stand-in hyper writes next.
    pub(super) fn next_file(&self) -> Option<Arc<FileRange>> {
        self.lock().files.front().cloned()
    }

    /// The first range was sent.
    pub(super) fn end_file(&self) {
        self.lock().files.pop_front();
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }
}

/// For the service.
impl Http1State {
    pub(super) fn take_given(&self) -> Option<Request> {
        self.lock().given.take()
    }

    /// A head was parsed: counts it and tells which rule it breaks.
    pub(super) fn begin_request(&self, terms: Terms) -> Option<Refusal> {
        let mut inner = self.lock();
        inner.heads += 1;
        inner.in_flight = true;
        inner.terms = terms;
        inner.has_looked_behind = false;
        inner.owes_head = true;
        let ordinal = inner.heads;
        inner.framing.broken_rule(ordinal)
    }

    /// The request asks for an upgrade.
    pub(super) fn expect_upgrade(&self) {
        self.lock().terms.may_upgrade = true;
    }

    /// The request has a body, which `core` shall receive.
    pub(super) fn begin_body(&self, body: Incoming, core: Arc<Core>) {
        let mut inner = self.lock();
        inner.pump = Some(Pump::new(body, core, inner.heads));
        inner.waiting_since_ms = self.now_ms();
    }
}

/// For the answers.
impl Http1State {
    /// hyper may have the head of the answer now. False: [`begin_leaving`](Http1State::begin_leaving) comes first.
    pub(super) fn may_answer(&self) -> bool {
        let mut inner = self.lock();
        let may = inner.is_leaving || !self.is_last(&inner);
        inner.owes_head &= !may;
        may
    }

    /// hyper puts the body of this answer into chunks.
    pub(super) fn begin_chunks(&self) {
        self.lock().sends_chunks = true;
    }

    /// The whole answer is in hyper's hands.
    pub(super) fn end_request(&self) {
        let mut inner = self.lock();
        inner.in_flight = false;
        inner.sends_chunks = false;
        inner.waiting_since_ms = self.now_ms();
    }

    pub(super) fn terms(&self) -> Terms {
        self.lock().terms
    }

    /// The head of the answer goes out, and the connection is kept as far as the request's body is concerned. To be asked
    /// once; false: the head has to say that it closes.
    pub(super) fn settle_body(&self, is_streaming: bool) -> bool {
        let mut inner = self.lock();
        let Inner { pump, is_leaving, .. } = &mut *inner;
        // hyper says it already.
        *is_leaving || pump.as_mut().is_none_or(|pump| pump.settle(is_streaming))
    }

    /// The connection closes after this answer although the client may be sending.
    pub(super) fn expect_unread(&self) {
        self.lock().unread = true;
    }

    /// The 101 response goes out now.
    pub(super) fn begin_upgrade(&self, upgrade: Upgrade) {
        self.lock().upgrade = Some(upgrade);
    }

    /// hyper gets a stand-in for this range of a file.
    pub(super) fn enqueue(&self, range: Arc<FileRange>) {
        self.lock().files.push_back(range);
    }

    /// The client has not taken all that was written.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.lock().write_blocked_since_ms.is_some()
    }
}

/// For the task.
impl Http1State {
    /// The answer to the present request shall be the last of this connection, and its head can still say so: hyper has to
    /// be told before it gets that head. True once.
    pub(super) fn begin_leaving(&self) -> bool {
        let mut inner = self.lock();
        if !self.is_last(&inner) {
            return false;
        }
        let begins = inner.owes_head && !inner.is_leaving;
        inner.is_leaving |= begins;
        begins
    }

    /// No request is served behind the present one.
    fn is_last(&self, inner: &Inner) -> bool {
        self.connection.shared().is_draining() || inner.has_ended && inner.framing.heads() == inner.heads
    }

    /// The client has ended its side, and has got all answers that are known of. hyper may have another request, and has
    /// it looked for in one more turn.
    pub(super) fn rest_behind_end(&self) -> Rest {
        let mut inner = self.lock();
        if !inner.has_ended || inner.in_flight || inner.write_blocked_since_ms.is_some() {
            return Rest::Some;
        }
        if std::mem::replace(&mut inner.has_looked_behind, true) {
            Rest::None
        } else {
            Rest::Unknown
        }
    }

    /// Moves one piece of the request body; true if hyper should look again.
    pub(super) fn pump(&self, context: &mut Context<'_>) -> bool {
        let mut inner = self.lock();
        let Inner { pump, framing, .. } = &mut *inner;
        let Some(at_work) = pump else { return false };
        match at_work.step(framing, self.connection.settings(), context) {
            Pumped::Nothing => false,
            Pumped::Closed => {
                let over = inner.pump.take();
                inner.unread = true;
                // With it the last of the request may go, and its access record calls the event sink.
                drop(inner);
                drop(over);
                true
            }
            Pumped::Skipped => {
                let over = inner.pump.take();
                inner.waiting_since_ms = self.now_ms();
                drop(inner);
                drop(over);
                true
            }
            Pumped::Moved {
                waiter,
                core,
                is_over,
                has_failed,
            } => {
                if is_over {
                    inner.pump = None;
                    inner.unread |= has_failed;
                }
                drop(inner);
                if let Some(waiter) = waiter {
                    core.wake(waiter);
                }
                true
            }
        }
    }

    /// The connection ends because the client stands still: whoever waits for the body learns that it was too slow.
    pub(super) fn stall(&self) {
        if let Some(pump) = &self.lock().pump {
            pump.stall();
        }
    }

    pub(super) fn take_upgrade(&self) -> Option<Upgrade> {
        self.lock().upgrade.take()
    }

    /// The client may still be sending what nobody will read.
    pub(super) fn has_unread(&self) -> bool {
        self.lock().unread
    }

    /// Stores the deadline that counts now, for the sweep; tells what is overdue already.
    pub(super) fn check_deadline(&self) -> Option<Overdue> {
        let inner = self.lock();
        let awaited = inner.pump.as_ref().map(Pump::awaited);
        let (body_awaited_since_ms, body_rate) = awaited.unwrap_or_default();
        let situation = Situation {
            write_blocked_since_ms: inner.write_blocked_since_ms,
            in_flight: inner.in_flight,
            body_awaited_since_ms,
            body_rate,
            inside_head: inner.framing.inside_head(),
            is_first: inner.heads == 0,
            draining_since_ms: self.connection.shared().draining_since_ms(),
            waiting_since_ms: inner.waiting_since_ms,
            handshake_ms: self.handshake_ms,
        };
        drop(inner);
        self.connection.keep_deadline(&situation)
    }
}
