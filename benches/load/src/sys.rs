//! Safe, thin wrappers around the system calls of both programs: epoll, non-blocking sockets, the clock, random bytes.
//! One call here is one system call (or a documented few), so that reading the programs shows what they cost; nothing
//! retries or buffers behind the caller's back.

use std::ffi::c_int;
use std::io;
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

/// Nanoseconds of the monotonic clock.
#[inline]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Bytes from the kernel's generator; `N` is at most 256, so the call is never cut short.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= 256) };
    let mut bytes = [0; N];
    // SAFETY: the pointer and the length describe `bytes`.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    assert_eq!(
        filled,
        N as isize,
        "getrandom failed: {}",
        io::Error::last_os_error()
    );
    bytes
}

/// Raises the limit of open descriptors as far as it goes without privileges: 5,000 connections need 5,000.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for reading and writing during both calls. A failure leaves the limit as it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// What a socket waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the end of the stream.
    Read,
    /// Room to write.
    Write,
    /// Either.
    ReadWrite,
}

impl Interest {
    fn bits(self) -> u32 {
        (match self {
            Interest::Read => libc::EPOLLIN,
            Interest::Write => libc::EPOLLOUT,
            Interest::ReadWrite => libc::EPOLLIN | libc::EPOLLOUT,
        }) as u32
    }
}

/// One descriptor that is ready.
#[derive(Clone, Copy)]
pub struct Ready {
    /// The number given when the descriptor was added.
    pub token: usize,
    /// A read will not block; errors and hang-ups count, because the read reports them.
    pub readable: bool,
    /// A write will not block.
    pub writable: bool,
}

/// The events of one `epoll_wait`.
pub struct Events {
    list: Vec<libc::epoll_event>,
    count: usize,
}

impl Events {
    /// Room for `capacity` events per turn.
    pub fn with_capacity(capacity: usize) -> Self {
        Events {
            list: vec![libc::epoll_event { events: 0, u64: 0 }; capacity],
            count: 0,
        }
    }

    /// The events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Ready> + '_ {
        self.list[..self.count].iter().map(|event| {
            let (bits, token) = (event.events as c_int, event.u64 as usize);
            Ready {
                token,
                readable: bits & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) != 0,
                writable: bits & libc::EPOLLOUT != 0,
            }
        })
    }
}

/// A level-triggered epoll instance. A closed descriptor leaves it by itself.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new, empty instance.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; a non-negative result is a descriptor that nobody else owns.
        unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }.map(Epoll)
    }

    /// Starts watching `descriptor`; its events carry `token`.
    pub fn add(&self, descriptor: &impl AsRawFd, interest: Interest, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor.as_raw_fd(), interest, token)
    }

    /// Changes what `descriptor` waits for.
    pub fn modify(&self, descriptor: &impl AsRawFd, interest: Interest, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor.as_raw_fd(), interest, token)
    }

    /// Waits for events, at most `timeout_ms` (-1: without limit). A signal counts as no events.
    #[inline]
    pub fn wait(&self, events: &mut Events, timeout_ms: i32) -> io::Result<()> {
        let room = events.list.len() as c_int;
        // SAFETY: the pointer and `room` describe `events.list`.
        let ready =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.list.as_mut_ptr(), room, timeout_ms) };
        match checked(ready) {
            Ok(count) => events.count = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.count = 0,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn control(
        &self,
        operation: c_int,
        descriptor: RawFd,
        interest: Interest,
        token: usize,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.bits(),
            u64: token as u64,
        };
        // SAFETY: `event` is valid during the call.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, descriptor, &mut event) }).map(drop)
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// An IPv4 address; the bench stays on the loopback.
    Tcp(SocketAddrV4),
    /// A UNIX socket.
    Unix(PathBuf),
}

/// A non-blocking stream socket, closed when dropped.
pub struct Socket(OwnedFd);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Socket {
    /// Begins to connect; the socket is writable when that is settled, see [`Socket::connect_error`].
    pub fn connect(address: &Address) -> io::Result<Socket> {
        match address {
            Address::Tcp(address) => {
                let socket = Socket::new(libc::AF_INET)?;
                set_option(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1_i32)?;
                socket.begin_connect(&ipv4(address))?;
                Ok(socket)
            }
            Address::Unix(path) => {
                let socket = Socket::new(libc::AF_UNIX)?;
                socket.begin_connect(&unix(path)?)?;
                Ok(socket)
            }
        }
    }

