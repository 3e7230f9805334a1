//! An accepted socket: TCP or UNIX, read and written by the front's own thread.
//!
//! One type serves both families, so that hyper is compiled once and the socket can be taken out again without a cast. It
//! knows nothing of what is spoken on it.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use fairlead_http::Address;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::file_range::FileRange;

/// The most that one read takes. All connections share one such buffer, so an idle connection costs none.
const READ_SIZE: usize = 64 * 1024;

/// How a client is asked that has ended its side. One whose network is silent for half a minute is given up.
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 6;

thread_local! {
    pub(crate) static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// An accepted socket.
pub(crate) enum Socket {
    Tcp(Shut<TcpStream>),
    Unix(Shut<UnixStream>),
}

/// A socket that is shut down before it is closed. A close alone ends a connection only if nobody else has the socket, and
/// a process that the application has forked has a copy of each.
pub(crate) struct Shut<S: AsFd>(Option<S>);

impl<S: AsFd> Shut<S> {
    pub(crate) fn new(socket: S) -> Shut<S> {
        Shut(Some(socket))
    }

    /// The socket, which lives on.
    fn into_inner(mut self) -> Option<S> {
        self.0.take()
    }
}

impl<S: AsFd> Drop for Shut<S> {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            // It has an end already if that fails.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
    }
}

impl<S: AsFd> Deref for Shut<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.0.as_ref().expect("taken by value only")
    }
}

impl<S: AsFd> DerefMut for Shut<S> {
    fn deref_mut(&mut self) -> &mut S {
        self.0.as_mut().expect("taken by value only")
    }
}

impl<S: AsFd> AsFd for Shut<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.deref().as_fd()
    }
}

impl<S: AsFd + AsyncRead + Unpin> AsyncRead for Shut<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().deref_mut()).poll_read(cx, buf)
    }
}

impl<S: AsFd + AsyncWrite + Unpin> AsyncWrite for Shut<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().deref_mut()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().deref_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.deref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().deref_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().deref_mut()).poll_shutdown(cx)
    }
}

impl Socket {
    /// The socket itself, non-blocking, no longer known to tokio.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        let taken = io::ErrorKind::NotConnected;
        match self {
            Socket::Tcp(stream) => stream.into_inner().ok_or(taken)?.into_std().map(OwnedFd::from),
            Socket::Unix(stream) => stream.into_inner().ok_or(taken)?.into_std().map(OwnedFd::from),
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
    pub(crate) fn into_stream(self) -> BoxStream {
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

    /// Sends at most `size` bytes of `range`, by sendfile(2) where the file system knows it.
    pub(crate) fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        range: &FileRange,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let sent = match self {
                Socket::Tcp(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || {
                        send_file(&SockRef::from(&**stream), range, size)
                    })
                }
                Socket::Unix(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || {
                        send_file(&SockRef::from(&**stream), range, size)
                    })
                }
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if !is_of_the_socket(&error) => break,
                other => return Poll::Ready(other),
            }
        }
        // The file's trouble: some file systems know no sendfile, and reading tells better what is wrong with the others.
        SCRATCH.with_borrow_mut(|scratch| {
            let room = size.min(scratch.len());
            match range.read(&mut scratch[..room])? {
                0 => Poll::Ready(Ok(0)),
                count => self.writer().poll_write(cx, &scratch[..count]),
            }
        })
    }

    /// Watches for the end of both directions. It takes a descriptor.
    ///
    /// Over TCP the end of one direction looks as if the client had closed, and only bytes find out which it was: the system
    /// of a client that has closed answers them with a reset. Where there are none to send, keepalive probes find out once
    /// that system has forgotten the connection, after a minute on Linux (`tcp_fin_timeout`).
    pub(crate) fn hang_up(&self) -> io::Result<HangUp> {
        if let Socket::Tcp(stream) = self {
            let probes = TcpKeepalive::new()
                .with_time(PROBE_EVERY)
                .with_interval(PROBE_EVERY)
                .with_retries(PROBES);
            // Without it the end of the response finds out.
            let _ = SockRef::from(&**stream).set_tcp_keepalive(&probes);
        }
        let twin = match self {
            Socket::Tcp(stream) => stream.as_fd().try_clone_to_owned()?,
            Socket::Unix(stream) => stream.as_fd().try_clone_to_owned()?,
        };
        // A stream of whichever family, for its readiness alone.
        TcpStream::from_std(twin.into()).map(HangUp)
    }

    pub(crate) fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Send + Unpin)> {
        match self {
            Socket::Tcp(stream) => Pin::new(&mut **stream),
            Socket::Unix(stream) => Pin::new(&mut **stream),
        }
    }

    pub(crate) fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Socket::Tcp(stream) => Pin::new(&mut **stream),
            Socket::Unix(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// Tells when the other side of a socket is gone altogether: reset, or closed where a close can be told from the end of one
/// direction (UNIX). A second descriptor of the same socket, because the readiness of the first belongs to whoever reads and
/// writes.
pub(crate) struct HangUp(TcpStream);

impl HangUp {
    /// Ready when it is so.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is the end of the runtime.
        let _ = ready!(self.0.poll_write_ready(cx));
        // That there is room for bytes is forgotten; that there is nobody who could take them cannot be.
        let _ = self.0.try_io(Interest::WRITABLE, || {
            io::Result::<()>::Err(io::ErrorKind::WouldBlock.into())
        });
        self.0.poll_write_ready(cx).map(|_| ())
    }
}

fn send_file(socket: &SockRef<'_>, range: &FileRange, size: usize) -> io::Result<usize> {
    let (offset, left) = range.rest();
    let offset = usize::try_from(offset).map_err(io::Error::other)?;
    match NonZeroUsize::new(size.min(left)) {
        Some(size) => socket.sendfile(&*range.file, offset, Some(size)),
        None => Ok(0),
    }
}

/// What both kinds of socket can do.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// One of them, whichever it is.
pub(crate) type BoxStream = Pin<Box<dyn Stream>>;

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

/// A socket's error and not a file's.
pub(crate) fn is_of_the_socket(error: &io::Error) -> bool {
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
