//! Listeners: how they come to be, and when the front accepts from them.
//!
//! A listener is bound here or inherited from the master; several processes may hold the same one, so "nothing to accept
//! after all" is no error. When a connection seems to wait, a process that has more of them than another gives way for a
//! moment (`scoreboard`), and the handoff is asked for room; without it the connection stays in the kernel's queue, where
//! another process can take it. An accept that fails for lack of descriptors or memory is tried again
//! after a pause: the listener is never lost and the loop never spins.

mod proxy_header;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_http::{Address, Scheme};
use socket2::{Domain, SockAddr, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::drain::{Acceptor, Seat};
use crate::front::House;
use crate::handoff::LogLevel;
use crate::http1;
use crate::scoreboard::Courtesy;
use crate::socket::{inet, Socket};
use crate::tls::Tls;
use crate::uwsgi;

/// The queue of a listener bound here. The kernel cuts it to `net.core.somaxconn` (4096 since Linux 5.4).
const BACKLOG: i32 = 1024;

/// Accepts in a row before the other tasks get a turn.
const BATCH: u32 = 64;

/// The pause after an accept failed for lack of something; also how often the lack is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that connections are accepted from.
#[derive(Debug)]
pub enum Listener {
    /// IPv4 or IPv6.
    Tcp(std::net::TcpListener),
    /// A path, an abstract name, or an inherited socket of that family.
    Unix(std::os::unix::net::UnixListener),
}

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP, by whoever connects.
    #[default]
    Http,
    /// The uwsgi protocol, by a server in front that is believed in what it says of its clients.
    Uwsgi,
}

/// How connections of one listener are treated.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What their clients speak.
    pub protocol: Protocol,
    /// With or without TLS, from the clients' point of view.
    pub scheme: Scheme,
    /// Requests look as behind uWSGI's HTTP router.
    pub router: bool,
    /// A connection begins with a header of the PROXY protocol, and one that does not is closed.
    pub proxy_protocol: bool,
    /// TLS that begins here. `None` does not mean that the client has none: a proxy may have ended it.
    pub tls: Option<Arc<Tls>>,
    /// All requests are sent to this port of https.
    pub to_https: Option<u16>,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            protocol: Protocol::Http,
            scheme: Scheme::Http,
            router: false,
            proxy_protocol: false,
            tls: None,
            to_https: None,
        }
    }
}

/// A listener and the manner of its connections.
#[derive(Debug)]
pub struct Entrance {
    /// Where they come from.
    pub listener: Listener,
    /// How they are treated.
    pub manner: Manner,
}

