//! A TLS session between a socket and whoever reads and writes plaintext.
//!
//! Plaintext that a read has brought too much of waits here, and goes along when the socket leaves; records wait in the
//! session. Nothing is taken of either while the other side of it stands still, so both are bounded by one read and by
//! [`MAX_SEALED`](fairlead_websocket::MAX_SEALED).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use fairlead_websocket::TlsRecordLayer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Connection;
use crate::file_range::FileRange;
use crate::socket::{BoxStream, Socket, SCRATCH};
use crate::tls::session::TlsSession;

/// A session, and plaintext that is to be read.
pub(crate) struct RecordLayer {
    pub(super) session: Box<TlsSession>,
    plain: Vec<u8>,
    /// So many of it were read.
    taken: usize,
    /// No byte has come yet.
    is_fresh: bool,
}

impl RecordLayer {
    pub(super) fn new(session: TlsSession) -> RecordLayer {
        RecordLayer {
            session: Box::new(session),
            plain: Vec::new(),
            taken: 0,
            is_fresh: true,
        }
    }

    pub(crate) fn is_for_http2(&self) -> bool {
        self.session.is_for_http2()
    }

    /// Reads once from the socket into the session; answers how many bytes there were.
    pub(super) fn poll_receive(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, Received>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            match ready!(socket.reader().poll_read(context, &mut read)) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(Received::Io(error))),
            }
            let records = read.filled();
            // A record begins with a number from 20 to 24 (RFC 8446 §5.1), a request with the name of its method.
            if std::mem::take(&mut self.is_fresh) && records.first().is_some_and(u8::is_ascii_uppercase) {
                return Poll::Ready(Err(Received::Plain));
            }
            let RecordLayer { session, plain, .. } = self;
            Poll::Ready(
                match session.open(records, &mut |piece| plain.extend_from_slice(piece)) {
                    Ok(()) => Ok(records.len()),
                    Err(why) => Err(Received::Broken(why)),
                },
            )
        })
    }

    /// Fills `into` with plaintext; nothing at the end of the client's stream.
    pub(crate) fn poll_read(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
        connection: &Connection,
    ) -> Poll<io::Result<&[u8]>> {
        while self.plain.len() == self.taken {
            self.plain.clear();
            self.taken = 0;
            if self.session.has_ended() {
                break;
            }
            let received = ready!(self.poll_receive(socket, context));
            // What the session has to say itself; if the socket takes it later, then with what is written next.
            let _ = self.poll_flush(socket, context);
            match received {
                // A stream that ends without close_notify may have been cut, but HTTP and WebSocket know their ends.
                Ok(0) => break,
                Ok(_) => {}
                Err(Received::Io(error)) => return Poll::Ready(Err(error)),
                Err(Received::Plain) => unreachable!("a handshake came first"),
                Err(Received::Broken(why)) => {
                    connection.note_refusal(format_args!("the TLS connection broke: {why}"));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
                }
            }
        }
        Poll::Ready(Ok(&self.plain[self.taken..]))
    }

    /// The first `count` bytes of what was read need not be read again.
    pub(crate) fn consume(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.plain.len() {
            // A connection between two requests keeps no memory for them.
            self.plain = Vec::new();
            self.taken = 0;
        }
    }

    /// Takes plaintext once the socket has taken what was there before; answers how much.
    pub(crate) fn poll_write(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(socket, context))?;
        let mut slices: [&[u8]; 16] = [&[]; 16];
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = part;
        }
        let layer: &mut dyn TlsRecordLayer = &mut *self.session;
        let count = layer.seal_some(&slices[..parts.len().min(slices.len())]);
        match self.poll_flush(socket, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Takes at most `size` bytes of a file: the kernel cannot make records of them.
    pub(crate) fn poll_send_file(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
        range: &FileRange,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(socket, context))?;
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let room = size.min(scratch.len());
            let count = range.read(&mut scratch[..room])?;
            if count > 0 {
                self.session.seal(&[&scratch[..count]]);
            }
            Ok(count)
        });
        match self.poll_flush(socket, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(read),
        }
    }

    /// Writes the records that wait.
    pub(crate) fn poll_flush(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.session.pending().is_empty() {
            let count = ready!(socket.writer().poll_write(context, self.session.pending()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.session.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// All that is to be written before the connection ends: what waits, `last`, and that nothing follows.
    pub(crate) fn into_last_words(mut self, last: &[u8]) -> Vec<u8> {
        if !last.is_empty() {
            self.session.seal(&[last]);
        }
        self.session.end();
        self.session.pending().to_vec()
    }

    /// For whoever takes the connection over: the session, and plaintext that nobody has read, appended to `read_ahead`.
    pub(crate) fn leave(self, read_ahead: &mut Vec<u8>) -> Box<dyn TlsRecordLayer> {
        read_ahead.extend_from_slice(&self.plain[self.taken..]);
        self.session
    }
}

/// A TLS connection as a stream of plaintext, for whoever reads it instead of hyper.
struct TlsStream {
    socket: Socket,
    records: RecordLayer,
    connection: Arc<Connection>,
}

/// Either kind of connection as a stream of plaintext, for whoever reads it instead of hyper.
pub(crate) fn into_stream(
    socket: Socket,
    records: Option<RecordLayer>,
    connection: &Arc<Connection>,
) -> BoxStream {
    match records {
        Some(records) => Box::pin(TlsStream {
            socket,
            records,
            connection: Arc::clone(connection),
        }),
        None => socket.into_stream(),
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let TlsStream {
            socket,
            records,
            connection,
        } = self.get_mut();
        let plain = ready!(records.poll_read(socket, context, connection))?;
        let count = plain.len().min(buffer.remaining());
        buffer.put_slice(&plain[..count]);
        records.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        stream.records.poll_write(&mut stream.socket, context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.records.poll_flush(&mut stream.socket, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.records.session.end();
        ready!(stream.records.poll_flush(&mut stream.socket, context))?;
        stream.socket.writer().poll_shutdown(context)
    }
}

/// Why a read brought nothing.
pub(super) enum Received {
    Io(io::Error),
    Plain,
    Broken(String),
}
