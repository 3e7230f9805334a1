//! The peer: the socket of one connection and who is at the other end.
//!
//! [`Peer`] is what hyper reads from and writes to. It lets every byte that arrives pass by [`Framing`](crate::http1::framing),
//! notes when a write stands still, and sends a file where hyper writes what stands for one (`sendfile`). One type serves TCP and UNIX sockets, so that hyper is compiled
//! once and the socket can be taken out again without a cast.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use fairlead_http::Address;
use hyper::rt::ReadBufCursor;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::connection::Connection;
use crate::handoff::LogLevel;
use crate::http1::sendfile::{is_stand_in, Stretch};
use crate::tls::records::{Secure, SecureStream};

/// The most that one read takes. All connections share one such buffer, so an idle connection costs none.
const READ_SIZE: usize = 64 * 1024;

thread_local! {
    pub(crate) static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// An accepted socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// The socket itself, non-blocking, no longer known to tokio.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        match self {
            Socket::Tcp(stream) => stream.into_std().map(OwnedFd::from),
            Socket::Unix(stream) => stream.into_std().map(OwnedFd::from),
        }
    }

    /// This end's address; `listening` spares the question if every connection of the listener has the same.
    pub(crate) fn local_address(&self, listening: &Address) -> Address {
        match (self, listening) {
            (Socket::Tcp(stream), Address::Inet(address)) if address.ip().is_unspecified() => {
                stream.local_addr().map_or(Address::Unknown, inet)
            }
            _ => listening.clone(),
        }
    }

    /// The same with the TLS session that it may have.
    pub(crate) fn into_end(
        self,
        secure: Option<Secure>,
        connection: &Arc<Connection>,
    ) -> Pin<Box<dyn Stream>> {
        match secure {
            Some(secure) => Box::pin(SecureStream::new(self, secure, Arc::clone(connection))),
            None => self.into_stream(),
        }
    }

    /// Either kind, for plain reading and writing after hyper has let go of it.
    pub(crate) fn into_stream(self) -> Pin<Box<dyn Stream>> {
        match self {
            Socket::Tcp(stream) => Box::pin(stream),
            Socket::Unix(stream) => Box::pin(stream),
        }
    }

    /// Reads once and shows `look` what came: nothing at the end of the stream.
    pub(crate) fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(self.reader().poll_read(cx, &mut read))?;
            Poll::Ready(Ok(look(read.filled())))
        })
    }

    /// Sends at most `size` bytes of `stretch`, by sendfile(2) where the file system knows it.
    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        stretch: &Stretch,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let sent = match self {
                Socket::Tcp(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || {
                        send_file(&SockRef::from(&*stream), stretch, size)
                    })
                }
                Socket::Unix(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || {
                        send_file(&SockRef::from(&*stream), stretch, size)
                    })
                }
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if !is_the_clients(&error) => break,
                other => return Poll::Ready(other),
            }
        }
        // The file's trouble: some file systems know no sendfile, and reading tells better what is wrong with the others.
        SCRATCH.with_borrow_mut(|scratch| {
            let room = size.min(scratch.len());
            match stretch.read(&mut scratch[..room])? {
                0 => Poll::Ready(Ok(0)),
                count => self.writer().poll_write(cx, &scratch[..count]),
            }
        })
    }

    pub(crate) fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Send + Unpin)> {
        match self {
            Socket::Tcp(stream) => Pin::new(stream),
            Socket::Unix(stream) => Pin::new(stream),
        }
    }

    pub(crate) fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Socket::Tcp(stream) => Pin::new(stream),
            Socket::Unix(stream) => Pin::new(stream),
        }
    }
}

fn send_file(socket: &SockRef<'_>, stretch: &Stretch, size: usize) -> io::Result<usize> {
    let (offset, left) = stretch.rest();
    let offset = usize::try_from(offset).map_err(io::Error::other)?;
    match NonZeroUsize::new(size.min(left)) {
        Some(size) => socket.sendfile(&*stretch.file, offset, Some(size)),
        None => Ok(0),
    }
}

/// What both kinds of socket can do.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// An address as the application knows it: an IPv4 client of a dual-stack socket is an IPv4 client.
pub(crate) fn inet(address: SocketAddr) -> Address {
    Address::Inet(match address.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(IpAddr::V4(ip), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    })
}

/// One connection's socket as hyper sees it.
pub(crate) struct Peer {
    socket: Socket,
    /// Boxed, so that connections without TLS are no larger.
    secure: Option<Box<Secure>>,
    connection: Arc<Connection>,
    /// Blocks of files that the socket took without a pause.
    blocks: u32,
    /// What hyper reads before the socket's bytes.
    first: Bytes,
    /// What is written instead of the same number of hyper's first bytes.
    version: &'static [u8],
    opening: Opening,
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

impl Peer {
    pub(crate) fn new(socket: Socket, connection: Arc<Connection>) -> Peer {
        let opening = if connection.settings().http2 {
            Opening::Undecided(0)
        } else {
            Opening::Http1
        };
        Peer {
            socket,
            secure: None,
            connection,
            blocks: 0,
            first: Bytes::new(),
            version: b"",
            opening,
        }
    }

    /// HTTP/2 was agreed on in the handshake of TLS.
    pub(crate) fn is_for_http2(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.is_for_http2())
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

