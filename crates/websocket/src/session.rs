//! The session: one WebSocket connection after its handshake, as plain data.
//!
//! Bytes and the time go in; messages, bytes to send, a deadline and an end come out. There is no socket, clock,
//! lock or callback here, so the same session serves every runner and every transport, and a test needs none of them.
//! This file has what an owner may ask of a session and the sending half; bytes that arrive are in `receiving.rs`,
//! the end of a connection is in `closing.rs`.
//!
//! Every method appends what must be sent to the `out` it is given. The owner sends `out` in order, looks at
//! `transport()` to learn what to do with the connection, and calls `tick` when `deadline()` has passed.

use std::sync::Arc;

use crate::close::MAX_CONTROL_PAYLOAD;
use crate::close_code::CloseCode;
use crate::closure::{Cause, Closure, Lost, Phase, Transport};
use crate::error::UsageError;
use crate::frame::{self, Frame, Opcode};
use crate::incoming::Incoming;
use crate::limits::SessionSettings;
use crate::message::{Inbox, MessageKind};
use crate::negotiated::Negotiated;
use crate::pings::{Due, Schedule};
use crate::time::Time;

/// One WebSocket connection after its handshake.
#[derive(Debug)]
pub struct Session {
    pub(crate) settings: Arc<SessionSettings>,
    negotiated: Negotiated,
    pub(crate) inbox: Inbox,
    pub(crate) incoming: Incoming,
    pub(crate) schedule: Schedule,
    /// The last complete data message, for the idle time-out.
    pub(crate) last_message: Time,
    pub(crate) phase: Phase,
    /// Boxed: most sessions live long without one.
    pub(crate) closure: Option<Box<Closure>>,
    pub(crate) counters: Counters,
}

/// What a session has received and produced so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Complete data messages received.
    pub messages_in: u64,
    /// Data messages sent.
    pub messages_out: u64,
    /// Bytes received, headers included.
    pub bytes_in: u64,
    /// Bytes sent, headers included.
    pub bytes_out: u64,
    /// Payload bytes of complete data messages received.
    pub payload_in: u64,
    /// Payload bytes of data messages sent.
    pub payload_out: u64,
    /// Pings received.
    pub pings_in: u32,
    /// Pings sent.
    pub pings_out: u32,
    /// Pongs received.
    pub pongs_in: u32,
    /// Pongs sent, asked for or not.
    pub pongs_out: u32,
}

impl Session {
    /// A session whose handshake was completed at `now` and agreed on what `negotiated` says.
    pub fn new(settings: Arc<SessionSettings>, negotiated: Negotiated, now: Time) -> Session {
        Session {
            settings,
            negotiated,
            inbox: Inbox::default(),
            incoming: Incoming::default(),
            schedule: Schedule::new(now),
            last_message: now,
            phase: Phase::Open,
            closure: None,
            counters: Counters::default(),
        }
    }

    /// The oldest complete unread message. It stays until `consume_message`.
    #[inline]
    pub fn message(&self) -> Option<(MessageKind, &[u8])> {
        self.inbox.oldest()
    }

    /// Forgets the oldest complete message; without one, nothing happens.
    #[inline]
    pub fn consume_message(&mut self) {
        self.inbox.consume();
        if self.closure.is_some() && self.inbox.messages() == 0 {
            // Nothing comes any more, and the application may keep the session for long.
            self.inbox.end();
        }
    }

    /// How many complete messages wait to be read.
    pub fn queued_messages(&self) -> usize {
        self.inbox.messages()
    }

    /// What the waiting messages occupy: their payload and eight bytes for each.
    pub fn queued_bytes(&self) -> usize {
        self.inbox.unread()
    }