    /// How a pending connect ended.
    pub fn connect_error(&self) -> io::Result<()> {
        let mut code: c_int = 0;
        let mut size = mem::size_of::<c_int>() as libc::socklen_t;
        // SAFETY: `code` and `size` are valid for writing and describe one int.
        let result = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut code).cast(),
                &mut size,
            )
        };
        checked(result)?;
        if code == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(code))
        }
    }

    /// One `read` into the spare capacity of `buffer`, so that no byte of it is cleared first.
    #[inline]
    pub fn read_append(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let spare = buffer.spare_capacity_mut();
        // SAFETY: the pointer and the length describe the spare capacity, which may be uninitialised.
        let count = unsafe { libc::read(self.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len()) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel initialised `count` bytes behind the current length, within the capacity.
        unsafe { buffer.set_len(buffer.len() + count as usize) };
        Ok(count as usize)
    }

    /// One `send`; without a reader it reports an error instead of raising SIGPIPE.
    #[inline]
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the pointer and the length describe `bytes`.
        let count = unsafe {
            libc::send(
                self.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_NOSIGNAL,
            )
        };
        if count < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(count as usize)
        }
    }

    /// Closes with a reset, which leaves no TIME_WAIT behind: thousands of handshakes per second would otherwise
    /// use up the ports of the loopback.
    pub fn close_with_reset(self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // Ignored: without the option the socket closes in the ordinary way, which is correct too.
        let _ = set_option(&self, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
    }

    fn new(family: c_int) -> io::Result<Socket> {
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; a non-negative result is a descriptor that nobody else owns.
        unsafe { owned(libc::socket(family, kind, 0)) }.map(Socket)
    }

    fn begin_connect<A>(&self, address: &A) -> io::Result<()> {
        let size = mem::size_of::<A>() as libc::socklen_t;
        // SAFETY: `address` is a sockaddr of this size; only `ipv4` and `unix` below make one.
        let result = unsafe { libc::connect(self.as_raw_fd(), (&raw const *address).cast(), size) };
        match checked(result) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// A listening TCP socket on the loopback.
pub struct Listener(OwnedFd);

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Listener {
    /// Listens on `address`. Accepted sockets inherit TCP_NODELAY, which saves a call per connection.
    pub fn bind(address: &SocketAddrV4) -> io::Result<Listener> {
        const BACKLOG: c_int = 4096;
        let Socket(listener) = Socket::new(libc::AF_INET)?;
        set_option(&listener, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32)?;
        set_option(&listener, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1_i32)?;
        let name = ipv4(address);
        let size = mem::size_of_val(&name) as libc::socklen_t;
        // SAFETY: `name` is a sockaddr_in of this size.
        checked(unsafe { libc::bind(listener.as_raw_fd(), (&raw const name).cast(), size) })?;
        // SAFETY: no pointers.
        checked(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) })?;
        Ok(Listener(listener))
    }

    /// One `accept4`; the socket is non-blocking.
    pub fn accept(&self) -> io::Result<Socket> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let (address, size) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: null pointers say that the peer's name is not wanted; the result is a descriptor nobody else owns.
        unsafe { owned(libc::accept4(self.0.as_raw_fd(), address, size, flags)) }.map(Socket)
    }
}

fn ipv4(address: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}

fn unix(path: &std::path::Path) -> io::Result<libc::sockaddr_un> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut name = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; 108],
    };
    // The last byte stays zero: the path ends there (unix(7)).
    if bytes.len() >= name.sun_path.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a UNIX socket has at most 107 bytes",
        ));
    }
    for (target, byte) in name.sun_path.iter_mut().zip(bytes) {
        *target = *byte as libc::c_char;
    }
    Ok(name)
}

fn set_option<T>(socket: &impl AsRawFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let size = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the size describe `value`; callers pass the type that the option wants.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size,
        )
    })
    .map(drop)
}

/// # Safety
///
/// `descriptor` is an error, or a descriptor that nobody else owns.
unsafe fn owned(descriptor: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    checked(descriptor).map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
