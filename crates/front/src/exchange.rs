//! One request's way back: what the application's side may ask of a connection.
//!
//! An [`Exchange`] is called from any thread, never blocks and never awaits: each call changes one locked state and rings
//! for the connection's task, which takes what it finds. The state ([`Core`]) is shared by two owners that live apart: the
//! `Exchange` of the application's side, whose drop without an answer means 500, and hyper's side in `response` and
//! `connection`, whose drop means that the client is gone. Lock rule: no method of the handoff and no wake-up is ever called
//! while the state is locked. The file stays whole: a call and the state that it changes are read together.

use std::any::Any;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use fairlead_http::ResponseHead;

use crate::access_log::{Account, Instead};
use crate::body::{End, FilePart, Incoming, Outgoing};
use crate::connection::Connection;
use crate::error::{BodyError, Gone};
use crate::handoff::LogLevel;
use crate::proxy::Errand;

/// What [`Exchange::read_body`] and its siblings found.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyRead {
    /// The next bytes of the request body, at least one.
    Data(Bytes),
    /// The body is complete and all of it was read; also the answer for a request without a body.
    End,
    /// Nothing has arrived yet; [`Exchange::wait_body`] tells when to ask again.
    Pending,
    /// The rest will not come.
    Failed(BodyError),
}

