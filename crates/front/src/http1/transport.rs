//! One HTTP/1.1 connection's bytes as hyper reads and writes them.
//!
//! [`Transport`] lets every byte that arrives pass by [`Framing`](super::framing), notes when a write stands still, and sends
//! a file where hyper writes what stands for one (`sendfile`). It looks at the first bytes of a connection, which may turn
//! out to be HTTP/2.

use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use hyper::rt::ReadBufCursor;
use tokio::io::ReadBuf;

use crate::events::LogLevel;
use crate::http1::sendfile::is_stand_in;
use crate::http1::state::Http1State;
use crate::socket::{is_of_the_socket, HangUp, Socket, SCRATCH};
use crate::tls::RecordLayer;

/// One connection's socket as hyper sees it.
pub(crate) struct Transport {
    socket: Socket,
    /// Boxed, so that connections without TLS are no larger.
    records: Option<Box<RecordLayer>>,
    state: Arc<Http1State>,
    /// Blocks of files that the socket took without a pause.
    blocks: u32,
    /// What hyper reads before the socket's bytes.
    first: Bytes,
    /// What is written instead of the same number of hyper's first bytes.
    version: &'static [u8],
    opening: Opening,
    read_side: ReadSide,
}

/// Whether the client has ended its side.
enum ReadSide {
    Open,
    /// It has, and hyper does not know: it would give up the answer. Without a watch, for lack of a descriptor, only a
    /// write finds out that the client is gone altogether.
    Held(Option<HangUp>),
}

/// What a connection begins with: a request, or HTTP/2's preface (RFC 9113 §3.4).
enum Opening {
    /// So many bytes of the preface have come, and nothing else; hyper has not seen them.
    Undecided(usize),
    Http1,
    /// All bytes that have come.
    Http2(Vec<u8>),
}

