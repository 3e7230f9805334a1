//! One connection: the small state that the parts of its task share.
//!
//! The desk is locked by that task ([`crate::http1`]) only, so the lock is never contended; lock order: desk before the
//! state of an exchange. A deadline is a number that the sweep in `drain` looks at, not a timer, so a request costs no timer
//! operation.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use fairlead_http::{Address, ClientCertificate, Request, RequestBuilder};
use hyper::body::{Body, Incoming};

use crate::accept::{Manner, Protocol};
use crate::body::End;
use crate::deadline::{deadline, Overdue, Situation};
use crate::error::{BodyError, Refusal};
use crate::exchange::{Core, Exchange};
use crate::file_range::FileRange;
use crate::front::House;
use crate::handoff::{Handoff, LogLevel};
use crate::http1::framing::Framing;
use crate::http1::sendfile::Trust;
use crate::settings::FrontSettings;

/// No deadline at present.
const NEVER: u64 = u64::MAX;

/// What the parts of one connection share.
pub(crate) struct Connection {
    pub(crate) peer: Address,
    pub(crate) local: Address,
    pub(crate) manner: Arc<Manner>,
    /// Peer and local are those that a PROXY header has told.
    pub(crate) is_announced: bool,
    house: Arc<House>,
    /// What the client has shown in its handshake.
    client: OnceLock<Arc<ClientCertificate>>,
    task: OnceLock<Waker>,
    deadline_ms: AtomicU64,
    trust: Trust,
    /// Shared by the streams of one HTTP/2 connection, which counts by it. Never read.
    _load: Option<Arc<()>>,
    desk: Mutex<Desk>,
}

struct Desk {
    framing: Framing,
    heads: u64,
    pump: Option<Pump>,
    /// The 101 response is being written for this exchange.
    upgrade: Option<Arc<Exchange>>,
    in_flight: bool,
    /// The head of the present answer has not been made yet, so it can still say that the connection closes.
    owes_head: bool,
    /// hyper knows that the next answer is the last.
    is_leaving: bool,
    /// The client may still be sending what nobody will read.
    unread: bool,
    /// When the present wait began: for a head, for the next request, or for bytes of a body.
    waiting_since_ms: u64,
    /// When the client last went on with a handshake of TLS.
    greeted_ms: u64,
    write_blocked_since_ms: Option<u64>,
    /// Stretches of files that hyper was given stand-ins for, in that order.
    files: VecDeque<Arc<FileRange>>,
    /// What the head that hyper reads next stands for.
    given: Option<Request>,
}

/// Carries a request body from hyper to its exchange.
struct Pump {
    body: Incoming,
    core: Arc<Core>,
    /// The number of its head.
    ordinal: u64,
    total: u64,
}

impl Connection {
    pub(crate) fn new(house: Arc<House>, manner: Arc<Manner>, peer: Address, local: Address) -> Connection {
        let now = house.now_ms();
        let desk = Desk {
            framing: Framing::default(),
            heads: 0,
            pump: None,
            upgrade: None,
            in_flight: false,
            owes_head: false,
            is_leaving: false,
            unread: false,
            waiting_since_ms: now,
            greeted_ms: 0,
            write_blocked_since_ms: None,
            files: VecDeque::new(),
            given: None,
        };
        Connection {
            peer,
            local,
            manner,
            is_announced: false,
            house,
            client: OnceLock::new(),
            task: OnceLock::new(),
            deadline_ms: AtomicU64::new(NEVER),
            trust: Trust::default(),
            _load: None,
            desk: Mutex::new(desk),
        }
    }

    /// A stream of this connection, which is an HTTP/2 one: what its task and its exchange share. `load` is dropped with it.
    pub(crate) fn branch(&self, load: Arc<()>) -> Connection {
        Connection {
            _load: Some(load),
            is_announced: self.is_announced,
            client: self.client.clone(),
            ..Connection::new(
                Arc::clone(&self.house),
                Arc::clone(&self.manner),
                self.peer.clone(),
                self.local.clone(),
            )
        }
    }

    pub(crate) fn house(&self) -> &Arc<House> {
        &self.house
    }

    pub(crate) fn settings(&self) -> &FrontSettings {
        &self.house.settings
    }

    pub(crate) fn handoff(&self) -> &dyn Handoff {
        &*self.house.handoff
    }

    /// Logs a line that begins with the peer.
    pub(crate) fn log(&self, level: LogLevel, line: fmt::Arguments<'_>) {
        let line = format!("{}: {line}", self.peer);
        self.handoff().log(level, &line);
    }

    /// The task of this connection is the present one, for its whole life.
    pub(crate) fn enlist(&self, context: &Context<'_>) {
        // The waker of a tokio task is always the same.
        self.task.get_or_init(|| context.waker().clone());
    }

    /// The client has shown this certificate.
    pub(crate) fn know_client(&self, certificate: ClientCertificate) {
        let _ = self.client.set(Arc::new(certificate));
    }

    pub(crate) fn client(&self) -> Option<Arc<ClientCertificate>> {
        self.client.get().cloned()
    }

