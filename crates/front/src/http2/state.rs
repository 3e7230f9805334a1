//! What one HTTP/2 connection and its streams share, and what is noted of the frames that pass by.
//!
//! [`Http2State`] hears of every frame that comes (from the [filter](super::filter)) and goes ([`Frames`](super::frames)),
//! charges the client's account ([`FloodGuard`](super::flood_guard)), keeps what a stream did for its task
//! ([`StreamErrors`](super::stream_errors)), and writes a line where h2 refuses something by itself, though not for each of
//! many. Only the tasks of one connection lock it, all on the front's thread, so the lock is never contended; no event sink
//! is called while it is held.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use h2::Reason;

use crate::connection::Connection;
use crate::events::LogLevel;
use crate::http2::filter::{FrameNotes, IncomingFilter};
use crate::http2::flood_guard::{FloodGuard, FrameCost};
use crate::http2::frames::{
    Frame, FrameHead, Frames, DATA, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use crate::http2::refusal_log::RefusalLog;
use crate::http2::stream_errors::{StreamError, StreamErrors};

/// RFC 9113 §3.4
pub(super) const PREFACE_LENGTH: usize = 24;

/// As many as a client may begin by default without an answer to any.
const UNFLUSHED_HEADS: usize = 128;

/// What a connection and its streams share.
pub(super) struct Http2State {
    pub(super) connection: Arc<Connection>,
    /// Each stream, and each request that the application still holds, has a clone.
    load: Arc<()>,
    /// There may be a reason not to read, or something to tell a stream; nobody need lock to learn that there is none.
    has_floods: AtomicBool,
    has_stream_errors: AtomicBool,
    /// Nothing is read before the next flush, which then has something to do; and so it has for other reasons.
    is_holding: AtomicBool,
    flush_matters: AtomicBool,
    /// How often all that was given to h2 has reached the socket.
    flushes: AtomicU64,
    inner: Mutex<Http2Inner>,
}

struct Http2Inner {
    outgoing: Frames,
    guard: FloodGuard,
    /// What the client floods us with.
    flood: Option<&'static str>,
    /// A header block was begun and not ended.
    inside_head: bool,
    /// When it was begun, or when the connection was last of use.
    waiting_since_ms: u64,
    heads: u64,
    open: usize,
    /// Our last word was an error, or nothing is left to say; the client may not have read it yet.
    is_lingering: bool,
    /// The client takes no bytes since then.
    write_blocked_since_ms: Option<u64>,
    flush_waiters: Vec<Waker>,
    /// HEADERS frames that have come since the last flush.
    unflushed_heads: usize,
    stream_errors: StreamErrors,
    refusals: RefusalLog,
}

/// What the deadline of a connection depends on.
pub(super) struct Activity {
    pub(super) inside_head: bool,
    pub(super) is_first: bool,
    pub(super) open: usize,
    pub(super) waiting_since_ms: u64,
    pub(super) write_blocked_since_ms: Option<u64>,
    pub(super) is_lingering: bool,
}

impl Activity {
    /// Streams are open, and nothing else is waited for.
    pub(super) fn is_at_work(&self) -> bool {
        self.open > 0 && !self.inside_head && !self.is_lingering && self.write_blocked_since_ms.is_none()
    }
}

impl Http2State {
    pub(super) fn new(connection: Arc<Connection>) -> Http2State {
        let now = connection.shared().now_ms();
        let inner = Http2Inner {
            outgoing: Frames::behind(0),
            guard: FloodGuard::new(now),
            flood: None,
            inside_head: false,
            // The first head has its time from the accept, whatever came before HTTP/2 began.
            waiting_since_ms: connection.accepted_ms(),
            heads: 0,
            open: 0,
            is_lingering: false,
            write_blocked_since_ms: None,
            flush_waiters: Vec::new(),
            unflushed_heads: 0,
            stream_errors: StreamErrors::default(),
            refusals: RefusalLog::default(),
        };
        Http2State {
            connection,
            load: Arc::default(),
            has_floods: AtomicBool::new(false),
            has_stream_errors: AtomicBool::new(false),
            is_holding: AtomicBool::new(false),
            flush_matters: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
            inner: Mutex::new(inner),
        }
    }

    /// Streams that are open, and requests that the application has not ended although their stream is gone.
    pub(super) fn load(&self) -> usize {
        Arc::strong_count(&self.load) - 1
    }

    /// A request was accepted: what its stream shall have in place of a connection.
    pub(super) fn begin_stream(&self, stream: u32) -> Arc<Connection> {
        let connection = Arc::new(self.connection.stream(Arc::clone(&self.load)));
        let mut inner = self.lock();
        inner.heads += 1;
        inner.open += 1;
        inner.stream_errors.begin(stream, &connection);
        connection
    }

    pub(super) fn end_stream(&self, stream: u32) {
        let now = self.connection.shared().now_ms();
        let mut inner = self.lock();
        inner.stream_errors.end(stream);
        inner.open -= 1;
        inner.waiting_since_ms = now;
        let is_last = inner.open == 0;
        drop(inner);
        if is_last {
            // Its deadline is another now.
            self.connection.wake();
        }
    }

    pub(super) fn note_flood(&self, what: &'static str) {
        self.lock().flood.get_or_insert(what);
        self.has_floods.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.has_floods.load(Ordering::Relaxed)
    }

    /// What the stream has done that h2 lets pass, once. For its task, or before it has one.
    pub(super) fn stream_error(&self, stream: u32) -> Option<StreamError> {
        if !self.has_stream_errors.load(Ordering::Relaxed) {
            return None;
        }
        let mut inner = self.lock();
        let error = inner.stream_errors.take(stream);
        self.has_stream_errors
            .store(!inner.stream_errors.is_empty(), Ordering::Relaxed);
        error
    }

    /// A request was refused: one more, with its line unless there were many.
    pub(super) fn note_refusal(&self, line: fmt::Arguments<'_>) {
        self.connection.shared().counters.refused();
        let now = self.connection.shared().now_ms();
        let admitted = self.lock().refusals.admit(now);
        if let Some(untold) = admitted {
            self.connection
                .log(LogLevel::Warning, format_args!("{line}{untold}"));
        }
    }

    pub(super) fn activity(&self) -> Activity {
        let inner = self.lock();
        Activity {
            inside_head: inner.inside_head,
            is_first: inner.heads == 0,
            open: inner.open,
            waiting_since_ms: inner.waiting_since_ms,
            write_blocked_since_ms: inner.write_blocked_since_ms,
            is_lingering: inner.is_lingering,
        }
    }

    /// All that was given to h2 before `since` (the number of flushes then) has reached the socket, as far as the client's
    /// windows allow; else `task` is woken when it has.
    pub(super) fn poll_flushed(&self, since: u64, task: &Waker) -> Poll<()> {
        if self.flushes() > since {
            return Poll::Ready(());
        }
        self.lock().flush_waiters.push(task.clone());
        self.flush_matters.store(true, Ordering::Relaxed);
        self.connection.wake();
        Poll::Pending
    }

    pub(super) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// A write was tried, and the client takes no more at present.
    pub(super) fn could_not_write(&self) {
        let now = || self.connection.shared().now_ms();
        self.lock().write_blocked_since_ms.get_or_insert_with(now);
    }

    /// So many heads have come that what h2 says to them has to go out first: it keeps a word for each stream that it resets,
    /// however many there are, while it reads. `flushed` wakes the connection then.
    pub(super) fn holds_reading(&self) -> bool {
        self.is_holding.load(Ordering::Relaxed)
    }

    /// All that was given to h2 so far has reached the socket.
    pub(super) fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        if !self.flush_matters.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut inner = self.lock();
        inner.unflushed_heads = 0;
        if self.is_holding.swap(false, Ordering::Relaxed) {
            self.connection.wake();
        }
        let waiters = std::mem::take(&mut inner.flush_waiters);
        drop(inner);
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Our last word is out, or nothing is left to say.
    pub(super) fn begin_lingering(&self) {
        self.lock().is_lingering = true;
    }

    /// These bytes have come: what of them passes, as [`IncomingFilter::take`] tells.
    pub(super) fn read(&self, bytes: &[u8], filter: &mut IncomingFilter, out: &mut Vec<u8>) -> usize {
        let mut inner = self.lock();
        let mut account = Account {
            inner: &mut inner,
            connection: &self.connection,
            tasks: Vec::new(),
        };
        let passed = filter.take(bytes, out, &mut account);
        let tasks = account.tasks;
        if inner.unflushed_heads > 0 {
            self.flush_matters.store(true, Ordering::Relaxed);
            self.is_holding
                .store(inner.unflushed_heads >= UNFLUSHED_HEADS, Ordering::Relaxed);
        }
        if inner.flood.is_some() {
            self.has_floods.store(true, Ordering::Relaxed);
        }
        if !inner.stream_errors.is_empty() {
            self.has_stream_errors.store(true, Ordering::Relaxed);
        }
        drop(inner);
        for task in tasks {
            task.wake();
        }
        passed
    }

    /// These bytes have gone.
    pub(super) fn wrote<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) {
        let now = || self.connection.shared().now_ms();
        let mut lines = Vec::new();
        let mut last_line = None;
        let mut inner = self.lock();
        inner.write_blocked_since_ms = None;
        let inner_now = &mut *inner;
        for part in parts {
            let Http2Inner {
                outgoing,
                guard,
                is_lingering,
                flood,
                ..
            } = inner_now;
            outgoing.follow(part, |frame| match frame.head.kind {
                DATA if frame.head.length > 0 => {
                    guard.note(FrameCost::Sent(frame.head.length), now);
                }
                // Ours never end their stream at once.
                HEADERS if frame.head.has(END_STREAM) => lines.push(format!(
                    "a request was refused with 431: the header list of stream {} is too long; see --buffer-size",
                    frame.head.stream
                )),
                HEADERS => {
                    guard.note(FrameCost::Response, now);
                }
                RST_STREAM => {
                    if let Some(line) = refused(&frame) {
                        lines.push(line);
                        // More than are allowed, before the client has read how many those are, is no offence.
                        let cost = match Reason::from(frame.code()) {
                            Reason::REFUSED_STREAM => FrameCost::Idle,
                            _ => FrameCost::Refused,
                        };
                        if !guard.note(cost, now) {
                            flood.get_or_insert("requests that break a rule");
                        }
                    }
                }
                GOAWAY if frame.code() != 0 => {
                    *is_lingering = true;
                    let words = frame.words();
                    last_line = Some(format!(
                        "the HTTP/2 connection was ended with {:?}: {}",
                        Reason::from(frame.code()),
                        match flood {
                            Some(what) => format!("too many {what} from the client"),
                            None if words.is_empty() => "the client broke a rule of RFC 9113".into(),
                            None => words,
                        }
                    ));
                }
                _ => {}
            });
        }
        if inner.flood.is_some() {
            self.has_floods.store(true, Ordering::Relaxed);
        }
        drop(inner);
        for line in lines {
            self.note_refusal(format_args!("{line}"));
        }
        if let Some(line) = last_line {
            self.connection.note_refusal(format_args!("{line}"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Http2Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Http2State {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(untold) = inner.refusals.untold() {
            self.connection.log(
                LogLevel::Warning,
                format_args!("{untold} more requests of this HTTP/2 connection were refused"),
            );
        }
    }
}

/// What is noted of the frames of one read.
struct Account<'a> {
    inner: &'a mut Http2Inner,
    connection: &'a Connection,
    /// Streams that have something to look at.
    tasks: Vec<Arc<Connection>>,
}

impl Account<'_> {
    fn charge(&mut self, cost: FrameCost, what: &'static str) {
        if !self.inner.guard.note(cost, || self.connection.shared().now_ms()) {
            self.inner.flood.get_or_insert(what);
        }
    }
}

impl FrameNotes for Account<'_> {
    fn frame(&mut self, head: &FrameHead, has_data: bool) {
        match head.kind {
            DATA if has_data => self.charge(FrameCost::Data, ""),
            DATA if head.has(END_STREAM) => {}
            DATA => self.charge(FrameCost::Idle, "DATA frames without data"),
            RST_STREAM => self.charge(FrameCost::Reset, "RST_STREAM frames"),
            SETTINGS => self.charge(FrameCost::Settings, "SETTINGS frames"),
            PING => self.charge(FrameCost::Idle, "PING frames"),
            PRIORITY => self.charge(FrameCost::Idle, "PRIORITY frames"),
            WINDOW_UPDATE => self.charge(FrameCost::Idle, "WINDOW_UPDATE frames"),
            GOAWAY => self.charge(FrameCost::Idle, "GOAWAY frames"),
            _ => self.charge(FrameCost::Idle, "unknown frames"),
        }
    }

    fn block_begins(&mut self) {
        if !std::mem::replace(&mut self.inner.inside_head, true) {
            self.inner.waiting_since_ms = self.connection.shared().now_ms();
        }
    }

    fn block_ends(&mut self) {
        self.inner.inside_head = false;
        self.inner.unflushed_heads += 1;
    }

    fn breaks(&mut self, stream: u32, error: StreamError) {
        self.tasks.extend(self.inner.stream_errors.note(stream, error));
    }
}

/// A line for a stream that h2 has refused by itself, or that its task has reset for a rule; the other codes that we use are
/// others.
fn refused(frame: &Frame<'_>) -> Option<String> {
    let stream = frame.head.stream;
    match Reason::from(frame.code()) {
        Reason::PROTOCOL_ERROR => Some(format!(
            "a request was refused: stream {stream} breaks a rule of RFC 9113 §8 for messages (PROTOCOL_ERROR)"
        )),
        reason @ (Reason::FLOW_CONTROL_ERROR | Reason::STREAM_CLOSED | Reason::REFUSED_STREAM) => {
            Some(format!("a request was refused: stream {stream} was reset with {reason:?}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::accepted_at;

    #[test]
    fn the_time_for_the_first_head_goes_on_from_the_accept() {
        let activity = Http2State::new(Arc::new(accepted_at(7_000))).activity();
        assert!(activity.is_first);
        assert_eq!(activity.waiting_since_ms, 7_000);
    }
}
