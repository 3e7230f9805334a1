//! Descriptors in reserve: connections never take the last ones, so that the application can open its files, and the
//! process what it needs to obey its master and to end in order.
//!
//! The kernel gives the lowest free number, so the number of an accepted socket tells how many are taken. That costs a
//! comparison for each connection; the system is asked again only once the reserve is reached.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{getrlimit, Resource};

/// So many stay free, but at most a quarter of all. A worker at rest has some 25 of its own; 16 more are a handful of
/// files, a connection to a database, and a module that is imported late.
const RESERVE: RawFd = 16;

/// What one listener knows of it.
pub(super) struct Reserve {
    /// Sockets with smaller numbers are no reason to look.
    below: RawFd,
    limit: RawFd,
    is_reached: bool,
}

impl Reserve {
    pub(super) fn new() -> Reserve {
        let limit = getrlimit(Resource::Nofile).current;
        Reserve::of(
            limit
                .and_then(|limit| RawFd::try_from(limit).ok())
                .unwrap_or(RawFd::MAX),
        )
    }

    fn of(limit: RawFd) -> Reserve {
        Reserve {
            below: limit - RESERVE.min(limit / 4),
            limit,
            is_reached: false,
        }
    }

    /// A socket was accepted.
    pub(super) fn note(&mut self, accepted: &impl AsRawFd) {
        self.is_reached = accepted.as_raw_fd() >= self.below;
    }

    /// Whether the next connection may be accepted. With `Err` one waits that may not; `Ok(false)`: none waits.
    pub(super) fn has_room(&mut self, listener: &impl AsFd) -> io::Result<bool> {
        if !self.is_reached {
            return Ok(true);
        }
        *self = Reserve::new(); // somebody may have raised the limit
        let lowest = rustix::io::fcntl_dupfd_cloexec(listener, 0).map_or(RawFd::MAX, |twin| twin.as_raw_fd());
        self.is_reached = lowest >= self.below;
        if !self.is_reached {
            return Ok(true);
        }
        let mut one = [PollFd::new(listener, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if poll(&mut one, Some(&at_once)) == Ok(0) {
            return Ok(false);
        }
        let (limit, kept) = (self.limit, self.limit - self.below);
        let why =
            format!("all but {kept} of {limit} open files are in use, and these are kept for other needs");
        Err(io::Error::other(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    struct Number(RawFd);

    impl AsRawFd for Number {
        fn as_raw_fd(&self) -> RawFd {
            self.0
        }
    }

    #[test]
    fn a_quarter_is_kept_of_a_small_limit_and_sixteen_of_a_large_one() {
        assert_eq!((Reserve::of(40).below, Reserve::of(1024).below), (30, 1008));
    }

    #[test]
    fn a_high_number_makes_the_next_connection_wait_for_a_lower_one() {
        let mut reserve = Reserve::of(1024);
        let (listener, _other) = UnixStream::pair().expect("a pair");
        reserve.note(&Number(1007));
        assert!(!reserve.is_reached);
        reserve.note(&Number(1008));
        assert!(reserve.is_reached);
        // Numbers are free in this process, so there is room again.
        assert!(reserve.has_room(&listener).expect("room"));
        assert!(!reserve.is_reached);
    }
}
