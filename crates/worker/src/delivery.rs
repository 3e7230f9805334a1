//! A connection as a member of channels: what comes for it goes into its socket, its outbox or its backlog.

use std::sync::Arc;

use fairlead_channel::{Missed, Place};
use fairlead_websocket::{Cause, CloseCode, MessageKind, Time};
use rustix::net::SendFlags;

use crate::backlog::{Backlog, SlowConsumer};
use crate::connection::{Connection, State, TooSlow};
use crate::frames::{append_heartbeat, Form, Style, MARK};
use crate::members::{Membership, News, Recipient, BATCH};
use crate::subscriptions::{Entered, JoinAnswer, JoinError, JoinOptions, Subscriptions};

/// Beyond this many unsent bytes messages wait as names and not as bytes. A quarter of the app's own limit, so that what an
/// app sends itself still finds room.
const MARK_BEHIND: usize = 64 * 1024;

/// So many times the limit, or what a turn brings, may wait for a client before it is closed if its socket took something when
/// it was last offered: a burst comes faster than any client reads. More would be memory, some 48 bytes for each message.
const BURST: usize = 8;

/// How often a turn fills an outbox from a backlog, all connections together: 256 KiB, as much as it brings of what is new. Those
/// for whom nothing was left come first in the next one; else twenty clients that ask for a long past would hold up everybody.
pub(crate) const FEEDS: usize = 4;

impl Connection {
    /// Makes this connection a member of a channel: from here on what is published there goes to its client. One that is a
    /// member already stays what it is.
    ///
    /// # Errors
    /// The connection is over; a bad name; no room for another channel.
    pub fn join(self: &Arc<Self>, name: &str, options: JoinOptions) -> Result<JoinAnswer, JoinError> {
        let subscriptions = self.subscriptions.as_ref().ok_or(JoinError::NoChannels)?;
        subscriptions.prepare(name, options.since);
        subscriptions.patiently(|| self.join_once(subscriptions, name, options))
    }

    fn join_once(
        self: &Arc<Self>,
        subscriptions: &Arc<Subscriptions<Connection>>,
        name: &str,
        options: JoinOptions,
    ) -> Result<JoinAnswer, JoinError> {
        let mut table = subscriptions.table();
        let encoding = {
            let state = self.lock();
            if state.is_over() {
                return Err(JoinError::Closed);
            }
            let memberships = state.memberships();
            if let Some(index) = table.position(memberships, name) {
                return Ok(JoinAnswer {
                    offset: table.newest(&memberships[index]),
                    replayed: 0,
                    missed: Missed::Nothing,
                });
            }
            state.session.negotiated().encoding
        };
        let mut entered = subscriptions.enter(&mut table, name, options.since, usize::MAX)?;
        let form = Form {
            style: options.style,
            encoding,
        };
        let added = subscriptions.add(&mut table, &entered, self, form, options.slow_consumer);
        let Some(membership) = added else {
            return Err(JoinError::Closed); // `enter` has just made its channel known
        };
        if !self.enter_channel(subscriptions, membership, options.style, &mut entered) {
            subscriptions.leave(&mut table, membership);
            return Err(JoinError::Closed);
        }
        drop(table);
        self.shared.wake_driver();
        Ok(entered.answer)
    }

    /// Ends the membership; false if there was none. What was published before still reaches the client.
    pub fn leave_channel(&self, name: &str) -> bool {
        let Some(subscriptions) = &self.subscriptions else {
            return false;
        };
        let mut table = subscriptions.table();
        let found = {
            let mut state = self.lock();
            let index = table.position(state.memberships(), name);
            index.map(|index| state.memberships_mut().list.swap_remove(index))
        };
        if let Some(membership) = found {
            subscriptions.settle(&mut table, &[membership]);
            subscriptions.leave(&mut table, membership);
        }
        // An app that sees a connection end, leaves and counts who is left, counts without it. The driver may have taken
        // the membership from the connection up to the moment in which we looked, so this comes behind.
        subscriptions.let_go(&mut table);
        found.is_some()
    }

