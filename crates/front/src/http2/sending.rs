//! The body of a response on its way into a stream, at the pace of the client.
//!
//! Nothing is fetched from the exchange before what was fetched last has left for h2, and h2 is given no more than the client
//! has room for: so what waits of a response is what the application was told would wait, one piece, and h2's own buffer. A
//! response that cannot be completed resets its stream, but not before what was written of it has gone out.

use std::os::unix::fs::FileExt;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};

use crate::body::{BodyPart, End, FilePart};
use crate::events::LogLevel;
use crate::exchange::Core;
use crate::http2::state::Http2State;

/// Bytes of a file that are read at a time: they wait here while the client has no room.
const BLOCK: u64 = 64 * 1024;

/// What a body or a tunnel waits for.
pub(super) enum Progress {
    /// Whatever comes next.
    Waiting,
    /// The client has no room for what there is; so many bytes have left before.
    Owing(u64),
    /// Everything was said, and the client has not ended its side.
    Ending,
    Done,
    /// The client is gone before that.
    Lost,
}

pub(super) struct Sending {
    send: SendStream<Bytes>,
    /// What the Content-Length still promises.
    left: Option<u64>,
    piece: Bytes,
    /// Nothing comes behind the piece.
    is_last: bool,
    /// The response is to be cut; what was sent before shall arrive. The number of flushes then.
    cut: Option<u64>,
    sent: u64,
}

impl Sending {
    /// `left`: the Content-Length. `is_whole`: the piece is all of the body, else the rest lies in the exchange.
    pub(super) fn begin(send: SendStream<Bytes>, piece: Bytes, left: Option<u64>, is_whole: bool) -> Sending {
        Sending {
            send,
            left: left.map(|left| left.saturating_sub(piece.len() as u64)),
            piece,
            is_last: is_whole,
            cut: None,
            sent: 0,
        }
    }

    pub(super) fn reset(&mut self, why: Reason) {
        self.send.send_reset(why);
    }

    /// Sends what there is of the response.
    pub(super) fn poll(&mut self, core: &Core, state: &Http2State, cx: &mut Context<'_>) -> Progress {
        if self.send.poll_reset(cx).is_ready() {
            return Progress::Lost;
        }
        loop {
            if let Some(since) = self.cut {
                if state.poll_flushed(since, cx.waker()).is_pending() {
                    return Progress::Waiting;
                }
                self.send.send_reset(Reason::INTERNAL_ERROR);
                return Progress::Lost;
            }
            if self.piece.is_empty() && !self.is_last {
                match self.next(core) {
                    Fetched::Piece => {}
                    Fetched::Nothing => return Progress::Waiting,
                    Fetched::Cut => {
                        self.cut = Some(state.flushes());
                        continue;
                    }
                }
            }
            if self.piece.is_empty() {
                let short = self.left.filter(|left| *left > 0);
                if let Some(short) = short {
                    core.connection.log(
                        LogLevel::Error,
                        format_args!("the response was cut: {short} bytes less than its Content-Length came"),
                    );
                    self.is_last = false;
                    self.cut = Some(state.flushes());
                    continue;
                }
                let _ = self.send.send_data(Bytes::new(), true);
                return Progress::Done;
            }
            match room(&mut self.send, self.piece.len(), cx) {
                Poll::Ready(Some(room)) => {
                    let piece = self.piece.split_to(room.min(self.piece.len()));
                    let ends =
                        self.piece.is_empty() && self.is_last && self.left.is_none_or(|left| left == 0);
                    core.sent(piece.len());
                    self.sent += piece.len() as u64;
                    if self.send.send_data(piece, ends).is_err() {
                        return Progress::Lost;
                    }
                    if ends {
                        return Progress::Done;
                    }
                }
                Poll::Ready(None) => return Progress::Lost,
                Poll::Pending => return Progress::Owing(self.sent),
            }
        }
    }

    /// Fetches what the application has written.
    fn next(&mut self, core: &Core) -> Fetched {
        let connection = &core.connection;
        let mut locked = core.lock();
        if self.left == Some(0) {
            // Further pieces have no place, and that is no mistake.
            drop(locked);
            core.mute();
            self.is_last = true;
            return Fetched::Piece;
        }
        let Some(part) = locked.outgoing.pop(self.left.unwrap_or(u64::MAX).min(BLOCK)) else {
            return match locked.outgoing.end {
                End::Open => Fetched::Nothing,
                End::Complete => {
                    drop(locked);
                    core.close(false);
                    self.is_last = true;
                    Fetched::Piece
                }
                End::Failed(()) => {
                    drop(locked);
                    core.close(true);
                    Fetched::Cut
                }
            };
        };
        let waiter = if locked.outgoing.is_full(connection.settings().response_high_water) {
            None
        } else {
            locked.outgoing.waiter.take()
        };
        let is_last = locked.outgoing.is_complete();
        drop(locked);
        if let Some(waiter) = waiter {
            core.wake(waiter);
        }
        let read = match part {
            BodyPart::Bytes(bytes) => Ok(bytes),
            BodyPart::File(part) => read(&part),
        };
        let mut piece = match read {
            Ok(piece) => piece,
            Err(problem) => {
                connection.log(LogLevel::Error, format_args!("the response was cut: {problem}"));
                core.close(true);
                return Fetched::Cut;
            }
        };
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        self.piece = piece;
        if is_last {
            core.close(false);
            self.is_last = true;
        } else if self.left == Some(0) {
            core.mute();
            self.is_last = true;
        }
        Fetched::Piece
    }
}

enum Fetched {
    Piece,
    Nothing,
    Cut,
}

/// How much of `wanted` the client's windows and h2's buffer have room for: more than 0. `None`: the stream is gone.
pub(super) fn room(send: &mut SendStream<Bytes>, wanted: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    // Asked for what there is and no more: room in the connection's window that one stream holds, the others lack.
    send.reserve_capacity(wanted);
    match send.capacity() {
        0 => match send.poll_capacity(cx) {
            Poll::Ready(Some(Ok(room))) => Poll::Ready(Some(room)),
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        },
        room => Poll::Ready(Some(room)),
    }
}

/// A block of a file.
fn read(part: &FilePart) -> Result<Bytes, String> {
    let mut block = BytesMut::zeroed(usize::try_from(part.left.min(BLOCK)).unwrap_or(0));
    let mut have = 0;
    while have < block.len() {
        match part.file.read_at(&mut block[have..], part.offset + have as u64) {
            Ok(0) => return Err("the file ended too early; it became shorter while it was sent".into()),
            Ok(count) => have += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("the file cannot be read: {error}")),
        }
    }
    Ok(block.freeze())
}