impl Opening {
    /// Bytes that hyper may still get, and needs room for.
    fn kept(&self) -> usize {
        match self {
            Opening::Undecided(seen) => *seen,
            _ => 0,
        }
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Transport {
    pub(crate) fn new(socket: Socket, state: Arc<Http1State>) -> Transport {
        let opening = if state.connection.settings().http2 {
            Opening::Undecided(0)
        } else {
            Opening::Http1
        };
        Transport {
            socket,
            records: None,
            state,
            blocks: 0,
            first: Bytes::new(),
            version: b"",
            opening,
            read_side: ReadSide::Open,
        }
    }

    /// The connection turned out to be HTTP/2, and this is all that it has sent.
    pub(crate) fn take_http2(&mut self) -> Option<Bytes> {
        match &mut self.opening {
            Opening::Http2(bytes) => Some(Bytes::from(std::mem::take(bytes))),
            _ => None,
        }
    }

    /// Looks at the first bytes; those that hyper shall have before `bytes`, or `None` while it shall have nothing.
    fn decide(&mut self, bytes: &[u8]) -> Option<&'static [u8]> {
        let Opening::Undecided(seen) = self.opening else {
            return Some(b"");
        };
        let expected = &PREFACE[seen..];
        let common = expected.len().min(bytes.len());
        if bytes.is_empty() || bytes[..common] != expected[..common] {
            self.opening = Opening::Http1;
            return Some(&PREFACE[..seen]);
        }
        self.opening = if common == expected.len() {
            Opening::Http2([&PREFACE[..seen], bytes].concat())
        } else {
            Opening::Undecided(seen + common)
        };
        None
    }

    /// The client's stream has ended. Pending: hyper shall not know, since an answer is owed or on its way.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.read_side, ReadSide::Open) {
            if !self.state.outlives_end() {
                return Poll::Ready(Ok(()));
            }
            self.read_side = ReadSide::Held(self.socket.hang_up().ok());
            self.ask_whether_it_is_there(cx);
        }
        match &self.read_side {
            ReadSide::Held(Some(watch)) => watch
                .poll(cx)
                .map(|()| Err(io::ErrorKind::ConnectionReset.into())),
            ReadSide::Held(None) | ReadSide::Open => Poll::Pending,
        }
    }

    /// Over TCP only bytes find out whether the client has closed or will only say nothing more, and an application that
    /// waits for something to send may have none for long. Between two chunks there is a byte that changes nothing: the size
    /// of the next one may begin with any number of zeros (RFC 9112 §7.1), also if it is the last.
    fn ask_whether_it_is_there(&mut self, cx: &mut Context<'_>) {
        if self.state.is_between_chunks() {
            // Whatever comes of it: a socket that is full or broken tells by itself.
            let _ = self.poll_write_bytes(cx, &[io::IoSlice::new(b"0")]);
        }
    }

    /// With TLS between the socket and hyper.
    pub(crate) fn with_tls(socket: Socket, records: RecordLayer, state: Arc<Http1State>) -> Transport {
        Transport {
            records: Some(Box::new(records)),
            // The handshake has decided (RFC 7301).
            opening: Opening::Http1,
            ..Transport::new(socket, state)
        }
    }

    /// `first` is read before the socket's bytes; the status line of the response begins with `version` whatever hyper
    /// takes it for.
    pub(crate) fn with_head(
        socket: Socket,
        state: Arc<Http1State>,
        first: Bytes,
        version: &'static [u8; 8],
    ) -> Transport {
        Transport {
            first,
            version,
            opening: Opening::Http1,
            ..Transport::new(socket, state)
        }
    }

    /// The socket, its TLS session, and what was read that hyper has not asked for.
    pub(crate) fn into_parts(self) -> (Socket, Option<RecordLayer>, Bytes) {
        (self.socket, self.records.map(|records| *records), self.first)
    }

    fn poll_write_bytes(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.records {
            None if bufs.len() > 1 => self.poll_write_gathered(cx, bufs),
            None => self.socket.writer().poll_write_vectored(cx, bufs),
            Some(records) => records.poll_write(&mut self.socket, cx, bufs),
        }
    }

    /// One buffer for a head and a short body: 3 % of a small request's profile lay between writev(2) and the socket.
    fn poll_write_gathered(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = [0; GATHERED];
        let mut length = 0;
        for buf in bufs {
            let Some(room) = gathered.get_mut(length..length + buf.len()) else {
                return self.socket.writer().poll_write_vectored(cx, bufs);
            };
            room.copy_from_slice(buf);
            length += buf.len();
        }
        self.socket.writer().poll_write(cx, &gathered[..length])
    }

    /// Writes the beginning of the response, whose first bytes are hyper's view of the version.
    fn poll_write_version(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The head is hyper's first buffer, and longer than this.
        let Some(head) = bufs.first().filter(|head| head.len() >= self.version.len()) else {
            return Poll::Ready(Err(io::Error::other("a response does not begin with its head")));
        };
        let ours = [
            io::IoSlice::new(self.version),
            io::IoSlice::new(&head[self.version.len()..]),
        ];
        let result = self.socket.writer().poll_write_vectored(cx, &ours);
        if let Poll::Ready(Ok(count)) = result {
            self.version = &self.version[count.min(self.version.len())..];
        }
        self.note_write(&result);
        result
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        self.state.wrote(result.is_pending());
    }

    /// Lets other connections, and what the kernel has to report of them, go first.
    fn give_way(&self, cx: &mut Context<'_>) {
        // The thread does not sleep now, which would be the moment to announce requests that have come meanwhile.
        self.state.connection.shared().events.turn_ended();
        // The first poll arranges for the wake-up; unlike waking oneself it comes after a look at all sockets.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }

    /// Sends at most `size` bytes of the file that is next.
    fn poll_send_file(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<usize>> {
        let Some(range) = self.state.next_file() else {
            return Poll::Ready(Err(io::Error::other("a file is to be sent, and there is none")));
        };
        if self.blocks >= BLOCKS_AT_A_TIME {
            self.blocks = 0;
            self.give_way(cx);
            return Poll::Pending;
        }
        self.blocks += 1;
        let sent = match &mut self.records {
            None => self.socket.poll_send_file(cx, &range, size),
            Some(records) => records.poll_send_file(&mut self.socket, cx, &range, size),
        };
        let Poll::Ready(result) = sent else {
            self.blocks = 0;
            return Poll::Pending;
        };
        let problem = match &result {
            Ok(0) => "the file ended too early; it became shorter while it was sent".into(),
            Ok(count) => {
                if range.note_sent(*count) {
                    self.state.end_file();
                }
                return Poll::Ready(result);
            }
            Err(error) if is_of_the_socket(error) => return Poll::Ready(result),
            Err(error) => format!("the file cannot be read: {error}"),
        };
        self.state
            .connection
            .log(LogLevel::Error, format_args!("the response was cut: {problem}"));
        Poll::Ready(Err(io::Error::other(problem)))
    }
}

/// Bytes up to which what stands in several buffers is written as one.
const GATHERED: usize = 1024;

/// A client that takes all at once must not keep the others waiting: after so many blocks of a file they have their turn.
/// Median of a small request beside four such downloads, all on one core: 41 ms with 128, where tokio would step in; 14 ms
/// with this.
const BLOCKS_AT_A_TIME: u32 = 2;

/// Hands bytes to hyper; `minors`: where the minor digit of a version stands that it would refuse, and shall take for 1.
fn put(buf: &mut ReadBufCursor<'_>, bytes: &[u8], minors: &[usize]) {
    let mut done = 0;
    for &minor in minors {
        buf.put_slice(&bytes[done..minor]);
        buf.put_slice(b"1");
        done = minor + 1;
    }
    buf.put_slice(&bytes[done..]);
}

impl hyper::rt::Read for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let transport = self.get_mut();
        if matches!(transport.read_side, ReadSide::Held(_)) {
            return transport.poll_end(cx);
        }
        if !transport.first.is_empty() {
            let first = transport
                .first
                .split_to(buf.remaining().min(transport.first.len()));
            let minors = transport.state.read(&first);
            put(&mut buf, &first, &minors);
            return Poll::Ready(Ok(()));
        }
        if let Some(records) = &mut transport.records {
            let plain = ready!(records.poll_read(&mut transport.socket, cx, &transport.state.connection))?;
            if plain.is_empty() {
                return transport.poll_end(cx);
            }
            let plain = &plain[..plain.len().min(buf.remaining())];
            let minors = transport.state.read(plain);
            put(&mut buf, plain, &minors);
            let count = plain.len();
            records.consume(count);
            return Poll::Ready(Ok(()));
        }
        let read = SCRATCH.with_borrow_mut(|scratch| loop {
            let room = (buf.remaining() - transport.opening.kept()).min(scratch.len());
            let mut read = ReadBuf::new(&mut scratch[..room]);
            ready!(transport.socket.reader().poll_read(cx, &mut read))?;
            let minors = transport.state.read(read.filled());
            if let Some(before) = transport.decide(read.filled()) {
                buf.put_slice(before);
                put(&mut buf, read.filled(), &minors);
                return Poll::Ready(Ok(before.len() + read.filled().len()));
            }
            if matches!(transport.opening, Opening::Http2(_)) {
                // Whatever hyper makes of it, it has neither read nor written anything.
                return Poll::Ready(Err(io::Error::other("HTTP/2")));
            }
        });
        match ready!(read)? {
            0 => transport.poll_end(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl hyper::rt::Write for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let transport = self.get_mut();
        if transport.state.trust().is_lost() {
            return Poll::Ready(Err(io::Error::other(
                "a range of a file was not sent in its place",
            )));
        }
        if !transport.version.is_empty() {
            return transport.poll_write_version(cx, bufs);
        }
        let result = match bufs.iter().position(is_stand_in) {
            Some(0) => transport.poll_send_file(cx, bufs[0].len()),
            // What stands before the file first; hyper comes again with the rest.
            Some(plain) => transport.poll_write_bytes(cx, &bufs[..plain]),
            None => transport.poll_write_bytes(cx, bufs),
        };
        transport.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let transport = self.get_mut();
        // A socket has no buffer of its own.
        let Some(records) = &mut transport.records else {
            return Poll::Ready(Ok(()));
        };
        let result = records.poll_flush(&mut transport.socket, cx);
        transport.state.wrote(result.is_pending());
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.writer().poll_shutdown(cx)
    }
}