    /// Before the app ends the connection: what was published while it was a member goes before the end.
    pub(crate) fn settle_memberships(&self) {
        let Some(subscriptions) = &self.subscriptions else {
            return;
        };
        {
            let state = self.lock();
            if state.memberships().is_empty() || state.is_over() {
                return;
            }
        }
        let mut table = subscriptions.table();
        let memberships = self.lock().memberships().to_vec();
        subscriptions.settle(&mut table, &memberships);
        drop(table);
        self.lock().feed_all(subscriptions.place());
    }

    /// Messages of its channels that this client did not get: it was slow, or they were overwritten.
    pub fn missed(&self) -> u64 {
        self.lock().member.as_ref().map_or(0, |member| member.missed)
    }

    /// Notes the membership, and what is to be sent first; false if the connection is over.
    fn enter_channel(
        &self,
        subscriptions: &Subscriptions<Connection>,
        membership: Membership,
        style: Style,
        entered: &mut Entered,
    ) -> bool {
        let now = self.shared.poller.now();
        let mut state = self.lock();
        if state.is_over() {
            return false;
        }
        let mut beats = false;
        if style == Style::Numbered {
            let missed = match entered.answer.missed {
                Missed::Nothing => "0".to_owned(),
                Missed::Messages(count) => count.to_string(),
                Missed::Unknown => "?".to_owned(),
            };
            let (offset, name) = (entered.answer.offset, &entered.name);
            let notice = format!("{}joined {offset} {missed} {name}\n", char::from(MARK));
            let encoding = state.session.negotiated().encoding;
            let every = subscriptions.heartbeat();
            beats = state.memberships_mut().begin_heartbeat(name, every, now);
            let buffer = state.outbox.buffer();
            let before = buffer.len();
            encoding.append_message(MessageKind::Text, b"", notice.as_bytes(), buffer);
            let mut beat = 0;
            if beats {
                // The first one at once: so the client knows how long a silence means something.
                beat = append_heartbeat(encoding, name, every, buffer);
            }
            let bytes = buffer.len() - before;
            // Not over, so not refused.
            let _ = state
                .session
                .count_sent(1 + u64::from(beats), bytes, notice.len() + beat);
        }
        state
            .memberships_mut()
            .enter(membership, style, &entered.name, entered.replay.take());
        if beats && state.socket.is_some() {
            // Else it is timed when the socket is there.
            self.shared.mark_heartbeat(state.key);
        }
        self.make_dirty(&mut state);
        true
    }
}

impl Connection {
    /// The client is behind. Answers how many messages wait for it now, and how many it misses.
    fn fall_behind(&self, state: &mut State, news: &News<'_>) -> (u64, u64) {
        let count = news.records.len() as u64;
        let bytes: usize = news.records.iter().map(|record| record.length).sum();
        let mut limit = news.limit;
        if state.backlog_bytes() + bytes > limit {
            // What counts is what the socket has refused; and who goes on taking is not slow, but has met a burst.
            let subscriptions = self.subscriptions.as_ref();
            let mut feeds = FEEDS;
            let took =
                subscriptions.is_some_and(|channels| state.offer(channels.place(), news.now, &mut feeds));
            if took && news.slow_consumer == SlowConsumer::Close {
                limit = limit.max(BATCH).saturating_mul(BURST);
            }
        }
        let dropped = match state.memberships_mut().fall_behind(news, limit) {
            Ok(dropped) => dropped,
            Err(TooSlow) => {
                state.close_slow(news.limit, news.now);
                count
            }
        };
        self.make_dirty(state);
        (count - dropped, dropped)
    }
}

impl Recipient for Connection {
    #[inline]
    fn deliver(&self, news: &News<'_>) -> (u64, u64) {
        let count = news.records.len() as u64;
        let mut state = self.lock();
        if state.is_over() {
            return (0, 0);
        }
        if state.outbox.len() >= MARK_BEHIND || state.has_backlog() {
            return self.fall_behind(&mut state, news);
        }
        let frames = news.frames;
        if state
            .session
            .count_sent(count, frames.bytes.len(), frames.payload)
            .is_err()
        {
            return (0, 0);
        }
        if !state.write_now(frames.bytes, news.now) {
            self.make_dirty(&mut state);
        }
        (count, 0)
    }

