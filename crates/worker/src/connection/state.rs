//! What stands behind a connection's lock: the socket, its session, its outbox, and who waits.
//!
//! The steps that driver and verbs share: read once, flush, write through, tick, wake the tasks whose wait is over, and
//! bring the poller in line ([`State::settle`]). Nothing here takes a lock but the leaf queues of `inbox`, and nothing
//! waits: a socket that takes no more is watched for room.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use fairlead_websocket::{Lost, Session, Time, TlsRecordLayer, Transport};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::memberships::Memberships;
use crate::event::{Event, Token};
use crate::inbox::Shared;
use crate::members::Membership;
use crate::outbox::Outbox;
use crate::poller::Interest;
use crate::readiness_descriptor::ReadinessDescriptor;

/// Who reads the socket at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The loop.
    Loop,
    /// The app's own thread.
    Thread,
}

/// What is to become of the connection after it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Retire,
}

/// A socket that only the loop uses lies in place: a pointer more would be a cache miss for each read and each write. One
/// that a thread reads is shared with it, so that it cannot be closed (and its number reused) under that read.
pub(crate) enum Socket {
    Own(OwnedFd),
    Shared(Arc<OwnedFd>),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(socket) => socket.as_fd(),
            Self::Shared(socket) => socket.as_fd(),
        }
    }
}

pub(crate) struct State {
    pub(crate) socket: Option<Socket>,
    /// The loop's key, once joined.
    pub(crate) key: u64,
    pub(crate) session: Session,
    pub(crate) outbox: Outbox,
    /// Between the socket and all others, if the socket carries TLS; see `tls`.
    pub(super) layer: Option<Box<dyn TlsRecordLayer>>,
    /// What the poller has; `None` if it does not know the socket.
    pub(crate) registered: Option<Interest>,
    pub(crate) reader: Reader,
    /// A thread sits in `recv(2)` on the socket.
    pub(crate) thread_inside: bool,
    /// A thread waits for the next message, in `recv(2)` or on its way there or back.
    pub(crate) thread_waits: bool,
    /// The last write could not take everything.
    pub(super) blocked: bool,
    /// Since when a waiting outbox has not moved.
    pub(super) stalled_since: Option<Time>,
    /// The write side was shut down.
    pub(super) shut: bool,
    /// The peer has ended its side behind its Close, and something is still to be written.
    has_ended: bool,
    /// It stands in the list of dirty connections.
    pub(super) dirty: bool,
    /// The task that waits for a message, and those that wait for room to send.
    pub(super) receiver: Option<Token>,
    pub(super) senders: Vec<Token>,
    /// The earliest entry in the timers.
    pub(crate) timer_at: Option<Time>,
    /// In place: it is asked for each message, and a pointer to it would save four bytes.
    pub(super) readiness: Option<ReadinessDescriptor>,
    /// A task was told of the message; the descriptor says so with the next turn if it lies there still.
    readiness_is_late: bool,
    /// The app has let go of it.
    pub(super) released: bool,
    /// The driver has dropped it from the loop.
    pub(super) retired: bool,
    /// What it has as a member of channels, once it is one.
    pub(crate) member: Option<Box<Memberships>>,
}

impl State {
    pub(super) fn new(session: Session, readiness: Option<ReadinessDescriptor>, reader: Reader) -> Self {
        Self {
            socket: None,
            key: 0,
            session,
            outbox: Outbox::default(),
            layer: None,
            registered: None,
            reader,
            thread_inside: false,
            thread_waits: false,
            blocked: false,
            stalled_since: None,
            shut: false,
            has_ended: false,
            dirty: false,
            receiver: None,
            senders: Vec::new(),
            timer_at: None,
            readiness,
            readiness_is_late: false,
            released: false,
            retired: false,
            member: None,
        }
    }

    /// The driver is about to serve it.
    pub(crate) fn clear_dirty(&mut self) {
        self.dirty = false;
    }

