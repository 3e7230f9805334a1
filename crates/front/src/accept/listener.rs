//! Listening sockets: bound here or inherited from the master, and what one accept gives.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;

use fairlead_http::Address;
use socket2::{Domain, SockAddr, Socket as RawSocket, Type};
use tokio::net::{TcpStream, UnixStream};

use crate::socket::{inet, Shut, Socket};

/// The queue of a listener bound here. The kernel cuts it to `net.core.somaxconn` (4096 since Linux 5.4).
const BACKLOG: i32 = 1024;

/// A socket that connections are accepted from.
#[derive(Debug)]
pub enum Listener {
    /// IPv4 or IPv6.
    Tcp(std::net::TcpListener),
    /// A path, an abstract name, or an inherited socket of that family.
    Unix(std::os::unix::net::UnixListener),
}

impl Listener {
    /// Binds `address`: `":8080"` (all IPv4 addresses), `"127.0.0.1:0"`, `"[::1]:80"`, `"/path"` or `"@abstract"`.
    ///
    /// A socket file that nobody listens on any more is replaced.
    pub fn bind(address: &str) -> io::Result<Listener> {
        Listener::bind_with_backlog(address, BACKLOG)
    }

    /// Like [`bind`](Listener::bind), with the length of the kernel's queue.
    pub fn bind_with_backlog(address: &str, backlog: i32) -> io::Result<Listener> {
        bind(address, backlog).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot listen on {address:?}: {error}; choose another address"),
            )
        })
    }

    /// Takes over an inherited listening socket and finds out its family.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Listener> {
        let socket = RawSocket::from(socket);
        if !socket.is_listener()? {
            let why = "the inherited descriptor is a socket that does not listen; call listen() before passing it on";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        match socket.domain()? {
            Domain::UNIX => Ok(Listener::Unix(OwnedFd::from(socket).into())),
            Domain::IPV4 | Domain::IPV6 => Ok(Listener::Tcp(OwnedFd::from(socket).into())),
            other => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the inherited socket has family {other:?}; pass a TCP or UNIX socket"),
            )),
        }
    }

    /// The address that clients connect to.
    pub fn local_address(&self) -> Address {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map_or(Address::Unknown, inet),
            Listener::Unix(listener) => listener
                .local_addr()
                .map_or(Address::Unknown, |address| unix(&address)),
        }
    }
}

fn bind(address: &str, backlog: i32) -> io::Result<Listener> {
    if let Some(name) = address.strip_prefix('@') {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return std::os::unix::net::UnixListener::bind_addr(&address).map(Listener::Unix);
    }
    if address.contains('/') {
        remove_stale(address)?;
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(address)?)?;
        socket.listen(backlog)?;
        return Ok(Listener::Unix(socket.into()));
    }
    let full = if address.starts_with(':') {
        format!("0.0.0.0{address}")
    } else {
        address.to_owned()
    };
    let resolved: SocketAddr = std::net::ToSocketAddrs::to_socket_addrs(&full)?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let socket = RawSocket::new(Domain::for_address(resolved), Type::STREAM, None)?;
    // A restarted server must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&resolved.into())?;
    socket.listen(backlog)?;
    Ok(Listener::Tcp(socket.into()))
}

/// Removes a socket file whose listener has died. Anything else at that path is left for `bind` to complain about.
fn remove_stale(path: &str) -> io::Result<()> {
    // Not blocking: whoever listens there may have no room in its queue, and has not died.
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

fn unix(address: &std::os::unix::net::SocketAddr) -> Address {
    let name = match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => path.to_string_lossy().into_owned(),
        (None, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        (None, None) => String::new(),
    };
    Address::Unix(name)
}

impl Listener {
    pub(super) fn accept_nowait(&self) -> io::Result<(Socket, Address)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((
                    Socket::Tcp(Shut::new(TcpStream::from_std(stream)?)),
                    inet(address),
                ))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let socket = Socket::Unix(Shut::new(UnixStream::from_std(stream)?));
                Ok((socket, Address::Unix(String::new())))
            }
        }
    }
}