    fn owe(&self, news: &News<'_>) -> (u64, u64) {
        let mut state = self.lock();
        if state.is_over() {
            return (0, 0);
        }
        let found = self.fall_behind(&mut state, news);
        if let Some(subscriptions) = &self.subscriptions {
            // Before what the app sends next, if there is room.
            state.feed(subscriptions.place());
        }
        found
    }

    fn miss(&self, count: u64) {
        self.lock().memberships_mut().missed += count;
    }
}

impl State {
    /// Writes bytes that belong behind the outbox. True if they are gone.
    #[inline]
    fn write_now(&mut self, bytes: &[u8], now: Time) -> bool {
        let mut gone = 0;
        if self.outbox.is_empty() && !self.is_blocked() {
            if self.is_tls() {
                let is_gone;
                (gone, is_gone) = self.write_tls(bytes);
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

    fn close_slow(&mut self, limit: usize, now: Time) {
        let reason = format!("slow consumer: {limit} bytes of channel messages wait for it");
        // They can be had again with the offset of the last one it got.
        self.memberships_mut().drop_backlog();
        // Refused only for a connection that is over.
        let (code, out) = (CloseCode::TRY_AGAIN_LATER, self.outbox.buffer());
        let _ = self
            .session
            .close_because(Cause::Backlog, code, &reason, now, out);
    }

    fn backlog_bytes(&self) -> usize {
        self.member.as_ref().map_or(0, |member| member.backlog.bytes())
    }

    /// Sends the heartbeat that is due. While the socket takes nothing none gathers: what waits shows as much.
    pub(crate) fn beat(&mut self, now: Time) {
        let due = self.member.as_mut().and_then(|member| member.take_heartbeat(now));
        let Some((name, every)) = due.filter(|_| !self.is_blocked()) else {
            return;
        };
        let encoding = self.session.negotiated().encoding;
        let buffer = self.outbox.buffer();
        let before = buffer.len();
        let payload = append_heartbeat(encoding, &name, every, buffer);
        if self
            .session
            .count_sent(1, buffer.len() - before, payload)
            .is_err()
        {
            buffer.truncate(before); // nothing may follow the Close
        }
    }

    /// Writes what waits, and then what waits behind it in the channels' log, for which the outbox is filled `feeds` times at
    /// most; they are counted down. True if the socket took some of it, or has yet to come.
    pub(crate) fn offer(&mut self, place: &Place, now: Time, feeds: &mut usize) -> bool {
        let mut took = self.socket.is_none();
        loop {
            let before = self.outbox.len();
            self.flush(now);
            took |= self.outbox.len() < before;
            if !self.has_backlog() || self.is_blocked() || *feeds == 0 {
                return took;
            }
            *feeds -= 1;
            self.feed(place);
        }
    }

    /// Moves waiting messages into the outbox while there is room.
    pub(crate) fn feed(&mut self, place: &Place) {
        self.feed_up_to(MARK_BEHIND, place);
    }

    /// Moves all that wait into the outbox, whose bytes are as many as the limit lets wait: a Close comes behind them.
    /// A replay has no bounds, and who has not seen the end of it comes back for the rest.
    fn feed_all(&mut self, place: &Place) {
        if self
            .member
            .as_ref()
            .is_some_and(|member| member.backlog.has_past())
        {
            return;
        }
        self.feed_up_to(usize::MAX, place);
    }

    fn feed_up_to(&mut self, mark: usize, place: &Place) {
        let Some(member) = &mut self.member else { return };
        let room = mark.saturating_sub(self.outbox.len());
        if member.backlog.is_empty() || room == 0 {
            return;
        }
        let encoding = self.session.negotiated().encoding;
        let buffer = self.outbox.buffer();
        let before = buffer.len();
        let fed = member.backlog.feed(place, encoding, room, buffer);
        member.missed += fed.lost;
        let bytes = buffer.len() - before;
        if self.session.count_sent(fed.moved, bytes, fed.payload).is_err() {
            // Closed in between: nothing may follow the Close.
            buffer.truncate(before);
            member.backlog = Backlog::default();
        }
    }
}
