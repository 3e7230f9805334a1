//! One channel's members in this process, and what a turn brings for them.
//!
//! Whoever gets frames is known as a [`Recipient`] only: connections stand above this file. Locked with the table of
//! `subscriptions`, whose order of locks this follows: recipients and subscriptions come after.

use std::sync::Arc;

use fairlead_channel::{ChannelId, Joined, Record};
use fairlead_websocket::Time;

use crate::backlog::SlowConsumer;
use crate::frames::{Form, Frames, FramesOf, Style};
use crate::inbox::Shared;
use crate::slab::Slab;
use crate::subscription::Subscription;

/// The driver delivers at most this much payload, and one message, before it looks at its sockets again.
pub(crate) const BATCH: usize = 256 * 1024;

/// Who gets a channel's messages as frames.
pub(crate) trait Recipient {
    /// Takes frames in, at once if it keeps up. Answers how many messages were delivered, or will be, and how many dropped.
    fn deliver(&self, news: &News<'_>) -> (u64, u64);

    /// The same for records without frames, which a member is owed before it leaves.
    fn owe(&self, news: &News<'_>) -> (u64, u64);

    /// So many messages are lost for it.
    fn miss(&self, count: u64);
}

/// What a turn brings for one recipient.
pub(crate) struct News<'a> {
    /// The channel.
    pub(crate) name: &'a Arc<str>,
    /// The records, at least one.
    pub(crate) records: &'a [Record],
    /// Their frames, one behind the other, in the recipient's form.
    pub(crate) frames: FramesOf<'a>,
    pub(crate) style: Style,
    /// What becomes of it if more than `limit` bytes wait for it.
    pub(crate) slow_consumer: SlowConsumer,
    pub(crate) limit: usize,
    pub(crate) now: Time,
}

/// A member's place in the table; it is given back to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) id: ChannelId,
    key: u64,
}

/// A channel with members in this process.
pub(crate) struct Local<C> {
    pub(crate) id: ChannelId,
    pub(crate) name: Arc<str>,
    members: Slab<Member<C>>,
    /// The newest message that was read, or was there when the first member came.
    pub(crate) last: u64,
    pub(crate) records: Vec<Record>,
    frames: Frames,
}

struct Member<C> {
    target: Target<C>,
    /// The first message that is for it.
    next: u64,
}

enum Target<C> {
    Recipient {
        recipient: Arc<C>,
        /// The number of its form.
        form: usize,
        slow_consumer: SlowConsumer,
    },
    Task(Arc<Subscription>),
}

impl<C: Recipient> Local<C> {
    pub(crate) fn new(joined: &Joined, name: &str) -> Self {
        Self {
            id: joined.id,
            name: name.into(),
            members: Slab::default(),
            last: joined.offset,
            records: Vec::new(),
            frames: Frames::default(),
        }
    }

    /// A member that gets frames; `next` is the first message that is for it.
    pub(crate) fn add_recipient(
        &mut self,
        recipient: Arc<C>,
        form: Form,
        slow_consumer: SlowConsumer,
        next: u64,
    ) -> Membership {
        let form = self.frames.add_member(form);
        let target = Target::Recipient {
            recipient,
            form,
            slow_consumer,
        };
        self.add(Member { target, next })
    }

    /// A task as a member.
    pub(crate) fn add_task(&mut self, subscription: Arc<Subscription>, next: u64) -> Membership {
        self.add(Member {
            target: Target::Task(subscription),
            next,
        })
    }

    fn add(&mut self, member: Member<C>) -> Membership {
        Membership {
            id: self.id,
            key: self.members.insert(member),
        }
    }

    pub(crate) fn remove(&mut self, membership: Membership) -> bool {
        let Some(member) = self.members.remove(membership.key) else {
            return false;
        };
        if let Target::Recipient { form, .. } = member.target {
            self.frames.remove_member(form);
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes in a record, as frames for those who see it.
    pub(crate) fn push(&mut self, record: Record, payload: &[u8], scratch: &mut Vec<u8>) {
        self.frames.push(&self.name, &record, payload, scratch);
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
        self.frames.clear(BATCH);
    }

    /// Everybody has missed messages, since the loop came too late.
    pub(crate) fn count_lost(&self, lost: u64) {
        for member in self.members.iter() {
            match &member.target {
                Target::Recipient { recipient, .. } => recipient.miss(lost),
                Target::Task(subscription) => subscription.miss(lost),
            }
        }
    }

    /// Gives one member what has come for it and was not read yet. Answers as [`Local::deliver`] does.
    pub(crate) fn settle(
        &mut self,
        shared: &Shared,
        membership: &Membership,
        records: &[Record],
        limit: usize,
    ) -> (u64, u64) {
        let Some(member) = self.members.get_mut(membership.key) else {
            return (0, 0);
        };
        let records = &records[records.partition_point(|record| record.offset < member.next)..];
        let Some(newest) = records.last() else {
            return (0, 0);
        };
        member.next = newest.offset + 1;
        match &member.target {
            Target::Task(subscription) => {
                let missed = subscription.deliver(shared, records.iter().map(|record| record.position));
                ((records.len() as u64).saturating_sub(missed), missed)
            }
            Target::Recipient {
                recipient,
                form,
                slow_consumer,
            } => recipient.owe(&News {
                name: &self.name,
                records,
                frames: FramesOf::default(),
                style: self.frames.form(*form).style,
                slow_consumer: *slow_consumer,
                limit,
                now: shared.poller.now(),
            }),
        }
    }

    /// Gives the news to the members. Answers how many messages were delivered, and how many dropped.
    pub(crate) fn deliver(&self, shared: &Shared, limit: usize) -> (u64, u64) {
        let now = shared.poller.now();
        let mut sum = (0, 0);
        for member in self.members.iter() {
            let first = self.first_for(member.next);
            let records = &self.records[first..];
            let count = records.len() as u64;
            if count == 0 {
                continue;
            }
            let (delivered, dropped) = match &member.target {
                Target::Task(subscription) => {
                    let positions = records.iter().map(|record| record.position);
                    let missed = subscription.deliver(shared, positions);
                    (count.saturating_sub(missed), missed)
                }
                Target::Recipient {
                    recipient,
                    form,
                    slow_consumer,
                } => recipient.deliver(&News {
                    name: &self.name,
                    records,
                    frames: self.frames.from(*form, first),
                    style: self.frames.form(*form).style,
                    slow_consumer: *slow_consumer,
                    limit,
                    now,
                }),
            };
            sum.0 += delivered;
            sum.1 += dropped;
        }
        sum
    }
}