impl From<Listener> for Entrance {
    /// Plain HTTP.
    fn from(listener: Listener) -> Entrance {
        Entrance {
            listener,
            manner: Manner::default(),
        }
    }
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
    match std::os::unix::net::UnixStream::connect(path) {
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

/// Lets accept tasks wait for room.
#[derive(Default)]
pub(crate) struct Gate {
    /// Doors that wait. Only the front's thread counts.
    waiting: AtomicUsize,
    /// The next `open` has somebody to tell.
    is_waiting: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// There may be room again. One load when nobody waits for it.
    pub(crate) fn open(&self) {
        if self.is_waiting.load(Ordering::SeqCst) && self.is_waiting.swap(false, Ordering::SeqCst) {
            self.opened.notify_waiters();
        }
    }

    /// A connection may wait outside for lack of room.
    pub(crate) fn is_shut(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// True if there was none at first.
    async fn wait_for_room(&self, house: &House) -> bool {
        if house.has_room() {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wait_for_opening(house).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        true
    }

    async fn wait_for_opening(&self, house: &House) {
        loop {
            let opened = self.opened.notified();
            let mut opened = std::pin::pin!(opened);
            opened.as_mut().enable();
            // Announced before the second question: who makes room after it sees the announcement.
            self.is_waiting.store(true, Ordering::SeqCst);
            if house.has_room() {
                return;
            }
            opened.await;
            if house.has_room() {
                return;
            }
        }
    }
}

/// A listener registered with tokio.
pub(crate) struct Door {
    listener: Listener,
    /// The same socket once more, as a stream. Nothing is read from it: tokio tells the readiness of a stream, that of a
    /// listener only by an accept, and before the accept there are questions to ask.
    readiness: TcpStream,
    address: Address,
    manner: Arc<Manner>,
}

impl Door {
    /// Must be called inside the runtime.
    pub(crate) fn new(entrance: Entrance) -> io::Result<Door> {
        let Entrance { listener, manner } = entrance;
        let address = listener.local_address();
        let twin = match &listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                // Linux hands this on to every accepted socket, which saves a system call for each.
                socket2::SockRef::from(listener).set_tcp_nodelay(true)?;
                OwnedFd::from(listener.try_clone()?)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                OwnedFd::from(listener.try_clone()?)
            }
        };
        Ok(Door {
            listener,
            readiness: TcpStream::from_std(twin.into())?,
            address,
            manner: Arc::new(manner),
        })
    }

    /// The next connection, if this process shall have it.
    async fn accept(&self, courtesy: &mut Courtesy, house: &House) -> io::Result<(Socket, Address)> {
        loop {
            // First this, then the look: what comes after it is noticed, by the look or by the wait for readiness.
            self.forget_readiness();
            while let Some(pause) = house.share.pause(courtesy, || house.standing()) {
                // Another connection may change who should have this one.
                let _ = tokio::time::timeout(pause, self.readiness.readable()).await;
                self.forget_readiness();
            }
            if house.gate.wait_for_room(house).await {
                continue;
            }
            match self.listener.accept_nowait() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    courtesy.settle();
                    self.readiness.readable().await?;
                }
                accepted => return accepted,
            }
        }
    }

    fn forget_readiness(&self) {
        let nothing = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        let _ = self.readiness.try_io(Interest::READABLE, nothing);
    }
}

impl Listener {
    fn accept_nowait(&self) -> io::Result<(Socket, Address)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Socket::Tcp(TcpStream::from_std(stream)?), inet(address)))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let socket = Socket::Unix(UnixStream::from_std(stream)?);
                Ok((socket, Address::Unix(String::new())))
            }
        }
    }
}

/// Accepts for ever; aborted by the drain, which closes the listener.
pub(crate) async fn accept(door: Door, acceptor: Acceptor) {
    let house = acceptor.house();
    let mut complained: Option<Instant> = None;
    let mut courtesy = Courtesy::default();
    loop {
        for _ in 0..BATCH {
            match door.accept(&mut courtesy, house).await {
                Ok((socket, peer)) => {
                    admit(socket, peer, &door, house);
                    house.share.tell(|| house.standing());
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if complained.is_none_or(|when| when.elapsed() >= Duration::from_secs(1)) {
                        complained = Some(Instant::now());
                        let line = format!("no connection can be accepted: {error}; raise the limit on open files (ulimit -n)");
                        house.handoff.log(LogLevel::Error, &line);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

fn admit(socket: Socket, peer: Address, door: &Door, house: &Arc<House>) {
    house.counters.accepted();
    let local = socket.local_address(&door.address);
    let manner = Arc::clone(&door.manner);
    let connection = Arc::new(Connection::new(Arc::clone(house), manner, peer, local));
    let seat = Seat::take(house, connection);
    if door.manner.proxy_protocol {
        tokio::spawn(proxy_header::greet(seat, socket, Arc::clone(house)));
    } else {
        enter(seat, socket);
    }
}

/// The connection begins to speak what is spoken at its listener.
pub(crate) fn enter(seat: Seat, socket: Socket) {
    match seat.connection().manner.protocol {
        Protocol::Http => tokio::spawn(http1::serve(seat, socket)),
        Protocol::Uwsgi => tokio::spawn(uwsgi::serve(seat, socket)),
    };
}

/// accept(2): the client left while it was queued, or its network failed. The next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
        WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | Interrupted
            | WouldBlock
            | NetworkDown
            | NetworkUnreachable
            | HostUnreachable
    )
}
