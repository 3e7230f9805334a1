//! One channel's members in this process, and what a turn brings for them.
//!
//! Locked with the table of `subscriptions`, whose order of locks this follows: connections and subscriptions come after.

use std::sync::Arc;

use fairlead_channel::{ChannelId, Joined, Record};
use fairlead_websocket::Encoding;

use crate::backlog::{append_frame, SlowConsumer, Style};
use crate::connection::Connection;
use crate::inbox::Shared;
use crate::subscription::Subscription;
use crate::subscriptions::{Membership, BATCH};

/// A channel with members in this process.
pub(crate) struct Local {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
    members: Vec<Option<Member>>,
    free: Vec<usize>,
    /// The newest message that was read, or was there when the first member came.
    pub(crate) last: u64,
    /// Members by style; frames are made for those there are.
    styles: [usize; 2],
    pub(crate) records: Vec<Record>,
    frames: [Frames; 2],
}

#[derive(Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where the frame of each record begins.
    starts: Vec<usize>,
}

pub(crate) struct Member {
    pub(crate) target: Target,
    /// The first message that is for it.
    pub(crate) next: u64,
}

pub(crate) enum Target {
    Connection {
        connection: Arc<Connection>,
        style: Style,
        slow_consumer: SlowConsumer,
    },
    Unit(Arc<Subscription>),
}

impl Member {
    fn style(&self) -> Option<Style> {
        match &self.target {
            Target::Connection { style, .. } => Some(*style),
            Target::Unit(_) => None,
        }
    }
}

impl Local {
    pub(crate) fn new(joined: &Joined, name: &str) -> Local {
        Local {
            id: joined.id,
            name: name.into(),
            members: Vec::new(),
            free: Vec::new(),
            last: joined.offset,
            styles: [0; 2],
            records: Vec::new(),
            frames: Default::default(),
        }
    }

    pub(crate) fn add(&mut self, member: Member) -> Membership {
        if let Some(style) = member.style() {
            self.styles[style as usize] += 1;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.members.push(None);
            self.members.len() - 1
        });
        self.members[slot] = Some(member);
        Membership { id: self.id, slot }
    }

    pub(crate) fn remove(&mut self, slot: usize) -> bool {
        let Some(member) = self.members.get_mut(slot).and_then(Option::take) else {
            return false;
        };
        if let Some(style) = member.style() {
            self.styles[style as usize] -= 1;
        }
        self.free.push(slot);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.members.len()
    }

    /// Takes in a record, as frames for those who see it.
    pub(crate) fn push(&mut self, record: Record, payload: &[u8], scratch: &mut Vec<u8>) {
        for style in [Style::Plain, Style::Numbered] {
            let frames = &mut self.frames[style as usize];
            frames.starts.push(frames.bytes.len());
            if self.styles[style as usize] > 0 {
                append_frame(
                    Encoding::Identity,
                    style,
                    &self.name,
                    &record,
                    payload,
                    scratch,
                    &mut frames.bytes,
                );
            }
        }
        self.records.push(record);
    }

    /// The news for a member: the number of its first record.
    fn first_for(&self, next: u64) -> usize {
        match self.records.first() {
            Some(first) if first.offset >= next => 0,
            _ => self.records.partition_point(|record| record.offset < next),
        }
    }

    pub(crate) fn forget_news(&mut self) {
        self.records.clear();
        for frames in &mut self.frames {
            frames.starts.clear();
            frames.bytes.clear();
            // One large message must not cost its size for as long as the channel lives.
            frames.bytes.shrink_to(BATCH);
        }
    }
}

/// Everybody has missed messages, since the loop came too late.
pub(crate) fn count_lost(local: &Local, lost: u64) {
    for member in local.members.iter().flatten() {
        match &member.target {
            Target::Connection { connection, .. } => connection.lock().miss(lost),
            Target::Unit(subscription) => subscription.miss(lost),
        }
    }
}

/// Gives a channel's news to its members. Answers how many messages were delivered, and how many dropped.
pub(crate) fn deliver(local: &Local, shared: &Shared, backlog: usize) -> (u64, u64) {
    let now = shared.poller.now();
    let mut sum = (0, 0);
    for member in local.members.iter().flatten() {
        let first = local.first_for(member.next);
        let records = &local.records[first..];
        let count = records.len() as u64;
        if count == 0 {
            continue;
        }
        let (delivered, dropped) = match &member.target {
            Target::Unit(subscription) => {
                let positions = records.iter().map(|record| record.position);
                let missed = subscription.deliver(shared, positions);
                (count.saturating_sub(missed), missed)
            }
            Target::Connection {
                connection,
                style,
                slow_consumer,
            } => {
                let frames = &local.frames[*style as usize];
                let bytes = &frames.bytes[frames.starts[first]..];
                connection.deliver(bytes, count, now, |state| {
                    state.fall_behind(records, *style, &local.name, backlog, *slow_consumer, now)
                })
            }
        };
        sum.0 += delivered;
        sum.1 += dropped;
    }
    sum
}
