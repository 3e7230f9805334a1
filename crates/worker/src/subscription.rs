//! The messages that wait for a task of the app as a member of a channel. The task's own end is in `subscriber`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fairlead_channel::{Kind, Past, Place, Replay};

use crate::event::{Event, Token, Waiting};
use crate::inbox::{lock, Shared};

/// One membership of a task: the driver puts positions of records in, the task takes messages out.
pub(crate) struct Subscription {
    name: Arc<str>,
    queue: Mutex<Queue>,
    /// The most messages that wait.
    limit: usize,
    drops: Drops,
    missed: AtomicU64,
}

/// Which message is left out when a subscription is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drops {
    /// The one that comes.
    Newest,
    /// The one that waits for longest.
    Oldest,
}

struct Queue {
    /// What it asked for of the past, before all others.
    past: Option<Replay>,
    positions: VecDeque<u64>,
    waiter: Option<Token>,
    is_closed: bool,
}

impl Queue {
    fn len(&self) -> usize {
        let past = self.past.as_ref().map_or(0, Replay::remaining);
        past as usize + self.positions.len()
    }

    fn drop_oldest(&mut self) {
        match &mut self.past {
            Some(past) if past.remaining() > 0 => past.skip(),
            _ => {
                self.positions.pop_front();
            }
        }
    }

    fn next(&mut self, place: &Place) -> Past {
        if let Some(past) = &mut self.past {
            match place.next_past(past) {
                Past::End => self.past = None,
                found => return found,
            }
        }
        match self.positions.pop_front() {
            None => Past::End,
            Some(position) => place.record(position).map_or(Past::Lost(1), Past::Record),
        }
    }
}

/// A message that a subscription has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Text or binary.
    pub kind: Kind,
    /// Its number in the channel.
    pub offset: u64,
    /// What was published.
    pub payload: Vec<u8>,
}

/// What [`Subscriber::receive`](crate::Subscriber::receive) found.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The next message.
    Message(Message),
    /// None is there; the given task will be woken.
    Empty,
    /// It was closed.
    Closed,
}

impl Subscription {
    pub(crate) fn new(name: Arc<str>, limit: usize, drops: Drops, past: Option<Replay>) -> Subscription {
        Subscription {
            name,
            queue: Mutex::new(Queue {
                past,
                positions: VecDeque::new(),
                waiter: None,
                is_closed: false,
            }),
            limit: limit.max(1),
            drops,
            missed: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn queued(&self) -> usize {
        lock(&self.queue).len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.queue).is_closed
    }

    /// Forgets what has come.
    pub(crate) fn clear(&self) {
        let mut queue = lock(&self.queue);
        queue.past = None;
        queue.positions.clear();
    }

    /// Takes the next message. If there is none and a token is given, that task is woken once there is.
    pub(crate) fn receive(&self, place: &Place, waiter: Option<Token>) -> Taken {
        loop {
            let found = {
                let mut queue = lock(&self.queue);
                match queue.next(place) {
                    Past::End if queue.is_closed => return Taken::Closed,
                    Past::End => {
                        if waiter.is_some() {
                            queue.waiter = waiter;
                        }
                        return Taken::Empty;
                    }
                    found => found,
                }
            };
            let mut payload = Vec::new();
            match found {
                Past::Record(record) if place.payload(&record, &mut payload) => {
                    return Taken::Message(Message {
                        kind: record.kind,
                        offset: record.offset,
                        payload,
                    })
                }
                Past::Lost(count) => self.miss(count),
                Past::Record(_) | Past::End => self.miss(1),
            }
        }
    }

    /// Asks that the task be woken when there is something.
    pub(crate) fn wait(&self, token: Token) -> Waiting {
        let mut queue = lock(&self.queue);
        if queue.len() > 0 || queue.is_closed {
            return Waiting::Ready;
        }
        if queue.waiter.is_some_and(|other| other != token) {
            return Waiting::Taken;
        }
        queue.waiter = Some(token);
        Waiting::Registered
    }

    /// The task no longer waits.
    pub(crate) fn forget(&self, token: Token) {
        let mut queue = lock(&self.queue);
        if queue.waiter == Some(token) {
            queue.waiter = None;
        }
    }

    /// Takes records in. Answers how many messages it misses for that.
    pub(crate) fn deliver(&self, shared: &Shared, positions: impl Iterator<Item = u64>) -> u64 {
        let mut missed = 0;
        let mut queue = lock(&self.queue);
        for position in positions {
            if queue.len() >= self.limit {
                missed += 1;
                match self.drops {
                    Drops::Newest => continue,
                    Drops::Oldest => queue.drop_oldest(),
                }
            }
            queue.positions.push_back(position);
        }
        if let Some(token) = queue.waiter.take() {
            shared.report(Event::Wake(token));
        }
        drop(queue);
        self.miss(missed);
        missed
    }

    pub(crate) fn miss(&self, count: u64) {
        self.missed.fetch_add(count, Ordering::Relaxed);
    }

    /// Nothing comes any more; what is there can still be taken.
    pub(crate) fn close(&self, shared: &Shared) {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        if let Some(token) = queue.waiter.take() {
            shared.report(Event::Wake(token));
        }
    }
}
