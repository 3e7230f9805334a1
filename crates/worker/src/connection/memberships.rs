//! The part of a connection that only members of channels have: where it is a member, what it is behind, what it missed.

use std::sync::Arc;
use std::time::Duration;

use fairlead_channel::Replay;
use fairlead_websocket::Time;

use crate::backlog::{Backlog, SlowConsumer};
use crate::frames::Style;
use crate::members::{Membership, News};

#[derive(Default)]
pub(crate) struct Memberships {
    pub(crate) list: Vec<Membership>,
    pub(crate) backlog: Backlog,
    pub(crate) missed: u64,
    /// From the first membership with offsets to the end of the connection. Boxed: most sessions have none.
    heartbeat: Option<Box<Heartbeat>>,
}

/// What a client that sees offsets is told at regular intervals, so that silence means a dead path: a page sees no pings.
struct Heartbeat {
    /// The channel in whose name it goes.
    name: Arc<str>,
    every: Duration,
    next: Time,
}

/// The client is so far behind that it has to be closed.
pub(crate) struct TooSlow;

impl Memberships {
    /// Takes in a membership, and what is to be sent first.
    pub(crate) fn enter(
        &mut self,
        membership: Membership,
        style: Style,
        name: &Arc<str>,
        replay: Option<Replay>,
    ) {
        self.list.push(membership);
        if let Some(replay) = replay {
            self.backlog.replay(replay, style, name);
        }
    }

    /// The client sees offsets: its heart beats from now on. True if it did not yet.
    pub(crate) fn begin_heartbeat(&mut self, name: &Arc<str>, every: Duration, now: Time) -> bool {
        let is_new = self.heartbeat.is_none() && !every.is_zero();
        if is_new {
            self.heartbeat = Some(Box::new(Heartbeat {
                name: Arc::clone(name),
                every,
                // The clock's step, or a timer would be due again at once.
                next: now + every.max(Duration::from_millis(1)),
            }));
        }
        is_new
    }

    /// When the next one is due.
    pub(crate) fn heartbeat_at(&self) -> Option<Time> {
        self.heartbeat.as_ref().map(|heartbeat| heartbeat.next)
    }

    /// The heartbeat that is due, in whose name and how often one comes; it counts as sent.
    pub(crate) fn take_heartbeat(&mut self, now: Time) -> Option<(Arc<str>, Duration)> {
        let heartbeat = self
            .heartbeat
            .as_mut()
            .filter(|heartbeat| heartbeat.next <= now)?;
        heartbeat.next = now + heartbeat.every.max(Duration::from_millis(1));
        Some((Arc::clone(&heartbeat.name), heartbeat.every))
    }

    /// Takes all out, and drops what waits.
    pub(crate) fn take_all(&mut self) -> Vec<Membership> {
        self.backlog = Backlog::default();
        self.heartbeat = None;
        std::mem::take(&mut self.list)
    }

    /// The client does not keep up. Answers how many messages it misses now.
    pub(crate) fn fall_behind(&mut self, news: &News<'_>, limit: usize) -> Result<u64, TooSlow> {
        let mut dropped = 0;
        for record in news.records {
            // One always finds room, however long it is.
            let is_full = |backlog: &Backlog| backlog.bytes() > 0 && backlog.bytes() + record.length > limit;
            if is_full(&self.backlog) {
                match news.slow_consumer {
                    SlowConsumer::Close => return Err(TooSlow),
                    SlowConsumer::DropNewest => {
                        dropped += 1;
                        continue;
                    }
                    SlowConsumer::DropOldest => {
                        while is_full(&self.backlog) {
                            dropped += self.backlog.drop_oldest();
                        }
                    }
                }
            }
            self.backlog.push(record, news.style, news.name);
        }
        self.missed += dropped;
        Ok(dropped)
    }

    /// The messages that wait are dropped, and count as missed.
    pub(crate) fn drop_backlog(&mut self) {
        self.missed += self.backlog.len();
        self.backlog = Backlog::default();
    }
}
