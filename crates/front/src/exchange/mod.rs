//! One request's way back: what the application's side may ask of a connection.
//!
//! An [`Exchange`] is called from any thread, never blocks and never awaits: each call changes one locked state (`state`) and
//! wakes the connection's task, which takes what it finds. Its drop without an answer means 500. The proxy, which stands
//! where the application does, uses the same exchange and waits for it as a task does. The file stays whole: it is the one list
//! of these calls, each of a few lines.

mod chunked;
mod state;

use std::fs::File;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fairlead_http::{Request, ResponseHead};
use tokio::sync::oneshot;

use crate::access_log::{write_unserved, AccessRecord, Instead, Outcome};
use crate::body::{End, FilePart, Incoming, Waiter};
use crate::error::{BodyError, Gone};
use crate::events::LogLevel;
use crate::socket::BoxStream;
use crate::upgrade::{Taker, UpgradeReceiver};

use chunked::{without_chunks, BrokenChunks, ChunkedBody};
use state::{Slot, State};

pub(crate) use state::{Answer, BodyPlan, Core};

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
}

impl Exchange {
    pub(crate) fn new(core: Arc<Core>) -> Exchange {
        Exchange { core }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Sends a whole response. Its `Content-Length` is added unless the head carries one.
    pub fn respond(&self, mut head: ResponseHead, body: impl Into<Bytes>) -> Result<(), Gone> {
        let mut body = body.into();
        if takes_chunked(&mut head) {
            match without_chunks(&body) {
                Ok(data) => body = data,
                Err(why) => self.log(&why, "a response was sent as it is"),
            }
        }
        self.answer(Answer::Whole(head, body))
    }

    /// Begins a response whose body follows in pieces: delimited by the head's `Content-Length`, else chunked, else (to an
    /// HTTP/1.0 client) by the end of the connection. The head leaves with the first piece at the latest.
    ///
    /// Under a head that says `Transfer-Encoding: chunked` the pieces may be a body that was put into chunks already, cut
    /// anywhere: it is framed once.
    pub fn start_response(&self, mut head: ResponseHead) -> Result<(), Gone> {
        if takes_chunked(&mut head) {
            self.core.lock().chunked = Some(ChunkedBody::default());
        }
        self.answer(Answer::Streaming(head))
    }

    /// Adds a piece to the body of a begun response. Always takes it; ask [`wait_writable`](Exchange::wait_writable) before
    /// the next one, or memory grows with a client that does not read.
    pub fn write(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        let piece = piece.into();
        let is_empty = piece.is_empty();
        self.add(is_empty, |state| {
            let State {
                chunked, outgoing, ..
            } = state;
            match chunked {
                None => outgoing.push(piece),
                Some(chunked) => {
                    chunked.take(piece, |data| outgoing.push(data))?;
                    if chunked.is_over() {
                        outgoing.end = End::Complete;
                    }
                }
            }
            Ok(())
        })
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
        self.add(length == 0, |state| {
            if let Some(chunked) = &mut state.chunked {
                chunked.skip(length)?;
            }
            state.outgoing.push_file(part);
            Ok(())
        })
    }

    fn add(
        &self,
        is_empty: bool,
        push: impl FnOnce(&mut State) -> Result<(), BrokenChunks>,
    ) -> Result<(), Gone> {
        let mut state = self.core.lock();
        if state.is_overruled || state.chunked.as_ref().is_some_and(ChunkedBody::is_over) {
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
        let pushed = push(&mut state);
        if pushed.is_err() {
            state.outgoing.end = End::Failed(());
        }
        drop(state);
        if let Err(why) = &pushed {
            self.log(why, "the response was cut");
        }
        self.core.connection.wake();
        pushed.map_err(|BrokenChunks| Gone)
    }

    fn log(&self, why: &BrokenChunks, outcome: &str) {
        let connection = &self.core.connection;
        connection.log(LogLevel::Warning, format_args!("{outcome}: {why}"));
    }

    /// Ends a response begun with [`start_response`](Exchange::start_response).
    pub fn finish(&self) {
        let mut state = self.core.lock();
        if state.outgoing.end != End::Open || !state.began_streaming() {
            return;
        }
        let State {
            chunked, outgoing, ..
        } = &mut *state;
        let finished = chunked
            .as_mut()
            .map_or(Ok(()), |chunked| chunked.finish(|data| outgoing.push(data)));
        outgoing.end = finished.as_ref().map_or(End::Failed(()), |()| End::Complete);
        if state.closed {
            return;
        }
        drop(state);
        if let Err(why) = &finished {
            self.log(why, "the response was cut");
        }
        self.core.connection.wake();
    }

    /// Is the next [`write`](Exchange::write) welcome? `true`: fewer than `response_high_water` bytes wait, or the client is
    /// gone and the next write says so. `false`: [`EventSink::wake`](crate::EventSink::wake) follows with `token`, once.
    pub fn wait_writable(&self, token: u64) -> bool {
        self.wait_for_room(|| Waiter::Token(token))
    }

    /// The same for a task of the front.
    pub(crate) fn poll_writable(&self, context: &Context<'_>) -> Poll<()> {
        if self.wait_for_room(|| Waiter::Task(context.waker().clone())) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Ready once the client has left before its answer was complete. For the same task as
    /// [`poll_writable`](Exchange::poll_writable), and no other.
    pub(crate) fn poll_lost(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.core.lock();
        if state.lost {
            return Poll::Ready(());
        }
        if !state.closed {
            state.outgoing.waiter = Some(Waiter::Task(context.waker().clone()));
        }
        Poll::Pending
    }

    fn wait_for_room(&self, waiter: impl FnOnce() -> Waiter) -> bool {
        let mut state = self.core.lock();
        let has_room = self.has_room(&state);
        if !has_room {
            state.outgoing.waiter = Some(waiter());
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

    /// Accepts the WebSocket handshake with `head` (status 101). If this returns `Ok`, `receiver` gets the socket or learns
    /// that it was lost, exactly once; else it is dropped.
    pub fn accept_upgrade(&self, head: ResponseHead, receiver: Box<dyn UpgradeReceiver>) -> Result<(), Gone> {
        self.upgrade(head, Taker::Application(receiver))
    }

    /// The same for a task of the front.
    pub(crate) fn proxy_upgrade(
        &self,
        head: ResponseHead,
        taker: oneshot::Sender<(BoxStream, Bytes)>,
    ) -> Result<(), Gone> {
        self.upgrade(head, Taker::Proxy(taker))
    }

    fn upgrade(&self, head: ResponseHead, taker: Taker) -> Result<(), Gone> {
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
        self.answer(Answer::Upgrade(head, taker))
    }

    /// Takes up to `max` bytes of the request body. The first call makes a client that waits for `100 Continue` send.
    pub fn read_body(&self, max: usize) -> BodyRead {
        self.read(|incoming| incoming.take(max))
    }

    /// Takes a line with its line feed, but at most `max` bytes, or what there is of one: whoever wants the rest asks again.
    pub fn read_line(&self, max: usize) -> BodyRead {
        self.read(|incoming| incoming.take_line(max))
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
    /// [`EventSink::wake`](crate::EventSink::wake) follows with `token`, once.
    pub fn wait_body(&self, token: u64) -> bool {
        self.wait(|| Waiter::Token(token), true, |incoming| !incoming.is_empty())
    }

    /// [`read_body`](Exchange::read_body) for a task of the front; never [`BodyRead::Pending`].
    pub(crate) fn poll_body(&self, max: usize, context: &Context<'_>) -> Poll<BodyRead> {
        loop {
            match self.read_body(max) {
                BodyRead::Pending => {
                    let waiter = || Waiter::Task(context.waker().clone());
                    if !self.wait(waiter, true, |incoming| !incoming.is_empty()) {
                        return Poll::Pending;
                    }
                }
                read => return Poll::Ready(read),
            }
        }
    }

    /// All bytes of the body that have come so far, read or not.
    pub fn received(&self) -> u64 {
        self.core.lock().incoming.received()
    }

    /// Has more of the body come than the `seen` bytes, or its end or a failure? Else
    /// [`EventSink::wake`](crate::EventSink::wake) follows with `token`, once. Unlike [`wait_body`](Exchange::wait_body) it
    /// leaves it to the caller how long a silent client is waited for; only inside a chunk the minimum rate counts.
    pub fn wait_more(&self, token: u64, seen: u64) -> bool {
        self.wait(
            || Waiter::Token(token),
            false,
            |incoming| incoming.received() > seen,
        )
    }

    fn wait(
        &self,
        waiter: impl FnOnce() -> Waiter,
        is_timed: bool,
        is_there: impl FnOnce(&Incoming) -> bool,
    ) -> bool {
        let mut state = self.core.lock();
        if state.closed || state.incoming.end != End::Open || is_there(&state.incoming) {
            return true;
        }
        state.incoming.waiter = Some(waiter());
        state.incoming.want();
        let now = self.core.connection.shared().now_ms();
        if is_timed {
            state.incoming.awaited_since_ms.get_or_insert(now);
        }
        // Between two chunks a client may have nothing to say; within one it has begun something.
        if is_timed || state.incoming.is_inside_chunk() {
            state.incoming.rate.begin_wait(now);
        }
        drop(state);
        // Even if the pump has long been wanted: the time that the client has begins here, and only a turn starts its clock.
        self.core.connection.wake();
        false
    }

    /// The request waits for a slot from now on. Its client is gone if it only ends its side of the connection meanwhile.
    pub fn wait_for_slot(&self) {
        self.core.lock().slot = Slot::Awaited;
        self.core.connection.wait_for_slot();
    }

    /// The request has got a slot; [`begin`](Exchange::begin) follows when somebody works on it. False if nobody needs it:
    /// the client is gone, or was told that there was none.
    pub fn admit(&self) -> bool {
        let mut state = self.core.lock();
        if state.lost || state.slot == Slot::GivenUp {
            return false;
        }
        state.slot = Slot::Taken;
        drop(state);
        self.core.connection.admit();
        true
    }

    /// No slot is waited for any more. False if there is one, or the client is gone: then nothing has changed.
    pub(crate) fn give_up_slot(&self) -> bool {
        let mut state = self.core.lock();
        let gives_up = state.slot == Slot::Awaited && !state.lost;
        if gives_up {
            state.slot = Slot::GivenUp;
        }
        gives_up
    }

    /// The request waits for a slot.
    pub(crate) fn awaits_slot(&self) -> bool {
        self.core.lock().slot == Slot::Awaited
    }

    /// Nobody needs the application for a request that waits for a slot: its client is gone, or has its answer.
    pub fn is_over(&self) -> bool {
        let state = self.core.lock();
        state.lost || state.slot == Slot::GivenUp
    }

    /// The application works on the request from now on.
    pub fn begin(&self) {
        self.core.connection.begin();
    }

    /// Nobody will work on the request: its client has left first, after `took`. It still has its line in the log, as
    /// `outcome` and its rules want it.
    pub fn note_unserved(&self, request: &Request, outcome: Outcome, took: Duration) {
        write_unserved(self.core.connection.shared(), request, outcome, took);
    }

    /// Has the client disconnected before its response was complete?
    pub fn is_gone(&self) -> bool {
        self.core.lock().lost
    }

    /// What is kept of this request for the rules behind the application and for the log, if either wants anything.
    pub fn record(&self) -> Option<Arc<AccessRecord>> {
        self.core.record().cloned()
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
        let record = self.core.record()?;
        let state = self.core.lock();
        if state.closed || !matches!(state.answer, Answer::Waiting) {
            return None;
        }
        drop(state);
        record.see(status).map(|instead| match instead {
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

/// Whether the head says that the application puts its body into chunks by itself; then it says nothing of the framing any
/// more (RFC 9112 §6.3: a length beside it does not count).
fn takes_chunked(head: &mut ResponseHead) -> bool {
    let is_chunked = head.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("transfer-encoding") && value.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    if is_chunked {
        head.headers.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("transfer-encoding") && !name.eq_ignore_ascii_case("content-length")
        });
    }
    is_chunked
}
