//! The peer: the socket of one connection and who is at the other end.
//!
//! [`Peer`] is what hyper reads from and writes to. It lets every byte that arrives pass by [`Framing`](crate::framing) and
//! notes when a write stands still; it changes nothing. One type serves TCP and UNIX sockets, so that hyper is compiled
//! once and the socket can be taken out again without a cast.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use fairlead_protocol::Address;
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::connection::Connection;

/// The most that one read takes. All connections share one such buffer, so an idle connection costs none.
const READ_SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
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

    /// Either kind, for plain reading and writing after hyper has let go of it.
    pub(crate) fn into_stream(self) -> Pin<Box<dyn Stream>> {
        match self {
            Socket::Tcp(stream) => Box::pin(stream),
            Socket::Unix(stream) => Box::pin(stream),
        }
    }

    fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Send + Unpin)> {
        match self {
            Socket::Tcp(stream) => Pin::new(stream),
            Socket::Unix(stream) => Pin::new(stream),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Socket::Tcp(stream) => Pin::new(stream),
            Socket::Unix(stream) => Pin::new(stream),
        }
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
    connection: Arc<Connection>,
}

impl Peer {
    pub(crate) fn new(socket: Socket, connection: Arc<Connection>) -> Peer {
        Peer { socket, connection }
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        self.connection.wrote(result.is_pending());
    }
}

impl hyper::rt::Read for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let peer = self.get_mut();
        SCRATCH.with_borrow_mut(|scratch| {
            let room = buf.remaining().min(scratch.len());
            let mut read = ReadBuf::new(&mut scratch[..room]);
            ready!(peer.socket.reader().poll_read(cx, &mut read))?;
            peer.connection.read(read.filled());
            buf.put_slice(read.filled());
            Poll::Ready(Ok(()))
        })
    }
}

impl hyper::rt::Write for Peer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let peer = self.get_mut();
        let result = peer.socket.writer().poll_write(cx, buf);
        peer.note_write(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let peer = self.get_mut();
        let result = peer.socket.writer().poll_write_vectored(cx, bufs);
        peer.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.writer().poll_shutdown(cx)
    }
}
