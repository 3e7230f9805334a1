//! The stream that the h2 crate reads from and writes to, and what passes by on it.
//!
//! [`Wire`] stands between h2 and whatever carries the connection: a socket, or one inside TLS. [`Trunk`] is what the
//! connection and its streams share. The wire lets every frame pass by ([`Frames`](super::frames)), charges the client's account
//! ([`Calm`](super::flood_guard)), writes a line where h2 refuses something by itself, and tells when all was flushed. Only the
//! tasks of one connection lock the trunk, all on the front's thread, so the lock is never contended; no method of the
//! handoff is called while it is held.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{ready, Context, Poll, Waker};

use bytes::{Buf, Bytes};
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Connection;
use crate::handoff::LogLevel;
use crate::http2::flood_guard::{Calm, Deed};
use crate::http2::frames::{
    Frame, Frames, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE,
};
use crate::socket::Stream;

/// RFC 9113 §3.4
const PREFACE_LENGTH: usize = 24;

/// What a connection and its streams share.
pub(super) struct Trunk {
    pub(super) connection: Arc<Connection>,
    /// Each stream, and each request that the application still holds, has a clone.
    load: Arc<()>,
    desk: Mutex<Desk>,
}

struct Desk {
    incoming: Frames,
    outgoing: Frames,
    calm: Calm,
    /// What the client floods us with.
    flood: Option<&'static str>,
    /// A header block was begun and not ended.
    inside_head: bool,
    /// When it was begun, or when the connection was last of use.
    waiting_since_ms: u64,
    heads: u64,
    open: usize,
    /// Our last word was an error, or nothing is left to say; the client may not have read it yet.
    is_parting: bool,
    flushes: u64,
    flush_waiters: Vec<Waker>,
}

/// What the deadline of a connection depends on beside its socket.
pub(super) struct Standing {
    pub(super) inside_head: bool,
    pub(super) is_first: bool,
    pub(super) open: usize,
    pub(super) waiting_since_ms: u64,
    pub(super) is_parting: bool,
}

impl Trunk {
    pub(super) fn new(connection: Arc<Connection>) -> Trunk {
        let now = connection.house().now_ms();
        let desk = Desk {
            incoming: Frames::behind(PREFACE_LENGTH),
            outgoing: Frames::behind(0),
            calm: Calm::new(now),
            flood: None,
            inside_head: false,
            waiting_since_ms: now,
            heads: 0,
            open: 0,
            is_parting: false,
            flushes: 0,
            flush_waiters: Vec::new(),
        };
        Trunk {
            connection,
            load: Arc::default(),
            desk: Mutex::new(desk),
        }
    }

    /// Streams that are open, and requests that the application has not ended although their stream is gone.
    pub(super) fn load(&self) -> usize {
        Arc::strong_count(&self.load) - 1
    }

    /// A request was accepted: what its stream shall have in place of a connection.
    pub(super) fn begin_stream(&self) -> Connection {
        let mut desk = self.desk();
        desk.heads += 1;
        desk.open += 1;
        self.connection.branch(Arc::clone(&self.load))
    }

    pub(super) fn end_stream(&self) {
        let now = self.connection.house().now_ms();
        let mut desk = self.desk();
        desk.open -= 1;
        desk.waiting_since_ms = now;
        let is_last = desk.open == 0;
        drop(desk);
        if is_last {
            // Its deadline is another now.
            self.connection.wake();
        }
    }

    pub(super) fn note_flood(&self, what: &'static str) {
        self.desk().flood.get_or_insert(what);
    }