    /// A request of this connection: what its head says, with what the connection knows of the client.
    pub(crate) fn complete(&self, head: RequestBuilder) -> Request {
        let mut request = head
            .scheme(self.manner.scheme)
            .peer(self.peer.clone())
            .local(self.local.clone())
            .router(self.manner.router)
            .announced(self.is_announced)
            .client(self.client())
            .finish();
        if let Err(why) = request.believe(&self.settings().trusted_proxies) {
            self.log(LogLevel::Warning, format_args!("{why}"));
        }
        request
    }

    /// Lets the connection's task take a turn. From any thread.
    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.get() {
            self.house.bell.wake(task);
        }
    }

    /// Lets the task take a turn if its deadline has passed.
    pub(crate) fn wake_if_due(&self, now_ms: u64) {
        if self.deadline_ms.load(Ordering::Relaxed) <= now_ms {
            self.wake();
        }
    }

    /// Bytes have arrived.
    pub(crate) fn read(&self, bytes: &[u8]) {
        let mut desk = self.desk();
        let was_inside = desk.framing.inside_head();
        desk.framing.follow(bytes);
        // The time for a head runs from its first byte, however slowly the others follow. The first head of a connection is
        // timed from the accept: a client that connects has something to say.
        let head_began = !was_inside && desk.framing.inside_head() && desk.heads > 0;
        if head_began || desk.pump.is_some() {
            desk.waiting_since_ms = self.house.now_ms();
        }
    }

    /// The client went on with its handshake of TLS.
    pub(crate) fn greeted(&self) {
        self.desk().greeted_ms = self.house.now_ms();
    }

    /// A write was tried; `blocked`: the client takes no more at present.
    pub(crate) fn wrote(&self, blocked: bool) {
        let mut desk = self.desk();
        match (blocked, desk.write_blocked_since_ms) {
            (true, None) => desk.write_blocked_since_ms = Some(self.house.now_ms()),
            (false, Some(_)) => desk.write_blocked_since_ms = None,
            _ => {}
        }
    }

    /// Since when the client has not taken what was written.
    pub(crate) fn write_blocked_since(&self) -> Option<u64> {
        self.desk().write_blocked_since_ms
    }

    /// The deadline that counts now, for the sweep. hyper's connections keep their own.
    pub(crate) fn set_deadline(&self, when_ms: Option<u64>) {
        self.deadline_ms
            .store(when_ms.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// hyper gets a stand-in for this stretch of a file.
    pub(crate) fn enqueue(&self, stretch: Arc<FileRange>) {
        self.desk().files.push_back(stretch);
    }

    /// The stretch whose stand-in hyper writes next.
    pub(crate) fn next_file(&self) -> Option<Arc<FileRange>> {
        self.desk().files.front().cloned()
    }

    /// The first stretch was sent.
    pub(crate) fn end_file(&self) {
        self.desk().files.pop_front();
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The client has not taken all that was written.
    pub(crate) fn is_write_blocked(&self) -> bool {
        self.desk().write_blocked_since_ms.is_some()
    }

    /// There is one request, and a response that is not chunked.
    pub(crate) fn speaks_uwsgi(&self) -> bool {
        self.manner.protocol == Protocol::Uwsgi
    }

    /// The head that hyper reads next stands for `request`.
    pub(crate) fn expect_given(&self, request: Request) {
        self.desk().given = Some(request);
    }

    pub(crate) fn take_given(&self) -> Option<Request> {
        self.desk().given.take()
    }

    /// A head was parsed: counts it and tells which rule it breaks.
    pub(crate) fn begin_request(&self) -> Option<Refusal> {
        let mut desk = self.desk();
        desk.heads += 1;
        desk.in_flight = true;
        desk.owes_head = true;
        let ordinal = desk.heads;
        desk.framing.broken_rule(ordinal)
    }

    /// The answer to the present request shall be the last of this connection, and its head can still say so: hyper has to
    /// be told before it gets that head. True once.
    pub(crate) fn begin_leaving(&self) -> bool {
        if !self.house.drain.is_draining() {
            return false;
        }
        let mut desk = self.desk();
        let begins = desk.owes_head && !desk.is_leaving;
        desk.is_leaving |= begins;
        begins
    }

    /// hyper may have the head of the answer now. False: [`begin_leaving`](Connection::begin_leaving) comes first.
    pub(crate) fn may_answer(&self) -> bool {
        let mut desk = self.desk();
        let may = desk.is_leaving || !self.house.drain.is_draining();
        desk.owes_head &= !may;
        may
    }

    /// The request has a body, which `core` shall receive.
    pub(crate) fn begin_body(&self, body: Incoming, core: Arc<Core>) {
        let mut desk = self.desk();
        desk.pump = Some(Pump {
            body,
            core,
            ordinal: desk.heads,
            total: 0,
        });
        desk.waiting_since_ms = self.house.now_ms();
    }

    /// The whole answer is in hyper's hands.
    pub(crate) fn end_request(&self) {
        let mut desk = self.desk();
        desk.in_flight = false;
        desk.waiting_since_ms = self.house.now_ms();
    }

    /// The connection closes after this answer although the client may be sending.
    pub(crate) fn expect_unread(&self) {
        self.desk().unread = true;
    }

    /// The 101 response of `exchange` goes out now.
    pub(crate) fn begin_upgrade(&self, exchange: Arc<Exchange>) {
        self.desk().upgrade = Some(exchange);
    }

    pub(crate) fn take_upgrade(&self) -> Option<Arc<Exchange>> {
        self.desk().upgrade.take()
    }

    /// The client may still be sending what nobody will read.
    pub(crate) fn has_unread(&self) -> bool {
        self.desk().unread
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves one piece of the request body; true if hyper should look again.
    pub(crate) fn pump(&self, context: &mut Context<'_>) -> bool {
        let settings = self.settings();
        let mut desk = self.desk();
        let Desk { pump, framing, .. } = &mut *desk;
        let Some(pump) = pump else { return false };
        let mut state = pump.core.lock();
        if state.closed {
            // hyper reads the rest if it is already there, else closes after the response.
            drop(state);
            let over = desk.pump.take();
            desk.unread = true;
            // With it the last of the request may go, and its account calls the handoff.
            drop(desk);
            drop(over);
            return true;
        }
        if !state.incoming.wanted {
            return false;
        }
        if state.incoming.is_full(settings.body_high_water) {
            state.incoming.paused = true;
            return false;
        }
        drop(state);
        let frame = Pin::new(&mut pump.body).poll_frame(context);
        // hyper overlooks some of what breaks a body. What came before it is whole and goes to the application first.
        let is_broken = framing.is_body_broken(pump.ordinal);
        let frame = match frame {
            Poll::Ready(frame) => frame,
            Poll::Pending if is_broken => None,
            Poll::Pending => return false,
        };
        let mut state = pump.core.lock();
        match frame.map(|frame| frame.map(hyper::body::Frame::into_data)) {
            Some(Ok(Ok(piece))) => {
                let size = piece.len() as u64;
                pump.total += size;
                let ends_chunk = framing.chunk_ends(pump.ordinal, size);
                match settings.max_body {
                    Some(limit) if pump.total > limit => {
                        state.incoming.end = End::Failed(BodyError::TooLarge(limit));
                    }
                    _ => state.incoming.push(piece, ends_chunk),
                }
            }
            // Trailers: WSGI has no place for them.
            Some(Ok(Err(_))) => {}
            Some(Err(error)) => state.incoming.end = End::Failed(body_error(&error)),
            None if is_broken => {
                let why = "a line of its chunks or trailers ends with LF alone";
                state.incoming.end = End::Failed(BodyError::Malformed(why.into()));
            }
            None => state.incoming.end = End::Complete,
        }
        let token = state.incoming.token.take();
        let core = Arc::clone(&pump.core);
        state.incoming.awaited_since_ms = None;
        let ended = state.incoming.end != End::Open;
        let failed = matches!(state.incoming.end, End::Failed(_));
        drop(state);
        if ended {
            desk.pump = None;
            desk.unread |= failed;
        }
        drop(desk);
        if let Some(token) = token {
            core.wake(token);
        }
        true
    }

    /// The connection ends because the client stands still: whoever waits for the body learns that it was too slow.
    pub(crate) fn stall(&self) {
        if let Some(pump) = &self.desk().pump {
            pump.core.stall_body();
        }
    }

    /// Stores the deadline that counts now, for the sweep; tells what is overdue already.
    pub(crate) fn check_deadline(&self) -> Option<Overdue> {
        let desk = self.desk();
        let situation = Situation {
            write_blocked_since_ms: desk.write_blocked_since_ms,
            in_flight: desk.in_flight,
            body_awaited_since_ms: desk.pump.as_ref().and_then(|pump| pump.core.body_awaited_since()),
            inside_head: desk.framing.inside_head(),
            is_first: desk.heads == 0,
            draining_since_ms: self.house.drain.since_ms(),
            waiting_since_ms: desk.waiting_since_ms,
            greeted_ms: desk.greeted_ms,
        };
        drop(desk);
        let deadline = deadline(&situation, self.settings());
        self.deadline_ms
            .store(deadline.map_or(NEVER, |(when, _)| when), Ordering::Relaxed);
        deadline
            .filter(|(when, _)| *when <= self.house.now_ms())
            .map(|(_, overdue)| overdue)
    }
}

/// hyper tells by the kind of its inner error whether the bytes were wrong or did not come.
fn body_error(error: &hyper::Error) -> BodyError {
    let inner = error
        .source()
        .and_then(|inner| inner.downcast_ref::<std::io::Error>());
    match inner.map(|inner| (inner.kind(), inner)) {
        Some((ErrorKind::InvalidData | ErrorKind::InvalidInput, inner)) => {
            BodyError::Malformed(inner.to_string())
        }
        _ => BodyError::Gone,
    }
}