    /// Whether the owner should read more from the connection.
    ///
    /// False while the application is behind by `Limits::inbox_mark`, so that TCP slows the peer down, and when
    /// nothing more is expected. A closing connection is still read: the peer's bytes must not meet a reset.
    #[inline]
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Open => self.inbox.unread() < self.settings.limits.inbox_mark,
            Phase::CloseSent { .. } | Phase::Closing { .. } => true,
            Phase::Gone => false,
        }
    }

    /// Gives the inbox's buffer to a pool, if the inbox is empty and has one.
    ///
    /// Lend it on as it is: it is initialised up to its length, and `clear()` would make the next session
    /// initialise it again.
    pub fn take_spare_buffer(&mut self) -> Option<Vec<u8>> {
        self.inbox.take_spare()
    }

    /// Gives the inbox a buffer to fill, content irrelevant; dropped if the inbox has one already.
    pub fn lend_buffer(&mut self, buffer: Vec<u8>) {
        self.inbox.lend(buffer);
    }

    /// Frees the inbox's buffer if the inbox is empty.
    pub fn release_buffers(&mut self) {
        drop(self.inbox.take_spare());
    }

    /// Bytes of heap that the inbox occupies.
    pub fn buffer_capacity(&self) -> usize {
        self.inbox.capacity()
    }

    /// The frame of a message, for a caller that writes it itself, right away. That text is UTF-8 is the caller's word;
    /// see [`is_utf8`](crate::is_utf8).
    ///
    /// # Errors
    /// [`UsageError::Closed`] after a Close.
    #[inline]
    pub fn frame<'a>(&mut self, kind: MessageKind, message: &'a [u8]) -> Result<Frame<'a>, UsageError> {
        // RFC 6455 §5.5.1: no data after a Close, neither ours nor the peer's.
        if !matches!(self.phase, Phase::Open) {
            return Err(UsageError::Closed);
        }
        let frame = self.negotiated.encoding.frame(kind, message);
        self.counters.messages_out += 1;
        self.counters.bytes_out += frame.size() as u64;
        self.counters.payload_out += message.len() as u64;
        Ok(frame)
    }

    /// Sends a message in one frame: [`frame`](Session::frame), appended to `out`.
    ///
    /// # Errors
    /// [`UsageError::Closed`] after a Close.
    #[inline]
    pub fn send(&mut self, kind: MessageKind, message: &[u8], out: &mut Vec<u8>) -> Result<(), UsageError> {
        self.frame(kind, message)?.append_to(out);
        Ok(())
    }

    /// Counts messages whose frames the owner sends itself (see [`Encoding::append_message`](crate::Encoding::append_message)): `bytes` with
    /// their headers, `payload` without. Refused, with nothing to be sent, after a Close.
    #[inline]
    pub fn count_sent(&mut self, messages: u64, bytes: usize, payload: usize) -> Result<(), UsageError> {
        // RFC 6455 §5.5.1, as in `frame`.
        if !matches!(self.phase, Phase::Open) {
            return Err(UsageError::Closed);
        }
        self.counters.messages_out += messages;
        self.counters.bytes_out += bytes as u64;
        self.counters.payload_out += payload as u64;
        Ok(())
    }

    /// Sends a ping of the application's own. It does not change the session's schedule.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), UsageError> {
        if !matches!(self.phase, Phase::Open) {
            return Err(UsageError::Closed);
        }
        // RFC 6455 §5.5
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(UsageError::LongPing(payload.len()));
        }
        self.append_control(Opcode::Ping, payload, out);
        Ok(())
    }

    /// The owner knows that unread bytes of the peer wait in the socket: the peer lives.
    #[inline]
    pub fn heard(&mut self, now: Time) {
        self.schedule.heard(now);
    }

    /// Does what is due: a ping, a pong, or the end of a peer that stopped answering.
    ///
    /// Call it after reading the socket, or after [`heard`](Session::heard): a process that was stopped for a while
    /// would otherwise take its own absence for the peer's.
    pub fn tick(&mut self, now: Time, out: &mut Vec<u8>) {
        match self.phase {
            Phase::Open => self.tick_open(now, out),
            Phase::CloseSent { deadline } | Phase::Closing { deadline } if deadline <= now => {
                self.phase = Phase::Gone;
            }
            Phase::CloseSent { .. } | Phase::Closing { .. } | Phase::Gone => {}
        }
    }

    /// When `tick` should be called next, if nothing happens before.
    ///
    /// Bytes that arrive move it away, so a timer may stay where it is: a call of `tick` that comes too early does
    /// nothing. It moves nearer when the session begins to close and in `tick` itself. There is one exception: an
    /// answered ping may be followed by a ping or pong that is due before the tolerance would have ended, if such a
    /// short period was set. A timer that was not set again then sends it late, by the tolerance at most.
    pub fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Open => {
                let next = self.schedule.next(&self.settings.timing).map(|(time, _)| time);
                [next, self.idle_deadline()].into_iter().flatten().min()
            }
            Phase::CloseSent { deadline } | Phase::Closing { deadline } => Some(deadline),
            Phase::Gone => None,
        }
    }

    /// Why and how the session ended. The application's receive ends when this is set and no message waits.
    pub fn closed(&self) -> Option<&Closure> {
        self.closure.as_deref()
    }

    /// What the owner should do with the connection.
    #[inline]
    pub fn transport(&self) -> Transport {
        match self.phase {
            Phase::Open | Phase::CloseSent { .. } => Transport::Open,
            Phase::Closing { .. } => Transport::Closing,
            Phase::Gone => Transport::Gone,
        }
    }

    /// What has been received and sent so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The settings this session follows.
    pub fn settings(&self) -> &Arc<SessionSettings> {
        &self.settings
    }

    /// What the handshake agreed on.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    fn tick_open(&mut self, now: Time, out: &mut Vec<u8>) {
        if self.idle_deadline().is_some_and(|deadline| deadline <= now) {
            if self.inbox.messages() == 0 {
                let reason = "no message for too long";
                self.close_now(Cause::Idle, CloseCode::GOING_AWAY, reason, now, out);
                return;
            }
            // A peer whose messages wait for us is not the idle one.
            self.last_message = now;
        }
        match self.schedule.due(now, &self.settings.timing) {
            Some(Due::Ping) => self.append_control(Opcode::Ping, b"", out),
            // RFC 6455 §5.5.3: "a Pong frame MAY be sent unsolicited".
            Some(Due::Pong) => self.append_control(Opcode::Pong, b"", out),
            Some(Due::PeerLost) => self.lost(Lost::PingTimeout, now),
            None => {}
        }
    }

    /// A tick at this time would give the peer up, which has not answered a ping.
    pub fn is_silent(&self, now: Time) -> bool {
        let next = self.schedule.next(&self.settings.timing);
        matches!(self.phase, Phase::Open)
            && next.is_some_and(|(time, due)| due == Due::PeerLost && time <= now)
    }

    /// A tick at this time would close it for want of messages.
    pub fn is_idle(&self, now: Time) -> bool {
        matches!(self.phase, Phase::Open)
            && self.inbox.messages() == 0
            && self.idle_deadline().is_some_and(|deadline| deadline <= now)
    }

    fn idle_deadline(&self) -> Option<Time> {
        let timeout = self.settings.timing.idle_timeout;
        (!timeout.is_zero()).then(|| self.last_message + timeout)
    }

    /// Appends one of our control frames and counts it.
    pub(crate) fn append_control(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        match opcode {
            Opcode::Ping => self.counters.pings_out += 1,
            Opcode::Pong => self.counters.pongs_out += 1,
            _ => {}
        }
        let before = out.len();
        frame::append(opcode, payload, out);
        self.counters.bytes_out += (out.len() - before) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small_and_owns_no_buffer() {
        // 100,000 idle sessions are a goal: together they take 30 MB here.
        assert!(size_of::<Session>() <= 320, "{} bytes", size_of::<Session>());
        let session = Session::new(Arc::default(), Negotiated::default(), Time::from_millis(0));
        assert_eq!(session.buffer_capacity(), 0);
    }

    #[test]
    fn a_session_can_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Session>();
    }
}