    /// With TLS between the socket and hyper.
    pub(crate) fn secure(socket: Socket, secure: Secure, connection: Arc<Connection>) -> Peer {
        Peer {
            secure: Some(Box::new(secure)),
            // The handshake has decided (RFC 7301).
            opening: Opening::Http1,
            ..Peer::new(socket, connection)
        }
    }

    /// `first` is read before the socket's bytes; the status line of the response begins with `version` whatever hyper
    /// takes it for.
    pub(crate) fn introduced(
        socket: Socket,
        connection: Arc<Connection>,
        first: Bytes,
        version: &'static [u8; 8],
    ) -> Peer {
        Peer {
            first,
            version,
            opening: Opening::Http1,
            ..Peer::new(socket, connection)
        }
    }

    /// The socket, its TLS session, and what was read that hyper has not asked for.
    pub(crate) fn into_parts(self) -> (Socket, Option<Secure>, Bytes) {
        (self.socket, self.secure.map(|secure| *secure), self.first)
    }

    fn poll_write_bytes(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.secure {
            None if bufs.len() > 1 => self.poll_write_gathered(cx, bufs),
            None => self.socket.writer().poll_write_vectored(cx, bufs),
            Some(secure) => secure.poll_write(&mut self.socket, cx, bufs),
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
        self.connection.wrote(result.is_pending());
    }

    /// Lets other connections, and what the kernel has to report of them, go first.
    fn give_way(&self, cx: &mut Context<'_>) {
        // The thread does not sleep now, which would be the moment to announce requests that have come meanwhile.
        self.connection.handoff().turn_ended();
        // The first poll arranges for the wake-up; unlike waking oneself it comes after a look at all sockets.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }

    /// Sends at most `size` bytes of the file that is next.
    fn poll_send_file(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<usize>> {
        let Some(stretch) = self.connection.next_file() else {
            return Poll::Ready(Err(io::Error::other("a file is to be sent, and there is none")));
        };
        if self.blocks >= BLOCKS_AT_A_TIME {
            self.blocks = 0;
            self.give_way(cx);
            return Poll::Pending;
        }
        self.blocks += 1;
        let sent = match &mut self.secure {
            None => self.socket.poll_send_file(cx, &stretch, size),
            Some(secure) => secure.poll_send_file(&mut self.socket, cx, &stretch, size),
        };
        let Poll::Ready(result) = sent else {
            self.blocks = 0;
            return Poll::Pending;
        };
        let problem = match &result {
            Ok(0) => "the file ended too early; it became shorter while it was sent".into(),
            Ok(count) => {
                if stretch.note_sent(*count) {
                    self.connection.end_file();
                }
                return Poll::Ready(result);
            }
            Err(error) if is_the_clients(error) => return Poll::Ready(result),
            Err(error) => format!("the file cannot be read: {error}"),
        };
        self.connection
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

/// A socket's error and not a file's.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::BrokenPipe
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

impl hyper::rt::Read for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let peer = self.get_mut();
        if !peer.first.is_empty() {
            let first = peer.first.split_to(buf.remaining().min(peer.first.len()));
            peer.connection.read(&first);
            buf.put_slice(&first);
            return Poll::Ready(Ok(()));
        }
        if let Some(secure) = &mut peer.secure {
            let plain = ready!(secure.poll_read(&mut peer.socket, cx, &peer.connection))?;
            let plain = &plain[..plain.len().min(buf.remaining())];
            peer.connection.read(plain);
            buf.put_slice(plain);
            let count = plain.len();
            secure.consume(count);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| loop {
            let room = (buf.remaining() - peer.opening.kept()).min(scratch.len());
            let mut read = ReadBuf::new(&mut scratch[..room]);
            ready!(peer.socket.reader().poll_read(cx, &mut read))?;
            peer.connection.read(read.filled());
            if let Some(before) = peer.decide(read.filled()) {
                buf.put_slice(before);
                buf.put_slice(read.filled());
                return Poll::Ready(Ok(()));
            }
            if matches!(peer.opening, Opening::Http2(_)) {
                // Whatever hyper makes of it, it has neither read nor written anything.
                return Poll::Ready(Err(io::Error::other("HTTP/2")));
            }
        })
    }
}

impl hyper::rt::Write for Peer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let peer = self.get_mut();
        if peer.connection.trust().is_lost() {
            return Poll::Ready(Err(io::Error::other(
                "a stretch of a file was not sent in its place",
            )));
        }
        if !peer.version.is_empty() {
            return peer.poll_write_version(cx, bufs);
        }
        let result = match bufs.iter().position(is_stand_in) {
            Some(0) => peer.poll_send_file(cx, bufs[0].len()),
            // What stands before the file first; hyper comes again with the rest.
            Some(plain) => peer.poll_write_bytes(cx, &bufs[..plain]),
            None => peer.poll_write_bytes(cx, bufs),
        };
        peer.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let peer = self.get_mut();
        // A socket has no buffer of its own.
        let Some(secure) = &mut peer.secure else {
            return Poll::Ready(Ok(()));
        };
        let result = secure.poll_flush(&mut peer.socket, cx);
        peer.connection.wrote(result.is_pending());
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.writer().poll_shutdown(cx)
    }
}
