//! A descriptor that polls readable exactly while there is something to receive.
//!
//! Apps hand `connection_fd()` to `select`, gevent or asyncio (compat §1.4). The real socket will not
//! do: the engine reads ahead. So a connection that is asked for a descriptor gets a socket pair, one byte lying
//! in it while `receive` would return at once. Nobody but the engine reads that byte, and writing never blocks.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::net::{socketpair, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// One connection's descriptor.
pub struct ReadinessDescriptor {
    ours: OwnedFd,
    theirs: OwnedFd,
    is_readable: bool,
}

impl ReadinessDescriptor {
    /// Makes one that is not readable.
    ///
    /// # Errors
    /// The system's error when no descriptors are free.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Self {
            ours,
            theirs,
            is_readable: false,
        })
    }

    /// The descriptor for the app to poll. It stays the engine's property.
    pub fn descriptor(&self) -> RawFd {
        self.theirs.as_raw_fd()
    }

    /// Makes the descriptor readable, or not.
    pub fn set(&mut self, readable: bool) {
        if readable == self.is_readable {
            return;
        }
        self.is_readable = readable;
        // Both ends are ours and hold at most one byte: neither call can block or fail.
        if readable {
            let _ = rustix::net::send(&self.ours, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        } else {
            let mut byte = [0u8; 1];
            let _ = rustix::net::recv(&self.theirs, &mut byte, RecvFlags::DONTWAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{poll, PollFd, PollFlags, Timespec};

    fn readable(one: &ReadinessDescriptor) -> bool {
        let mut fds = [PollFd::new(&one.theirs, PollFlags::IN)];
        poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .unwrap()
            == 1
    }

    #[test]
    fn it_is_readable_exactly_while_set() {
        let mut one = ReadinessDescriptor::new().unwrap();
        assert!(!readable(&one));
        for _ in 0..3 {
            one.set(true);
            one.set(true);
            assert!(readable(&one));
            one.set(false);
            assert!(!readable(&one));
        }
    }
}
