//! What one HTTP/2 connection and its streams share, and what is noted of the frames that pass by.
//!
//! [`Http2State`] follows every frame ([`Frames`](super::frames)), charges the client's account
//! ([`FloodGuard`](super::flood_guard)), and writes a line where h2 refuses something by itself. Only the tasks of one
//! connection lock it, all on the front's thread, so the lock is never contended; no event sink is called while it is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use h2::Reason;

use crate::connection::Connection;
use crate::http2::flood_guard::{FloodGuard, FrameCost};
use crate::http2::frames::{
    Frame, Frames, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE,
};

/// RFC 9113 §3.4
pub(super) const PREFACE_LENGTH: usize = 24;

/// As many as a client may begin by default without an answer to any.
const UNFLUSHED_HEADS: usize = 128;

/// What a connection and its streams share.
pub(super) struct Http2State {
    pub(super) connection: Arc<Connection>,
    /// Each stream, and each request that the application still holds, has a clone.
    load: Arc<()>,
    inner: Mutex<Http2Inner>,
}

struct Http2Inner {
    incoming: Frames,
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
    flushes: u64,
    flush_waiters: Vec<Waker>,
    /// HEADERS frames that have come since the last flush.
    unflushed_heads: usize,
    /// Nothing is read before the next flush.
    is_holding: bool,
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

impl Http2State {
    pub(super) fn new(connection: Arc<Connection>) -> Http2State {
        let now = connection.shared().now_ms();
        let inner = Http2Inner {
            incoming: Frames::behind(PREFACE_LENGTH),
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
            flushes: 0,
            flush_waiters: Vec::new(),
            unflushed_heads: 0,
            is_holding: false,
        };
        Http2State {
            connection,
            load: Arc::default(),
            inner: Mutex::new(inner),
        }
    }

    /// Streams that are open, and requests that the application has not ended although their stream is gone.
    pub(super) fn load(&self) -> usize {
        Arc::strong_count(&self.load) - 1
    }

    /// A request was accepted: what its stream shall have in place of a connection.
    pub(super) fn begin_stream(&self) -> Connection {
        let mut inner = self.lock();
        inner.heads += 1;
        inner.open += 1;
        self.connection.stream(Arc::clone(&self.load))
    }

    pub(super) fn end_stream(&self) {
        let now = self.connection.shared().now_ms();
        let mut inner = self.lock();
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
    }

    pub(super) fn flood(&self) -> Option<&'static str> {
        self.lock().flood
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
        let mut inner = self.lock();
        if inner.flushes > since {
            return Poll::Ready(());
        }
        inner.flush_waiters.push(task.clone());
        drop(inner);
        self.connection.wake();
        Poll::Pending
    }

    pub(super) fn flushes(&self) -> u64 {
        self.lock().flushes
    }

    /// A write was tried; `blocked`: the client takes no more at present.
    pub(super) fn tried_to_write(&self, blocked: bool) {
        let mut inner = self.lock();
        match (blocked, inner.write_blocked_since_ms) {
            (true, None) => inner.write_blocked_since_ms = Some(self.connection.shared().now_ms()),
            (false, Some(_)) => inner.write_blocked_since_ms = None,
            _ => {}
        }
    }

    /// So many heads have come that what h2 says to them has to go out first: it keeps a word for each stream that it resets,
    /// however many there are, while it reads. `flushed` wakes the connection then.
    pub(super) fn holds_reading(&self) -> bool {
        let mut inner = self.lock();
        inner.is_holding = inner.unflushed_heads >= UNFLUSHED_HEADS;
        inner.is_holding
    }

    /// All that was given to h2 so far has reached the socket.
    pub(super) fn flushed(&self) {
        let mut inner = self.lock();
        inner.flushes += 1;
        inner.unflushed_heads = 0;
        if std::mem::take(&mut inner.is_holding) {
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

    /// These bytes have come.
    pub(super) fn read(&self, bytes: &[u8]) {
        let inner = &mut *self.lock();
        let Http2Inner {
            incoming,
            guard,
            flood,
            inside_head,
            waiting_since_ms,
            unflushed_heads,
            ..
        } = inner;
        let now = || self.connection.shared().now_ms();
        incoming.follow(bytes, |frame| {
            let (cost, what) = match frame.kind {
                HEADERS | CONTINUATION => {
                    if !frame.has(END_HEADERS) && !*inside_head {
                        *waiting_since_ms = now();
                    }
                    *inside_head = !frame.has(END_HEADERS);
                    *unflushed_heads += usize::from(frame.kind == HEADERS);
                    return;
                }
                DATA if frame.length > 0 => (FrameCost::Data, ""),
                DATA if frame.has(END_STREAM) => return,
                DATA => (FrameCost::Idle, "DATA frames without data"),
                RST_STREAM => (FrameCost::Reset, "RST_STREAM frames"),
                SETTINGS => (FrameCost::Settings, "SETTINGS frames"),
                PING => (FrameCost::Idle, "PING frames"),
                PRIORITY => (FrameCost::Idle, "PRIORITY frames"),
                WINDOW_UPDATE => (FrameCost::Idle, "WINDOW_UPDATE frames"),
                GOAWAY => (FrameCost::Idle, "GOAWAY frames"),
                _ => (FrameCost::Idle, "unknown frames"),
            };
            if !guard.note(cost, now) {
                flood.get_or_insert(what);
            }
        });
    }

    /// These bytes have gone.
    pub(super) fn wrote<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) {
        let now = || self.connection.shared().now_ms();
        let mut lines = Vec::new();
        let mut inner = self.lock();
        let inner_now = &mut *inner;
        for part in parts {
            let Http2Inner {
                outgoing,
                guard,
                is_lingering,
                flood,
                ..
            } = inner_now;
            outgoing.follow(part, |frame| match frame.kind {
                DATA if frame.length > 0 => {
                    guard.note(FrameCost::Sent(frame.length), now);
                }
                // Ours never end their stream at once.
                HEADERS if frame.has(END_STREAM) => lines.push(format!(
                    "a request was refused with 431: the header list of stream {} is too long; see --buffer-size",
                    frame.stream
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
                    lines.push(format!(
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
        drop(inner);
        for line in lines {
            self.connection.note_refusal(format_args!("{line}"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Http2Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line for a stream that h2 has refused by itself; the codes that we use are others.
fn refused(frame: &Frame<'_>) -> Option<String> {
    let stream = frame.stream;
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
