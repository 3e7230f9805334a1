//! A WebSocket inside a stream, RFC 8441: a tunnel between the stream and a pair of sockets.
//!
//! One end of the pair leaves the front by the same way as the socket of any other WebSocket; the other is here. Bytes are
//! moved as they lie there, without a look at them. Flow control is joined at both sides: a client's window grows again as
//! the session takes the bytes, and nothing is read from the session while the client has no room, so that what waits here
//! is at most the stream's window in one direction and one read in the other. The end of each direction is passed on for
//! itself; a reset stream closes the pair. Behind the session's end the client is read on until it has ended its side too: a
//! stream that is let go before that is reset by h2, which browsers take for a lost connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use crate::http2::sending::{room, Progress};
use crate::socket::Shut;

/// The most that is read from a session at a time. All tunnels share one such buffer.
const READ_SIZE: usize = 64 * 1024;

/// Pieces that one write takes; beyond it, and whenever the session takes no more, they are joined.
const PIECES: usize = 32;

/// Reads and writes before other tasks have their turn.
const ROUNDS: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

pub(super) struct Tunnel {
    /// `None` once the client has ended its side.
    recv: Option<RecvStream>,
    send: SendStream<Bytes>,
    session: Shut<UnixStream>,
    /// From the client, not taken by the session. The stream's window bounds it.
    inbound: VecDeque<Bytes>,
    client_ended: bool,
    /// The client has reset the stream, or is gone.
    is_reset: bool,
    /// What still comes from the client is for nobody.
    session_is_deaf: bool,
    /// From the session; the client has no room for it.
    outbound: Bytes,
    sent: u64,
    session_ended: bool,
    /// The client was told of that end.
    has_ended: bool,
}

/// Our end, and the session's, which is ready for the worker: non-blocking.
pub(super) fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (here, there) = std::os::unix::net::UnixStream::pair()?;
    here.set_nonblocking(true)?;
    there.set_nonblocking(true)?;
    Ok((UnixStream::from_std(here)?, there.into()))
}

impl Tunnel {
    pub(super) fn new(recv: RecvStream, send: SendStream<Bytes>, session: UnixStream) -> Tunnel {
        Tunnel {
            recv: Some(recv),
            send,
            session: Shut::new(session),
            inbound: VecDeque::new(),
            client_ended: false,
            is_reset: false,
            session_is_deaf: false,
            outbound: Bytes::new(),
            sent: 0,
            session_ended: false,
            has_ended: false,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Progress {
        self.carry_in(cx);
        // While something may come, whoever waits for that hears of a reset too; asked for here, h2 would also wake the task
        // for each frame that has left.
        if self.is_reset || self.client_ended && self.send.poll_reset(cx).is_ready() {
            return Progress::Done;
        }
        if !self.has_ended {
            match self.carry_out(cx) {
                Progress::Ending => self.has_ended = true,
                progress => return progress,
            }
        }
        if self.client_ended {
            Progress::Done
        } else {
            Progress::Ending
        }
    }

    pub(super) fn reset(&mut self, why: Reason) {
        self.send.send_reset(why);
    }

    /// From the client to the session.
    fn carry_in(&mut self, cx: &mut Context<'_>) {
        let Some(recv) = &mut self.recv else { return };
        for _ in 0..ROUNDS {
            // h2 counts small frames that lie in it as a flood (`data_frame_budget`), so nothing is left there.
            while !self.client_ended {
                match recv.poll_data(cx) {
                    Poll::Ready(Some(Ok(piece))) => {
                        if self.session_is_deaf {
                            let _ = recv.flow_control().release_capacity(piece.len());
                            continue;
                        }
                        if self.inbound.len() >= PIECES {
                            join(&mut self.inbound);
                        }
                        self.inbound.push_back(piece);
                    }
                    Poll::Ready(None) => self.client_ended = true,
                    Poll::Ready(Some(Err(_))) => {
                        self.is_reset = true;
                        return;
                    }
                    Poll::Pending => break,
                }
            }
            if self.inbound.is_empty() {
                if self.client_ended {
                    // Half closed; what fails here is a session that has ended.
                    let _ = Pin::new(&mut self.session).poll_shutdown(cx);
                    self.recv = None;
                }
                return;
            }
            let mut parts = [IoSlice::new(&[]); PIECES];
            let count = self.inbound.len().min(PIECES);
            for (part, piece) in parts.iter_mut().zip(&self.inbound) {
                *part = IoSlice::new(piece);
            }
            match Pin::new(&mut self.session).poll_write_vectored(cx, &parts[..count]) {
                Poll::Ready(Ok(written)) => {
                    // Cannot fail: no more is released than came.
                    let _ = recv.flow_control().release_capacity(written);
                    drop_front(&mut self.inbound, written);
                    if self.inbound.is_empty() && !self.client_ended {
                        // h2 had no more, and wakes the task when it has.
                        return;
                    }
                }
                Poll::Ready(Err(_)) => {
                    // The session takes no more. What it still has to say goes out, then the stream ends.
                    let unread = self.inbound.drain(..).map(|piece| piece.len()).sum();
                    let _ = recv.flow_control().release_capacity(unread);
                    self.session_is_deaf = true;
                }
                Poll::Pending => {
                    join(&mut self.inbound);
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    /// From the session to the client.
    fn carry_out(&mut self, cx: &mut Context<'_>) -> Progress {
        for _ in 0..ROUNDS {
            if self.outbound.is_empty() && !self.session_ended {
                let read = SCRATCH.with_borrow_mut(|scratch| {
                    let mut read = ReadBuf::new(scratch);
                    Pin::new(&mut self.session)
                        .poll_read(cx, &mut read)
                        .map_ok(|()| Bytes::copy_from_slice(read.filled()))
                });
                match read {
                    // An error is a session that was closed with unread bytes: ended as well.
                    Poll::Ready(read) => self.outbound = read.unwrap_or_default(),
                    Poll::Pending => return Progress::Waiting,
                }
                self.session_ended = self.outbound.is_empty();
            }
            if self.session_ended && self.outbound.is_empty() {
                let _ = self.send.send_data(Bytes::new(), true);
                return Progress::Ending;
            }
            match room(&mut self.send, self.outbound.len(), cx) {
                Poll::Ready(Some(room)) => {
                    let piece = self.outbound.split_to(room.min(self.outbound.len()));
                    self.sent += piece.len() as u64;
                    if self.send.send_data(piece, false).is_err() {
                        return Progress::Done;
                    }
                }
                Poll::Ready(None) => return Progress::Done,
                Poll::Pending => return Progress::Owing(self.sent),
            }
        }
        cx.waker().wake_by_ref();
        Progress::Waiting
    }

    /// The session was closed, whatever lies here of what it has said. While it is open, its own rules tell how long a
    /// client may take nothing.
    pub(super) fn is_session_gone(&self) -> bool {
        // A write of nothing to a closed pair fails all the same (EPIPE).
        let asked = self.session.try_write(&[]);
        self.session_ended || asked.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    }
}

/// Makes one piece of all, so that what lies there costs its bytes and no more.
fn join(pieces: &mut VecDeque<Bytes>) {
    if pieces.len() < 2 {
        return;
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces.drain(..) {
        whole.extend_from_slice(&piece);
    }
    pieces.push_back(whole.freeze());
}

/// Drops the first `count` bytes.
fn drop_front(pieces: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(piece) = pieces.front_mut() {
        if count < piece.len() {
            piece.advance(count);
            return;
        }
        count -= piece.len();
        pieces.pop_front();
    }
}
