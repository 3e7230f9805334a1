//! The part of a connection that only members of channels have: where it is a member, what it is behind, what it missed.

use std::sync::Arc;

use fairlead_channel::Replay;

use crate::backlog::{Backlog, SlowConsumer};
use crate::frames::Style;
use crate::members::{Membership, News};

#[derive(Default)]
pub(crate) struct Memberships {
    pub(crate) list: Vec<Membership>,
    pub(crate) backlog: Backlog,
    pub(crate) missed: u64,
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

    /// Takes all out, and drops what waits.
    pub(crate) fn take_all(&mut self) -> Vec<Membership> {
        self.backlog = Backlog::default();
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
