//! A connection as a member of channels: what comes for it goes into its socket, its outbox or its backlog.

use std::sync::Arc;

use fairlead_channel::{Missed, Place, Record};
use fairlead_websocket::{CloseCode, MessageKind, Time};
use rustix::net::SendFlags;

use crate::backlog::{Backlog, SlowConsumer, Style, MARK};
use crate::connection::{Connection, State};
use crate::subscriptions::{JoinAnswer, JoinError, JoinOptions, Membership};

/// Beyond this many unsent bytes messages wait as names and not as bytes. A quarter of the app's own limit, so that what an
/// app sends itself still finds room.
const MARK_BEHIND: usize = 64 * 1024;

/// The part of a connection that only members of channels have.
#[derive(Default)]
pub(crate) struct Member {
    memberships: Vec<Membership>,
    backlog: Backlog,
    missed: u64,
}

impl Connection {
    /// Makes this connection a member of a channel: from here on what is published there goes to its client.
    ///
    /// # Errors
    /// The connection is over; a bad name; no room for another channel.
    pub fn join(self: &Arc<Self>, name: &str, options: JoinOptions) -> Result<JoinAnswer, JoinError> {
        let subscriptions = self.shared.subscriptions.as_ref().ok_or(JoinError::NoChannels)?;
        subscriptions.join(&self.shared, self, name, options)
    }

    /// Ends the membership; false if there was none. What has not left yet is dropped.
    pub fn leave_channel(self: &Arc<Self>, name: &str) -> bool {
        let subscriptions = self.shared.subscriptions.as_ref();
        subscriptions.is_some_and(|subscriptions| subscriptions.leave(self, name))
    }

    /// Messages of its channels that this client did not get: it was slow, or they were overwritten.
    pub fn missed(&self) -> u64 {
        self.lock().member.as_ref().map_or(0, |member| member.missed)
    }

    /// Notes the membership, and what is to be sent first; false if the connection is over.
    pub(crate) fn enter_channel(
        self: &Arc<Self>,
        membership: Membership,
        style: Style,
        name: &Arc<str>,
        answer: &JoinAnswer,
        records: &[Record],
    ) -> bool {
        let mut state = self.lock();
        if state.is_over() {
            return false;
        }
        if style == Style::Numbered {
            let missed = match answer.missed {
                Missed::Nothing => "0".to_owned(),
                Missed::Messages(count) => count.to_string(),
                Missed::Unknown => "?".to_owned(),
            };
            let notice = format!("{}joined {} {missed} {name}\n", char::from(MARK), answer.offset);
            let encoding = state.session.negotiated().encoding;
            let buffer = state.outbox.buffer();
            let before = buffer.len();
            encoding.append_message(MessageKind::Text, b"", notice.as_bytes(), buffer);
            let bytes = buffer.len() - before;
            // Not over, so not refused.
            let _ = state.session.count_sent(1, bytes);
        }
        let member = state.member.get_or_insert_default();
        member.memberships.push(membership);
        for record in records {
            member.backlog.replay(record, style, name);
        }
        self.make_dirty(&mut state);
        true
    }

    /// Gives frames to the client: at once if it keeps up. Otherwise `behind` says what becomes of them, and answers how
    /// many are dropped. Answers how many were delivered, or will be, and how many dropped.
    #[inline]
    pub(crate) fn deliver(
        self: &Arc<Self>,
        bytes: &[u8],
        count: u64,
        now: Time,
        behind: impl FnOnce(&mut State) -> u64,
    ) -> (u64, u64) {
        let mut state = self.lock();
        if state.is_over() {
            return (0, 0);
        }
        let is_behind = state.outbox.len() >= MARK_BEHIND || state.has_backlog();
        if is_behind {
            let dropped = behind(&mut state);
            self.make_dirty(&mut state);
            return (count - dropped, dropped);
        }
        if state.session.count_sent(count, bytes.len()).is_err() {
            return (0, 0);
        }
        if !state.write_now(bytes, now) {
            self.make_dirty(&mut state);
        }
        (count, 0)
    }
}