    /// Reads once and lets the session have the bytes.
    pub(crate) fn read(&mut self, buffer: &mut [u8], now: Time) {
        let Some(socket) = &self.socket else { return };
        let got = rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT).map(|(bytes, _)| bytes);
        self.take_in(got, buffer, now);
    }

    /// What a read brought: bytes, the end, or an error.
    pub(crate) fn take_in(&mut self, got: Result<usize, Errno>, buffer: &[u8], now: Time) {
        match got {
            Ok(0) => self.see_eof(now),
            Ok(count) if self.layer.is_some() => self.open(&buffer[..count], now),
            Ok(count) => self.session.receive(&buffer[..count], now, self.outbox.buffer()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.lose(Lost::Reset, now),
        }
    }

    /// The peer has ended its side. Behind its Close it may, and then still reads what was sent before ours, and ours (inside
    /// HTTP/2, Chromium does).
    pub(super) fn see_eof(&mut self, now: Time) {
        if self.session.transport() == Transport::Closing && self.has_unsent() {
            self.has_ended = true;
        } else {
            self.session.receive_eof(now);
        }
    }

    /// The driver's flush has something to do: bytes, or the end of our side of the stream.
    pub(crate) fn wants_flush(&self) -> bool {
        self.has_unsent() || self.session.transport() == Transport::Closing && !self.shut
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self, now: Time) {
        if self.layer.is_some() {
            return self.flush_tls(now);
        }
        let Some(socket) = &self.socket else { return };
        while !self.outbox.is_empty() {
            let pending = self.outbox.pending();
            match rustix::net::send(socket, pending, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => {
                    let all = count == pending.len();
                    self.outbox.advance(count);
                    self.stalled_since = if all { None } else { Some(now) };
                    if !all {
                        self.blocked = true;
                        return;
                    }
                }
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    self.stalled_since.get_or_insert(now);
                    return;
                }
                Err(Errno::INTR) => {}
                Err(_) => return self.lose(Lost::Reset, now),
            }
        }
        self.all_is_gone(now);
    }

    /// Everything was written.
    pub(super) fn all_is_gone(&mut self, now: Time) {
        self.blocked = false;
        self.stalled_since = None;
        if self.session.transport() == Transport::Closing && !self.shut {
            let Some(socket) = &self.socket else { return };
            // RFC 6455 §7.1.1: the server ends its side, and the peer's last bytes are read before the rest goes,
            // so that a reset does not destroy the Close frame on its way.
            self.shut = true;
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
        if self.has_ended {
            self.session.receive_eof(now);
        }
    }

    /// Writes the waiting bytes, the header and the payload in one call; what the socket does not take waits.
    pub(super) fn write_through(&mut self, header: &[u8], payload: &[u8]) {
        if self.layer.is_some() {
            return self.write_through_tls(header, payload);
        }
        let Some(socket) = &self.socket else { return };
        let pending = self.outbox.pending();
        let parts = [IoSlice::new(pending), IoSlice::new(header), IoSlice::new(payload)];
        let total = pending.len() + header.len() + payload.len();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written = rustix::net::sendmsg(socket, &parts, &mut SendAncillaryBuffer::default(), flags);
        // An error is met again, and dealt with, by the driver's flush.
        let written = written.unwrap_or(0);
        self.blocked = written < total;
        self.keep_rest(written, header, payload);
    }

    /// So many bytes of the outbox, the header and the payload are gone; the others wait.
    pub(super) fn keep_rest(&mut self, mut written: usize, header: &[u8], payload: &[u8]) {
        let from_outbox = written.min(self.outbox.len());
        self.outbox.advance(from_outbox);
        written -= from_outbox;
        let from_header = written.min(header.len());
        if written == header.len() + payload.len() {
            return;
        }
        let buffer = self.outbox.buffer();
        buffer.extend_from_slice(&header[from_header..]);
        buffer.extend_from_slice(&payload[written - from_header..]);
    }

    pub(crate) fn lose(&mut self, why: Lost, now: Time) {
        self.session.lost(why, now);
        self.outbox.discard();
    }

    /// The session's deadline came. `unread` bytes in the socket prove that the peer lives, though we do not
    /// read it at present or have not come to it yet (back-pressure, a stopped process).
    pub(crate) fn tick(&mut self, now: Time, stall_timeout: std::time::Duration) {
        let unread = self
            .socket
            .as_ref()
            .is_some_and(|socket| rustix::io::ioctl_fionread(socket).unwrap_or(0) > 0);
        if unread {
            self.session.heard(now);
        }
        if self
            .stalled_since
            .is_some_and(|since| now.saturating_since(since) >= stall_timeout)
        {
            return self.lose(Lost::NotReading, now);
        }
        if self.blocked && self.session.is_silent(now) {
            // The ping is behind what the socket does not take: that it was not answered says nothing.
            return self.lose(Lost::NotReading, now);
        }
        self.session.tick(now, self.outbox.buffer());
        self.outbox.trim();
        if let Some(layer) = &mut self.layer {
            layer.trim();
        }
        // Quiet since the last tick or not: an empty inbox need not keep what it grew to.
        drop(self.session.take_spare_buffer());
    }

    /// Wakes the tasks whose wait is over.
    pub(crate) fn wake_tasks(&mut self, shared: &Shared) {
        let over = self.session.closed().is_some();
        if over || self.session.message().is_some() {
            if let Some(token) = self.receiver.take() {
                shared.report(Event::Wake(token));
                // Two system calls less for each message of an app that waits here and has a descriptor too.
                self.readiness_is_late = self.readiness.is_some();
            }
        }
        if !self.senders.is_empty() && (over || self.outbox.len() <= shared.settings.limits.outbox_low()) {
            for token in self.senders.drain(..) {
                shared.report(Event::Wake(token));
            }
        }
        if !self.readiness_is_late {
            self.update_readiness();
        }
    }

    /// True if the descriptor has to be brought in line with the next turn.
    pub(crate) fn take_late_readiness(&mut self) -> bool {
        std::mem::take(&mut self.readiness_is_late)
    }

    pub(crate) fn update_readiness(&mut self) {
        if let Some(descriptor) = &mut self.readiness {
            descriptor.set(self.session.message().is_some() || self.session.closed().is_some());
        }
    }

    /// What the loop should watch the socket for.
    fn interest(&self, shared: &Shared) -> Interest {
        let read = self.reader == Reader::Loop
            && self.session.wants_input()
            && !self.has_ended
            && self.outbox.len() < shared.settings.limits.outbox_high;
        Interest {
            read,
            // Whoever empties the outbox, the loop comes for what waits behind it.
            write: self.blocked && self.has_unsent() || self.has_backlog(),
        }
    }

    /// The driver must do something for it: write, or watch the socket for something else.
    pub(super) fn needs_driver(&self) -> bool {
        match self.reader {
            Reader::Loop => self.has_unsent(),
            // The thread flushes itself; only what the socket did not take is the loop's.
            Reader::Thread => self.blocked,
        }
    }

    /// The app took a message: may the socket be read again?
    pub(super) fn wants_service(&self) -> bool {
        self.reader == Reader::Loop
            && self.socket.is_some()
            && !self.registered.is_some_and(|interest| interest.read)
            && self.session.wants_input()
            && !self.has_ended
    }

    /// Brings the registration in line with what is wanted, and says whether the connection goes on.
    pub(crate) fn settle(&mut self, shared: &Shared) -> Fate {
        self.wake_tasks(shared);
        if self.session.transport() == Transport::Gone {
            return Fate::Retire;
        }
        let Some(socket) = &self.socket else {
            return Fate::Keep;
        };
        let wanted = Some(self.interest(shared)).filter(|interest| !interest.is_none());
        if wanted != self.registered {
            let done = match (self.registered, wanted) {
                (None, Some(interest)) => shared.poller.add(socket.as_fd(), self.key, interest),
                (Some(_), Some(interest)) => shared.poller.modify(socket.as_fd(), self.key, interest),
                (Some(_), None) => shared.poller.remove(socket.as_fd()),
                (None, None) => Ok(()),
            };
            if done.is_err() {
                // Out of memory or of watches: this connection cannot go on, the others can.
                self.lose(Lost::Reset, shared.poller.now());
                self.wake_tasks(shared);
                return Fate::Retire;
            }
            self.registered = wanted;
        }
        Fate::Keep
    }

    /// When the timers should look at it: the session's deadline or the end of the patience with a full outbox.
    fn next_deadline(&self, stall_timeout: std::time::Duration) -> Option<Time> {
        let stalled = self.stalled_since.map(|since| since + stall_timeout);
        match (self.session.deadline(), stalled) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The socket, for a thread that is to read it.
    pub(crate) fn shared_socket(&mut self) -> Option<Arc<OwnedFd>> {
        let shared = match self.socket.take()? {
            Socket::Own(socket) => Arc::new(socket),
            Socket::Shared(socket) => socket,
        };
        self.socket = Some(Socket::Shared(Arc::clone(&shared)));
        Some(shared)
    }

    /// Takes the socket out of the loop and closes it. It is shut down first: that ends the read of a thread that sits in
    /// it, and the connection even if a process that the application has forked has a copy of the socket.
    pub(crate) fn retire(&mut self, shared: &Shared) {
        self.retired = true;
        if !self.outbox.is_empty() || self.layer.is_some() {
            // A Close echo may still be in it, or the end of TLS to be said; one try, without waiting.
            self.flush(shared.poller.now());
        }
        if let Some(socket) = &self.socket {
            if self.registered.take().is_some() {
                let _ = shared.poller.remove(socket.as_fd());
            }
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
        self.socket = None;
        // The app may keep the connection for long, and a runner does until the next request of its slot.
        self.layer = None;
        self.outbox.discard();
    }

    /// The last write could not take everything: the loop watches for room.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// When the session has to be looked at, if that is before its entry in the timers comes due.
    pub(crate) fn late_timer(&self, stall_timeout: std::time::Duration) -> Option<Time> {
        self.next_deadline(stall_timeout)
            .filter(|at| self.timer_at.is_none_or(|set| *at < set))
    }

    /// The last write has left something.
    pub(crate) fn is_held_up(&mut self, now: Time) {
        self.blocked = true;
        self.stalled_since.get_or_insert(now);
    }

    /// Where it is a member.
    pub(crate) fn memberships(&self) -> &[Membership] {
        self.member.as_ref().map_or(&[], |member| &member.list)
    }

    /// The same to change; made for the first membership.
    pub(crate) fn memberships_mut(&mut self) -> &mut Memberships {
        self.member.get_or_insert_default()
    }

    /// All memberships, for a connection that is over: to be given back when its lock is released.
    pub(crate) fn take_memberships(&mut self) -> Vec<Membership> {
        match &mut self.member {
            Some(member) => member.take_all(),
            None => Vec::new(),
        }
    }

    /// When the client is to be told that the server lives; `None`: never.
    pub(crate) fn heartbeat_at(&self) -> Option<Time> {
        self.member.as_ref().and_then(|member| member.heartbeat_at())
    }

    /// Messages of channels wait for room.
    pub(crate) fn has_backlog(&self) -> bool {
        self.member
            .as_ref()
            .is_some_and(|member| !member.backlog.is_empty())
    }

    /// Nothing can be sent any more, or nobody is there who wants it to.
    pub(crate) fn is_over(&self) -> bool {
        self.released || self.retired || self.session.closed().is_some()
    }
}