/// One request's way back to its client.
///
/// The calls of one response go in the order `start_response`, `write`…, `finish`, or one `respond`, or one
/// `accept_upgrade`. A call that comes too late returns [`Gone`] and changes nothing.
pub struct Exchange {
    core: Arc<Core>,
    attachment: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Exchange {
    pub(crate) fn new(core: Arc<Core>) -> Exchange {
        Exchange {
            core,
            attachment: OnceLock::new(),
        }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Sends a whole response. Its `Content-Length` is added unless the head carries one.
    pub fn respond(&self, head: ResponseHead, body: impl Into<Bytes>) -> Result<(), Gone> {
        self.answer(Answer::Whole(head, body.into()))
    }

    /// Begins a response whose body follows in pieces: delimited by the head's `Content-Length`, else chunked, else (to an
    /// HTTP/1.0 client) by the end of the connection. The head leaves with the first piece at the latest.
    pub fn start_response(&self, head: ResponseHead) -> Result<(), Gone> {
        self.answer(Answer::Streaming(head))
    }

    /// Adds a piece to the body of a begun response. Always takes it; ask [`wait_writable`](Exchange::wait_writable) before
    /// the next one, or memory grows with a client that does not read.
    pub fn write(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        let piece = piece.into();
        let is_empty = piece.is_empty();
        self.add(is_empty, |outgoing| outgoing.push(piece))
    }

    /// Adds `length` bytes of a regular file from `offset` to the body of a begun response, without copying them to the
    /// application's side. [`wait_writable`](Exchange::wait_writable) says no until all of it was handed to the client's
    /// connection. A file that is shorter by then, or cannot be read, cuts the connection with a line in the log.
    pub fn write_file(&self, file: File, offset: u64, length: u64) -> Result<(), Gone> {
        let part = FilePart {
            file: Arc::new(file),
            offset,
            left: length,
        };
        self.add(length == 0, |outgoing| outgoing.push_file(part))
    }

    fn add(&self, is_empty: bool, push: impl FnOnce(&mut Outgoing)) -> Result<(), Gone> {
        let mut state = self.core.lock();
        if state.is_overruled {
            return Ok(());
        }
        if state.outgoing.end != End::Open || !state.began_streaming() {
            return Err(Gone);
        }
        if state.muted {
            return Ok(());
        }
        if state.closed {
            return Err(Gone);
        }
        if is_empty {
            return Ok(());
        }
        push(&mut state.outgoing);
        drop(state);
        self.core.connection.wake();
        Ok(())
    }

    /// Ends a response begun with [`start_response`](Exchange::start_response).
    pub fn finish(&self) {
        let mut state = self.core.lock();
        if state.outgoing.end != End::Open || !state.began_streaming() {
            return;
        }
        state.outgoing.end = End::Complete;
        if state.closed {
            return;
        }
        drop(state);
        self.core.connection.wake();
    }

    /// Is the next [`write`](Exchange::write) welcome? `true`: fewer than `response_high_water` bytes wait, or the client is
    /// gone and the next write says so. `false`: [`Handoff::wake`](crate::Handoff::wake) follows with `token`, once.
    pub fn wait_writable(&self, token: u64) -> bool {
        let mut state = self.core.lock();
        let has_room = self.has_room(&state);
        if !has_room {
            state.outgoing.token = Some(token);
        }
        has_room
    }

    /// The same without a wake-up.
    pub fn is_writable(&self) -> bool {
        self.has_room(&self.core.lock())
    }

    fn has_room(&self, state: &State) -> bool {
        state.closed
            || !state
                .outgoing
                .is_full(self.core.connection.settings().response_high_water)
    }

    /// Cuts the connection: the response was begun and cannot be completed, and an honest end would tell the client
    /// otherwise. What was written before still goes out. Before any answer this closes without a response.
    pub fn abort(&self, why: &str) {
        let mut state = self.core.lock();
        if state.closed || state.is_answered() {
            return;
        }
        match state.answer {
            Answer::Waiting => state.answer = Answer::Aborted,
            _ => state.outgoing.end = End::Failed(()),
        }
        drop(state);
        self.core
            .connection
            .log(LogLevel::Warning, format_args!("the response was cut: {why}"));
        self.core.connection.wake();
    }

    /// Accepts the WebSocket handshake with `head` (status 101). [`Handoff::upgraded`](crate::Handoff::upgraded) or
    /// [`Handoff::upgrade_lost`](crate::Handoff::upgrade_lost) follows, exactly once, if this returns `Ok`.
    pub fn accept_upgrade(self: &Arc<Self>, head: ResponseHead) -> Result<(), Gone> {
        if !self.core.upgrade_requested || head.status != 101 {
            let status = head.status;
            self.core.connection.log(
                LogLevel::Warning,
                format_args!(
                    "an upgrade was accepted with status {status} that {}; answer the request otherwise",
                    if self.core.upgrade_requested {
                        "is not 101"
                    } else {
                        "the client did not ask for"
                    }
                ),
            );
            return Err(Gone);
        }
        self.answer(Answer::Upgrade(head, Arc::clone(self)))
    }

    /// Takes up to `max` bytes of the request body. The first call makes a client that waits for `100 Continue` send.
    pub fn read_body(&self, max: usize) -> BodyRead {
        self.read(|incoming| incoming.take(max))
    }

    /// Takes a line with its line feed, or what there is of one: whoever wants the rest asks again.
    pub fn read_line(&self) -> BodyRead {
        self.read(Incoming::take_line)
    }

    /// Takes what is left of the first chunk of a chunked body (RFC 9112 §7.1) once it is whole, or `limit` bytes of a
    /// longer one. In a body without chunks each piece counts as one, as it came. [`wait_more`](Exchange::wait_more) tells
    /// when to ask again.
    pub fn read_chunk(&self, limit: usize) -> BodyRead {
        let high_water = self.core.connection.settings().body_high_water;
        self.read(|incoming| incoming.take_chunk(limit, high_water))
    }

    fn read(&self, take: impl FnOnce(&mut Incoming) -> Option<Bytes>) -> BodyRead {
        let mut state = self.core.lock();
        let woken = state.incoming.want();
        let read = match take(&mut state.incoming) {
            Some(piece) => BodyRead::Data(piece),
            None => match &state.incoming.end {
                End::Complete => BodyRead::End,
                End::Failed(why) => BodyRead::Failed(why.clone()),
                End::Open if state.lost => BodyRead::Failed(BodyError::Gone),
                End::Open if state.closed => BodyRead::Failed(BodyError::TooLate),
                End::Open => BodyRead::Pending,
            },
        };
        // The pump stops at the high-water mark and goes on when the application has made room again.
        let resume = std::mem::take(&mut state.incoming.paused) && state.incoming.end == End::Open;
        drop(state);
        if woken || resume {
            self.core.connection.wake();
        }
        read
    }

    /// Would [`read_body`](Exchange::read_body) find something? `true`: bytes, the end or a failure are there. `false`:
    /// [`Handoff::wake`](crate::Handoff::wake) follows with `token`, once.
    pub fn wait_body(&self, token: u64) -> bool {
        self.wait(token, true, |incoming| !incoming.is_empty())
    }

    /// All bytes of the body that have come so far, read or not.
    pub fn received(&self) -> u64 {
        self.core.lock().incoming.received()
    }

    /// Has more of the body come than the `seen` bytes, or its end or a failure? Else
    /// [`Handoff::wake`](crate::Handoff::wake) follows with `token`, once. Unlike [`wait_body`](Exchange::wait_body) it
    /// leaves it to the caller how long a silent client is waited for.
    pub fn wait_more(&self, token: u64, seen: u64) -> bool {
        self.wait(token, false, |incoming| incoming.received() > seen)
    }

    fn wait(&self, token: u64, is_timed: bool, is_there: impl FnOnce(&Incoming) -> bool) -> bool {
        let mut state = self.core.lock();
        if state.closed || state.incoming.end != End::Open || is_there(&state.incoming) {
            return true;
        }
        state.incoming.token = Some(token);
        state.incoming.wanted = true;
        if is_timed {
            let now = self.core.connection.house().now_ms();
            state.incoming.awaited_since_ms.get_or_insert(now);
        }
        drop(state);
        // Even if the pump has long been wanted: the time that the client has begins here, and only a turn starts its clock.
        self.core.connection.wake();
        false
    }

    /// Has the client disconnected before its response was complete?
    pub fn is_gone(&self) -> bool {
        self.core.lock().lost
    }

    /// Keeps `value` with this request for the engine's own use. Only the first call has an effect.
    pub fn attach(&self, value: Box<dyn Any + Send + Sync>) {
        let _ = self.attachment.set(value);
    }

    /// The value given to [`attach`](Exchange::attach).
    pub fn attachment(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.attachment.get().map(Box::as_ref)
    }

    /// What the rules know of this request, if they or the log want to know anything.
    pub fn account(&self) -> Option<Arc<Account>> {
        self.core.account().cloned()
    }

    fn answer(&self, answer: Answer) -> Result<(), Gone> {
        let status = match &answer {
            Answer::Whole(head, _) | Answer::Streaming(head) | Answer::Upgrade(head, _) => head.status,
            _ => 0,
        };
        match self.seen(status) {
            None => self.put(answer, false),
            Some(instead) => {
                let is_upgrade = matches!(answer, Answer::Upgrade(..));
                self.put(instead, true)?;
                // No socket will leave, and whoever wants one has to know.
                if is_upgrade {
                    Err(Gone)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Shows an answer to the rules, and tells what they want in its place.
    fn seen(&self, status: u16) -> Option<Answer> {
        let account = self.core.account()?;
        let state = self.core.lock();
        if state.closed || !matches!(state.answer, Answer::Waiting) {
            return None;
        }
        drop(state);
        account.see(status).map(|instead| match instead {
            Instead::Answer(head, body) => Answer::Whole(head, body),
            Instead::Cut => Answer::Aborted,
        })
    }

    fn put(&self, answer: Answer, is_overruled: bool) -> Result<(), Gone> {
        let mut state = self.core.lock();
        if state.closed || !matches!(state.answer, Answer::Waiting) {
            return Err(Gone);
        }
        state.answer = answer;
        state.is_overruled = is_overruled;
        drop(state);
        self.core.connection.wake();
        Ok(())
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.core.lock();
        if state.closed || state.is_answered() {
            return;
        }
        let complaint = match state.answer {
            Answer::Waiting => {
                drop(state);
                let answer = self.seen(500).unwrap_or(Answer::Abandoned);
                state = self.core.lock();
                if state.closed {
                    return;
                }
                state.answer = answer;
                "the application ended without a response; the client gets 500"
            }
            _ if state.outgoing.end == End::Open => {
                let why = "the application ended in the middle of its response; the connection is cut";
                state.outgoing.end = End::Failed(());
                why
            }
            _ => return,
        };
        drop(state);
        self.core
            .connection
            .log(LogLevel::Error, format_args!("{complaint}"));
        self.core.connection.wake();
    }
}

/// The state that both sides of an exchange share.
pub(crate) struct Core {
    pub(crate) connection: Arc<Connection>,
    pub(crate) upgrade_requested: bool,
    /// Who is told of changes instead of the handoff.
    errand: OnceLock<Arc<Errand>>,
    account: OnceLock<Arc<Account>>,
    state: Mutex<State>,
}

impl Core {
    /// `body`: a request without one, one to be read at once, or one for which the client waits for permission.
    pub(crate) fn new(connection: Arc<Connection>, upgrade_requested: bool, body: BodyPlan) -> Core {
        let mut incoming = Incoming::default();
        match body {
            BodyPlan::None => incoming.end = End::Complete,
            BodyPlan::Eager => incoming.wanted = true,
            BodyPlan::OnDemand => {}
        }
        let state = State {
            answer: Answer::Waiting,
            outgoing: Outgoing::default(),
            incoming,
            closed: false,
            muted: false,
            is_overruled: false,
            lost: false,
        };
        Core {
            connection,
            upgrade_requested,
            errand: OnceLock::new(),
            account: OnceLock::new(),
            state: Mutex::new(state),
        }
    }

    /// The request goes to another server: from now on `errand` stands where the application's side does.
    pub(crate) fn send_to(&self, errand: Arc<Errand>) {
        let _ = self.errand.set(errand);
    }

    /// A body comes or has come; asked before anybody has read of it. HTTP/2 needs no header that says so.
    pub(crate) fn has_body(&self) -> bool {
        let incoming = &self.lock().incoming;
        incoming.end != End::Complete || !incoming.is_empty()
    }

    pub(crate) fn errand(&self) -> Option<&Arc<Errand>> {
        self.errand.get()
    }

    /// From now on `account` sees the answer. Before anybody can give one.
    pub(crate) fn keep(&self, account: Account) {
        let _ = self.account.set(Arc::new(account));
    }

    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.account.get()
    }

    /// The front answers by itself, with this status.
    pub(crate) fn told(&self, status: u16) {
        if let Some(account) = self.account() {
            account.told(status);
        }
    }

    /// So many bytes of the response's body went out.
    pub(crate) fn sent(&self, count: usize) {
        if let Some(account) = self.account() {
            account.sent(count as u64);
        }
    }

    /// What the unit with this token waits for has changed.
    pub(crate) fn wake(&self, token: u64) {
        match self.errand.get() {
            Some(errand) => errand.wake(token),
            None => self.connection.handoff().wake(token),
        }
    }

    /// The upgrade of `exchange`, which is ours, did not come to its end.
    pub(crate) fn upgrade_lost(&self, exchange: &Arc<Exchange>, why: String) {
        match self.errand.get() {
            Some(errand) => errand.upgrade_lost(),
            None => self.connection.handoff().upgrade_lost(exchange, why),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock can only come from an allocation failure; the state is plain data and stays usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body stands still although the application waits for it, and the connection ends for that.
    pub(crate) fn stall_body(&self) {
        let mut state = self.lock();
        if state.incoming.awaited_since_ms.is_some() && state.incoming.end == End::Open {
            state.incoming.end = End::Failed(BodyError::Stalled);
        }
    }

    /// Since when the application waits for bytes of the body.
    pub(crate) fn body_awaited_since(&self) -> Option<u64> {
        self.lock().incoming.awaited_since_ms
    }

    /// The answer is complete as far as the client is concerned: what the application still writes is swallowed.
    pub(crate) fn mute(&self) {
        self.lock().muted = true;
        self.close(false);
    }

    /// The answer is complete, or the connection is `lost` before that: everyone who waits is told.
    pub(crate) fn close(&self, lost: bool) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.lost = lost;
        let waiting = [state.outgoing.token.take(), state.incoming.token.take()];
        let last = if state.began_streaming() {
            Answer::TakenStreaming
        } else {
            Answer::Taken
        };
        let answer = std::mem::replace(&mut state.answer, last);
        drop(state);
        if let Answer::Upgrade(_, exchange) = answer {
            self.upgrade_lost(&exchange, "the client left before the 101 response".into());
        }
        for token in waiting.into_iter().flatten() {
            self.wake(token);
        }
    }
}

/// How the body of a request will be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    None,
    Eager,
    OnDemand,
}

/// Guarded by the mutex of [`Core`].
pub(crate) struct State {
    pub(crate) answer: Answer,
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    /// Nothing is taken any more: the answer is complete or the client is lost.
    pub(crate) closed: bool,
    /// Further pieces have no place (HEAD, 204, a Content-Length that is used up) and that is no mistake.
    pub(crate) muted: bool,
    /// A rule has given another answer, and what the application writes is swallowed.
    is_overruled: bool,
    /// The client left before its answer was complete.
    pub(crate) lost: bool,
}

impl State {
    fn began_streaming(&self) -> bool {
        matches!(self.answer, Answer::Streaming(_) | Answer::TakenStreaming)
    }

    /// Nothing of the answer is still owed by the application's side.
    fn is_answered(&self) -> bool {
        match self.answer {
            Answer::Waiting => false,
            Answer::Streaming(_) | Answer::TakenStreaming => self.outgoing.end != End::Open,
            _ => true,
        }
    }
}

/// The answer on its way to the connection's task.
pub(crate) enum Answer {
    Waiting,
    Whole(ResponseHead, Bytes),
    Streaming(ResponseHead),
    /// The exchange stays alive until its socket has left or is lost.
    Upgrade(ResponseHead, Arc<Exchange>),
    Aborted,
    Abandoned,
    TakenStreaming,
    Taken,
}