impl State {
    pub(crate) fn memberships(&self) -> &[Membership] {
        self.member.as_ref().map_or(&[], |member| &member.memberships)
    }

    /// All memberships, for a connection that is over: to be given back when its lock is released.
    pub(crate) fn take_memberships(&mut self) -> Vec<Membership> {
        self.member
            .as_mut()
            .map(|member| {
                member.backlog = Backlog::default();
                std::mem::take(&mut member.memberships)
            })
            .unwrap_or_default()
    }

    pub(crate) fn leave_channel(&mut self, index: usize, name: &str) -> Membership {
        let member = self.member.get_or_insert_default();
        member.backlog.forget(name);
        member.memberships.swap_remove(index)
    }

    pub(crate) fn miss(&mut self, count: u64) {
        self.member.get_or_insert_default().missed += count;
    }

    /// Writes bytes that belong behind the outbox. True if they are gone.
    #[inline]
    fn write_now(&mut self, bytes: &[u8], now: Time) -> bool {
        let mut gone = 0;
        if self.outbox.is_empty() && !self.is_blocked() {
            if self.is_sealed() {
                let is_gone;
                (gone, is_gone) = self.write_sealed(bytes);
                if is_gone {
                    return true;
                }
                self.is_held_up(now);
            } else if let Some(socket) = &self.socket {
                // An error is met again, and dealt with, by the driver's flush.
                gone =
                    rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap_or(0);
                if gone == bytes.len() {
                    return true;
                }
                self.is_held_up(now);
            }
        }
        self.outbox.buffer().extend_from_slice(&bytes[gone..]);
        false
    }

    /// The client does not keep up. Answers how many messages it misses now.
    pub(crate) fn fall_behind(
        &mut self,
        records: &[Record],
        style: Style,
        name: &Arc<str>,
        limit: usize,
        slow_consumer: SlowConsumer,
        now: Time,
    ) -> u64 {
        let member = self.member.get_or_insert_default();
        let mut dropped = 0;
        for record in records {
            let is_full = |member: &Member| member.backlog.bytes() + record.length > limit;
            if is_full(member) {
                match slow_consumer {
                    SlowConsumer::Close => {
                        self.close_slow(limit, now);
                        return records.len() as u64;
                    }
                    SlowConsumer::DropNewest => {
                        dropped += 1;
                        continue;
                    }
                    SlowConsumer::DropOldest => {
                        while is_full(member) && member.backlog.drop_oldest() {
                            dropped += 1;
                        }
                    }
                }
            }
            member.backlog.push(record, style, name);
        }
        member.missed += dropped;
        dropped
    }

    fn close_slow(&mut self, limit: usize, now: Time) {
        let reason = format!("slow consumer: {limit} bytes of channel messages wait for it");
        // Its messages are dropped: they can be had again with the offset of the last one it got.
        if let Some(member) = &mut self.member {
            member.missed += member.backlog.len() as u64;
            member.backlog = Backlog::default();
        }
        // Refused only for a connection that is over.
        let _ = self
            .session
            .close(CloseCode::TRY_AGAIN_LATER, &reason, now, self.outbox.buffer());
    }

    /// Moves waiting messages into the outbox while there is room.
    pub(crate) fn feed(&mut self, place: &Place) {
        let Some(member) = &mut self.member else { return };
        let room = MARK_BEHIND.saturating_sub(self.outbox.len());
        if member.backlog.is_empty() || room == 0 {
            return;
        }
        let encoding = self.session.negotiated().encoding;
        let buffer = self.outbox.buffer();
        let before = buffer.len();
        let (moved, lost) = member.backlog.feed(place, encoding, room, buffer);
        member.missed += lost;
        if self.session.count_sent(moved, buffer.len() - before).is_err() {
            // Closed in between: nothing may follow the Close.
            buffer.truncate(before);
            member.backlog = Backlog::default();
        }
    }

    /// Messages of channels wait for room.
    pub(crate) fn has_backlog(&self) -> bool {
        self.member
            .as_ref()
            .is_some_and(|member| !member.backlog.is_empty())
    }
}
