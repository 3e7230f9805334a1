//! What the loop needs of the operating system: readiness, a way to be woken, and the time.
//!
//! [`Poller`] is the whole list; a platform joins by supplying these nine functions, and the tests supply a
//! fake. [`EpollPoller`] is Linux's. Registration works from every thread while another one waits, because a
//! thread that reads its own socket takes it out of the loop and puts it back (see `direct`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fairlead_channel::is_forked;
use fairlead_websocket::Time;
use rustix::event::{epoll, eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags,
};

use crate::process_exit::{end_this_process, DESCRIPTORS_ARE_LOST};

/// What a registration wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interest {
    /// Bytes, an end of stream or an error wait to be read.
    pub read: bool,
    /// Bytes could be written.
    pub write: bool,
}

impl Interest {
    /// True if there is nothing to listen for; such a descriptor must not stay registered, since a hang-up
    /// cannot be masked and would wake the loop for ever.
    pub fn is_none(self) -> bool {
        !self.read && !self.write
    }
}

/// One descriptor that became ready.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// The key given at registration.
    pub key: u64,
    /// To be read; a hang-up and an error count as readable, since reading tells which it is.
    pub readable: bool,
    /// To be written.
    pub writable: bool,
}

/// The loop's view of the system. Level-triggered.
pub trait Poller: Send + Sync {
    /// Starts to watch a descriptor.
    fn add(&self, fd: BorrowedFd<'_>, key: u64, interest: Interest) -> io::Result<()>;
    /// Changes what is watched.
    fn modify(&self, fd: BorrowedFd<'_>, key: u64, interest: Interest) -> io::Result<()>;
    /// Stops watching.
    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    /// Waits until something is ready, [`Poller::wake`] was called or the time is over (`None`: no limit), and
    /// appends what is ready. A wake that came before the wait ends it at once.
    fn wait(&self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()>;
    /// Ends the current wait, or the next one. From any thread.
    fn wake(&self);
    /// Monotonic time, milliseconds since the poller was made.
    fn now(&self) -> Time;
    /// A descriptor that polls readable while a wait would not block, for foreign loops to watch.
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Ends a wait at this time; `None`: no longer. For waits on [`Poller::descriptor`], which have no time-out of ours.
    fn alarm(&self, at: Option<Time>) -> io::Result<()>;
    /// True if a wait would not block. Takes nothing.
    fn is_ready(&self) -> bool;
    /// Blocks until a wait would not, or the other descriptor is readable. Takes nothing; may end early.
    fn wait_ready_or(&self, other: BorrowedFd<'_>);
}

const WAKE_KEY: u64 = u64::MAX;
/// The batch of one wait. What a turn reads, the app's tasks and their answers should still lie in the L2 cache when the
/// turn ends; with 1,000 busy connections 64 needed 5–10 % less CPU per message than 512.
const BATCH: usize = 64;

/// epoll with an eventfd to wake it.
pub struct EpollPoller {
    epoll: OwnedFd,
    wake: OwnedFd,
    /// Made for the first alarm: only runners on a foreign loop need one.
    alarm: OnceLock<OwnedFd>,
    started: Instant,
}

impl EpollPoller {
    /// Makes an empty poller.
    ///
    /// # Errors
    /// The system's error when no descriptor is free.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered: each write is one edge, so that nobody needs to read the counter back.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE_KEY), flags)?;
        Ok(Self {
            epoll,
            wake,
            alarm: OnceLock::new(),
            started: Instant::now(),
        })
    }

    fn alarm_clock(&self) -> io::Result<&OwnedFd> {
        if let Some(clock) = self.alarm.get() {
            return Ok(clock);
        }
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Edge-triggered like the wake: nobody needs to read it.
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &clock, epoll::EventData::new_u64(WAKE_KEY), edge)?;
        // One thread at a time is the driver, and only it sets alarms.
        Ok(self.alarm.get_or_init(|| clock))
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    if interest.read {
        flags |= epoll::EventFlags::IN;
    }
    if interest.write {
        flags |= epoll::EventFlags::OUT;
    }
    flags
}

impl Poller for EpollPoller {
    fn add(&self, fd: BorrowedFd<'_>, key: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(key),
            flags(interest),
        )?)
    }

    fn modify(&self, fd: BorrowedFd<'_>, key: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(key),
            flags(interest),
        )?)
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    fn wait(&self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()> {
        let mut batch = [const { MaybeUninit::<epoll::Event>::uninit() }; BATCH];
        // Rounded up: a wait that ends a fraction of a millisecond before its timer is due would be repeated.
        let timeout = timeout.map(|limit| {
            let millis = limit.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i64;
            Timespec {
                tv_sec: millis / 1000,
                tv_nsec: (millis % 1000) * 1_000_000,
            }
        });
        let events = match epoll::wait(&self.epoll, &mut batch[..], timeout.as_ref()) {
            Ok((events, _)) => events,
            // A signal: whoever waits decides whether to wait again.
            Err(Errno::INTR) => return Ok(()),
            // It has been closed, or its number is some other file's by now: nothing is ever ready again.
            Err(Errno::BADF | Errno::INVAL) if !is_forked() => end_this_process(DESCRIPTORS_ARE_LOST),
            Err(error) => return Err(error.into()),
        };
        ready.extend(events.iter().filter_map(|event| {
            let key = event.data.u64();
            let flags = event.flags;
            let gone = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            (key != WAKE_KEY).then_some(Readiness {
                key,
                readable: gone || flags.contains(epoll::EventFlags::IN),
                writable: flags.contains(epoll::EventFlags::OUT),
            })
        }));
        Ok(())
    }

    fn wake(&self) {
        // The only failure is a full counter, which means that a wake is pending anyway.
        let _ = rustix::io::write(self.wake.as_fd(), &1u64.to_ne_bytes());
    }

    fn now(&self) -> Time {
        Time::from_millis(self.started.elapsed().as_millis() as u64)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn alarm(&self, at: Option<Time>) -> io::Result<()> {
        if at.is_none() && self.alarm.get().is_none() {
            return Ok(());
        }
        let none = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = at.map_or(none, |at| {
            // One nanosecond more than zero: zero would switch the timer off, and a past time is due at once.
            let left = (self.started + Duration::from_millis(at.as_millis()))
                .saturating_duration_since(Instant::now())
                .max(Duration::from_nanos(1));
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        let once = Itimerspec {
            it_interval: none,
            it_value: value,
        };
        timerfd_settime(self.alarm_clock()?, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&at_once)), Ok(1))
    }

    fn wait_ready_or(&self, other: BorrowedFd<'_>) {
        let mut fds = [
            PollFd::new(&self.epoll, PollFlags::IN),
            PollFd::new(&other, PollFlags::IN),
        ];
        // A signal ends it early.
        let _ = poll(&mut fds, None);
    }
}

/// A descriptor that is readable while it is set. Level-triggered, unlike the poller's wake.
pub(crate) struct Waker {
    event: OwnedFd,
    is_set: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            is_set: AtomicBool::new(false),
        })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(crate) fn wake(&self) {
        if !self.is_set.swap(true, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// What was pushed before a wake that comes in between is seen by whoever calls this, who looks afterwards.
    pub(crate) fn clear(&self) {
        if self.is_set.load(Ordering::SeqCst) {
            let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
            self.is_set.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn wait_ready(poller: &EpollPoller) {
        poller.wait_ready_or(Waker::new().unwrap().descriptor());
        assert!(poller.is_ready());
    }

    #[test]
    fn a_wake_before_the_wait_ends_it_at_once_and_only_once() {
        let poller = EpollPoller::new().unwrap();
        poller.wake();
        let mut ready = Vec::new();
        poller.wait(&mut ready, None).unwrap();
        assert!(ready.is_empty());
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty());
    }

    #[test]
    fn readiness_is_reported_until_the_bytes_are_read() {
        let poller = EpollPoller::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller
            .add(
                ours.as_fd(),
                7,
                Interest {
                    read: true,
                    write: false,
                },
            )
            .unwrap();
        theirs.write_all(b"x").unwrap();
        for _ in 0..2 {
            let mut ready = Vec::new();
            poller.wait(&mut ready, None).unwrap();
            assert_eq!(ready.len(), 1);
            assert_eq!(
                (ready[0].key, ready[0].readable, ready[0].writable),
                (7, true, false)
            );
        }
    }

    #[test]
    fn an_alarm_makes_the_descriptor_readable_until_the_next_wait() {
        let poller = EpollPoller::new().unwrap();
        assert!(!poller.is_ready());
        poller
            .alarm(Some(poller.now() + Duration::from_millis(5)))
            .unwrap();
        wait_ready(&poller);
        poller.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        assert!(!poller.is_ready());
        poller.alarm(Some(poller.now())).unwrap();
        wait_ready(&poller); // a time that is past is due at once
        poller.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        poller
            .alarm(Some(poller.now() + Duration::from_millis(2)))
            .unwrap();
        poller.alarm(None).unwrap();
        // The waker wakes later than the alarm would have.
        let waker = Waker::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = poll(
                    &mut [],
                    Some(&Timespec {
                        tv_sec: 0,
                        tv_nsec: 10_000_000,
                    }),
                );
                waker.wake();
            });
            poller.wait_ready_or(waker.descriptor());
        });
        assert!(!poller.is_ready());
    }

    #[test]
    fn a_hang_up_counts_as_readable() {
        let poller = EpollPoller::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        poller
            .add(
                ours.as_fd(),
                1,
                Interest {
                    read: false,
                    write: true,
                },
            )
            .unwrap();
        drop(theirs);
        let mut ready = Vec::new();
        poller.wait(&mut ready, None).unwrap();
        assert!(ready[0].readable);
    }
}