    pub(super) fn flood(&self) -> Option<&'static str> {
        self.desk().flood
    }

    pub(super) fn standing(&self) -> Standing {
        let desk = self.desk();
        Standing {
            inside_head: desk.inside_head,
            is_first: desk.heads == 0,
            open: desk.open,
            waiting_since_ms: desk.waiting_since_ms,
            is_parting: desk.is_parting,
        }
    }

    /// All that was given to h2 before `since` (the number of flushes then) has reached the socket, as far as the client's
    /// windows allow; else `task` is woken when it has.
    pub(super) fn poll_flushed(&self, since: u64, task: &Waker) -> Poll<()> {
        let mut desk = self.desk();
        if desk.flushes > since {
            return Poll::Ready(());
        }
        desk.flush_waiters.push(task.clone());
        drop(desk);
        self.connection.wake();
        Poll::Pending
    }

    pub(super) fn flushes(&self) -> u64 {
        self.desk().flushes
    }

    fn read(&self, bytes: &[u8]) {
        let desk = &mut *self.desk();
        let Desk {
            incoming,
            calm,
            flood,
            inside_head,
            waiting_since_ms,
            ..
        } = desk;
        let now = || self.connection.house().now_ms();
        incoming.follow(bytes, |frame| {
            let (deed, what) = match frame.kind {
                HEADERS | CONTINUATION => {
                    if !frame.has(END_HEADERS) && !*inside_head {
                        *waiting_since_ms = now();
                    }
                    *inside_head = !frame.has(END_HEADERS);
                    return;
                }
                DATA if frame.length > 0 => (Deed::Data, ""),
                DATA if frame.has(END_STREAM) => return,
                DATA => (Deed::Idle, "DATA frames without data"),
                RST_STREAM => (Deed::Reset, "RST_STREAM frames"),
                SETTINGS => (Deed::Settings, "SETTINGS frames"),
                PING => (Deed::Idle, "PING frames"),
                PRIORITY => (Deed::Idle, "PRIORITY frames"),
                WINDOW_UPDATE => (Deed::Idle, "WINDOW_UPDATE frames"),
                GOAWAY => (Deed::Idle, "GOAWAY frames"),
                _ => (Deed::Idle, "unknown frames"),
            };
            if !calm.note(deed, now) {
                flood.get_or_insert(what);
            }
        });
    }

    fn wrote<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) {
        let now = || self.connection.house().now_ms();
        let mut lines = Vec::new();
        let mut desk = self.desk();
        let desk_now = &mut *desk;
        for part in parts {
            let Desk {
                outgoing,
                calm,
                is_parting,
                flood,
                ..
            } = desk_now;
            outgoing.follow(part, |frame| match frame.kind {
                DATA if frame.length > 0 => {
                    calm.note(Deed::Sent(frame.length), now);
                }
                // Ours never end their stream at once.
                HEADERS if frame.has(END_STREAM) => lines.push(format!(
                    "a request was refused with 431: the header list of stream {} is too long; see --buffer-size",
                    frame.stream
                )),
                HEADERS => {
                    calm.note(Deed::Response, now);
                }
                RST_STREAM => lines.extend(refused(&frame)),
                GOAWAY if frame.code() != 0 => {
                    *is_parting = true;
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
        drop(desk);
        for line in lines {
            self.connection.house().counters.refused();
            self.connection.log(LogLevel::Warning, format_args!("{line}"));
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The connection's stream as h2 sees it.
pub(super) struct Wire {
    stream: Pin<Box<dyn Stream>>,
    /// What was read before HTTP/2 was recognised.
    read_ahead: Bytes,
    trunk: Arc<Trunk>,
    is_shut: bool,
}

impl Wire {
    pub(super) fn new(stream: Pin<Box<dyn Stream>>, read_ahead: Bytes, trunk: Arc<Trunk>) -> Wire {
        Wire {
            stream,
            read_ahead,
            trunk,
            is_shut: false,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.trunk.flood().is_some() {
            // The turn of the task, which is now, ends the connection.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if wire.read_ahead.has_remaining() {
            let size = wire.read_ahead.len().min(buf.remaining());
            buf.put_slice(&wire.read_ahead.split_to(size));
        } else {
            ready!(wire.stream.as_mut().poll_read(cx, buf))?;
        }
        wire.trunk.read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let result = wire.stream.as_mut().poll_write_vectored(cx, bufs);
        wire.trunk.connection.wrote(result.is_pending());
        if let Poll::Ready(Ok(written)) = &result {
            let mut left = *written;
            wire.trunk.wrote(bufs.iter().map_while(|buf| {
                let part = &buf[..left.min(buf.len())];
                left -= part.len();
                (!part.is_empty() || left > 0).then_some(part)
            }));
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        ready!(wire.stream.as_mut().poll_flush(cx))?;
        let mut desk = wire.trunk.desk();
        desk.flushes += 1;
        let waiters = std::mem::take(&mut desk.flush_waiters);
        drop(desk);
        for waiter in waiters {
            waiter.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// A close with unread bytes is a reset, which may destroy what we have sent before the client has seen it: an error,
    /// or the end of the last response, for which the client is still giving room (WINDOW_UPDATE). So it is read until it
    /// closes too.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if !wire.is_shut {
            ready!(wire.stream.as_mut().poll_shutdown(cx))?;
            wire.is_shut = true;
            // h2 has ended its streams; from here on the deadline is that of a parting.
            wire.trunk.desk().is_parting = true;
        }
        let mut waste = [0; 4096];
        loop {
            let mut read = ReadBuf::new(&mut waste);
            match ready!(wire.stream.as_mut().poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
