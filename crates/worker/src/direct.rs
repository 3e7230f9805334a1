//! Threads that read their own sockets (the threads runner).
//!
//! A thread in [`Connection::wait_message`] sits in a blocking `recv(2)`: one system call for a message, and no
//! hand-over from the loop (which costs 25 % more CPU). While it is there the loop does not watch the socket at
//! all. When it returns to the app it notes the time; the loop thread looks around every few milliseconds while
//! anyone is away, and from a socket whose thread stays away longer it reads itself, so that pings are answered
//! and a Close is seen whatever the app does. The thread takes its socket back when it returns.
//!
//! Corking: answers to messages that came together leave in one write, when the last of them was received.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use fairlead_websocket::{Time, Transport};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::net::RecvFlags;

use crate::connection::{Connection, Reader, State};

/// Read at once per thread. 64 KiB: a thread serves one connection, and only touched pages count.
const READ_BUFFER: usize = 64 * 1024;
/// The loop has taken the socket over; nobody needs to look after the thread.
const TAKEN: u64 = u64::MAX;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into_boxed_slice());
}

/// Another thread waits for this connection's next message: read by two, its bytes would reach the session in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsReceiving;

impl Connection {
    /// Blocks until [`Connection::receive`] would return something, at most `limit`. False when the limit passed.
    ///
    /// # Errors
    /// There is nothing, and another thread waits for it.
    pub fn wait_message(&self, limit: Option<Duration>) -> Result<bool, IsReceiving> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = self.lock();
        if state.session.message().is_some() || state.session.closed().is_some() {
            self.leave(&mut state);
            return Ok(true);
        }
        if state.thread_waits {
            return Err(IsReceiving);
        }
        state.thread_waits = true;
        let (mut state, in_time) = self.read_until(state, deadline);
        state.thread_waits = false;
        self.leave(&mut state);
        Ok(in_time)
    }

    /// Reads the socket until there is something to receive; false when `deadline` comes first.
    fn read_until<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        loop {
            if state.session.message().is_some() || state.session.closed().is_some() {
                return (state, true);
            }
            let Some(socket) = state.shared_socket() else {
                // The handshake is on its way through the front.
                let Some(left) = time_left(deadline) else {
                    return (state, false);
                };
                let (guard, _) = self
                    .joined
                    .wait_timeout(state, left)
                    .unwrap_or_else(|e| e.into_inner());
                state = guard;
                continue;
            };
            state.flush(self.shared.poller.now());
            if state.reader == Reader::Loop {
                state.reader = Reader::Thread;
                state.settle(&self.shared);
            } else if state.is_blocked() {
                self.make_dirty(&mut state);
            }
            self.away_since.store(0, Ordering::SeqCst);
            state.thread_inside = true;
            drop(state);
            let in_time = deadline.is_none_or(|at| wait_for(&socket, PollFlags::IN, at));
            state = BUFFER.with_borrow_mut(|buffer| {
                let got = if in_time {
                    rustix::net::recv(&*socket, &mut buffer[..], RecvFlags::empty()).map(|(bytes, _)| bytes)
                } else {
                    Err(rustix::io::Errno::AGAIN)
                };
                let mut state = self.lock();
                state.thread_inside = false;
                state.take_in(got, buffer, self.shared.poller.now());
                state
            });
            if state
                .late_timer(self.shared.settings.limits.stall_timeout)
                .is_some()
            {
                // What was read moved a deadline forward; the timers are the driver's.
                self.make_dirty(&mut state);
            }
            if state.session.transport() != Transport::Open {
                // The rest of the closing is the loop's: it flushes, waits for the end and lets go.
                state.reader = Reader::Loop;
                self.make_dirty(&mut state);
            }
            if !in_time && state.session.message().is_none() && state.session.closed().is_none() {
                return (state, false);
            }
        }
    }

    /// Blocks until [`Connection::send`] has room, at most `limit`. False when the limit passed.
    pub fn wait_room_blocking(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let socket = {
                let mut state = self.lock();
                state.flush(self.shared.poller.now());
                if state.outbox.len() <= self.shared.settings.limits.outbox_low()
                    || state.session.closed().is_some()
                {
                    return true;
                }
                match state.shared_socket() {
                    Some(socket) => socket,
                    None => {
                        let Some(left) = time_left(Some(deadline)) else {
                            return false;
                        };
                        drop(self.joined.wait_timeout(state, left));
                        continue;
                    }
                }
            };
            if !wait_for(&socket, PollFlags::OUT, deadline) {
                return false;
            }
        }
    }

    /// Since when the thread is away and the loop does not read for it.
    pub(crate) fn away_since(&self) -> Option<Time> {
        match self.away_since.load(Ordering::SeqCst) {
            0 | TAKEN => None,
            since => Some(Time::from_millis(since - 1)),
        }
    }

    pub(crate) fn mark_taken(&self) {
        self.away_since.store(TAKEN, Ordering::SeqCst);
    }

    /// The thread goes back to the app. If nobody looks after threads that are away, someone must begin.
    pub(crate) fn leave(&self, state: &mut State) {
        if state.reader != Reader::Thread {
            return;
        }
        self.away_since
            .store(self.shared.poller.now().as_millis() + 1, Ordering::SeqCst);
        if self.shared.scan_parked.load(Ordering::SeqCst)
            && self.shared.scan_parked.swap(false, Ordering::SeqCst)
        {
            self.shared.wake_driver();
        }
    }
}

fn time_left(deadline: Option<Instant>) -> Option<Duration> {
    let Some(deadline) = deadline else {
        return Some(Duration::from_secs(3600));
    };
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

fn wait_for(socket: &std::os::fd::OwnedFd, what: PollFlags, deadline: Instant) -> bool {
    loop {
        let Some(left) = time_left(Some(deadline)) else {
            return false;
        };
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::new(socket, what)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            // An error is met again by the read or write, which knows what to make of it.
            Ok(_) | Err(_) => return true,
        }
    }
}
