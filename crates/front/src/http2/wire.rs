//! The stream that the h2 crate reads from and writes to.
//!
//! [`Wire`] stands between h2 and whatever carries the connection: a socket, or one inside TLS. It shows the connection's
//! state every byte that passes by, and tells it when all was flushed. What h2 would end the connection for, though it
//! concerns one stream, passes through the filter.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http2::filter::IncomingFilter;
use crate::http2::state::{Http2State, PREFACE_LENGTH};
use crate::socket::BoxStream;

/// The connection's stream as h2 sees it.
pub(super) struct Wire {
    stream: BoxStream,
    /// What was read before HTTP/2 was recognised.
    read_ahead: Bytes,
    filter: IncomingFilter,
    /// What the filter has let through and h2 has not read.
    filtered: Vec<u8>,
    state: Arc<Http2State>,
    is_shut: bool,
}

impl Wire {
    pub(super) fn new(stream: BoxStream, read_ahead: Bytes, state: Arc<Http2State>) -> Wire {
        Wire {
            stream,
            read_ahead,
            filter: IncomingFilter::behind(PREFACE_LENGTH),
            filtered: Vec::new(),
            state,
            is_shut: false,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        loop {
            if !wire.filtered.is_empty() {
                let size = wire.filtered.len().min(buf.remaining());
                buf.put_slice(&wire.filtered[..size]);
                wire.filtered.drain(..size);
                if wire.filtered.is_empty() {
                    wire.filtered = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            if wire.state.is_flooded() {
                // The turn of the task, which is now, ends the connection.
                return Poll::Pending;
            }
            if wire.state.holds_reading() {
                return Poll::Pending;
            }
            let before = buf.filled().len();
            let begun = wire.filter.begun();
            if begun.len() < buf.remaining() {
                buf.put_slice(begun);
            }
            let behind = buf.filled().len();
            if wire.read_ahead.has_remaining() {
                let size = wire.read_ahead.len().min(buf.remaining());
                buf.put_slice(&wire.read_ahead.split_to(size));
            } else {
                let read = wire.stream.as_mut().poll_read(cx, buf);
                if !matches!(read, Poll::Ready(Ok(()))) {
                    buf.set_filled(before);
                    return read;
                }
            }
            let came = &buf.filled()[behind..];
            if came.is_empty() {
                buf.set_filled(before);
                wire.filtered = wire.filter.leftover();
                if wire.filtered.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if behind > before {
                wire.filter.resume();
            }
            let read = &buf.filled()[before..];
            let passed = wire.state.read(read, &mut wire.filter, &mut wire.filtered);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
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
        if result.is_pending() {
            wire.state.could_not_write();
        } else if let Poll::Ready(Ok(written)) = &result {
            let mut left = *written;
            wire.state.wrote(bufs.iter().map_while(|buf| {
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
        wire.state.flushed();
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
            // h2 has ended its streams; from here on the deadline is that of a lingering close.
            wire.state.begin_lingering();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::accepted_at;
    use std::task::Waker;

    #[test]
    fn reading_waits_until_is_said_what_is_to_be_said_to_many_heads() {
        // HEADERS frames with END_STREAM and END_HEADERS, of `:method: GET` alone.
        let heads = (0..400u32)
            .flat_map(|number| [&[0, 0, 1, 1, 5][..], &(2 * number + 1).to_be_bytes(), &[0x82]].concat());
        let bytes: Vec<u8> = [0; PREFACE_LENGTH].into_iter().chain(heads).collect();
        let length = bytes.len();
        let state = Arc::new(Http2State::new(Arc::new(accepted_at(0))));
        let mut wire = Wire::new(Box::pin(tokio::io::empty()), bytes.into(), state);
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = |wire: &mut Wire| {
            let mut space = [0; 100];
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(wire).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Ok(())) => Some(buf.filled().len()),
                _ => None,
            }
        };
        let mut parts = Vec::new();
        loop {
            let mut part = 0;
            while let Some(count) = read(&mut wire).filter(|count| *count > 0) {
                part += count;
            }
            if part == 0 {
                break;
            }
            parts.push(part);
            assert!(read(&mut wire).is_none_or(|count| count == 0), "still");
            assert!(Pin::new(&mut wire)
                .poll_flush(&mut Context::from_waker(Waker::noop()))
                .is_ready());
        }
        assert_eq!(parts.iter().sum::<usize>(), length);
        assert_eq!(parts.len(), 4, "{parts:?}");
    }
}
