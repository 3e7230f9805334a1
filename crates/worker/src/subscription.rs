//! The messages that wait for a task of the app as a member of a channel. The task's own end is in `subscriber`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fairlead_channel::{Kind, Place, Record};

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

#[derive(Default)]
struct Queue {
    positions: VecDeque<u64>,
    waiter: Option<Token>,
    is_closed: bool,
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
    pub(crate) fn new(name: Arc<str>, limit: usize, drops: Drops) -> Subscription {
        Subscription {
            name,
            queue: Mutex::default(),
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
        lock(&self.queue).positions.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.queue).is_closed
    }

    /// Forgets what has come.
    pub(crate) fn clear(&self) {
        lock(&self.queue).positions.clear();
    }

    /// Takes the next message. If there is none and a token is given, that task is woken once there is.
    pub(crate) fn receive(&self, place: &Place, waiter: Option<Token>) -> Taken {
        loop {
            let position = {
                let mut queue = lock(&self.queue);
                match queue.positions.pop_front() {
                    Some(position) => position,
                    None if queue.is_closed => return Taken::Closed,
                    None => {
                        if waiter.is_some() {
                            queue.waiter = waiter;
                        }
                        return Taken::Empty;
                    }
                }
            };
            let mut payload = Vec::new();
            match place.read_at(position, &mut payload) {
                Some(record) => {
                    return Taken::Message(Message {
                        kind: record.kind,
                        offset: record.offset,
                        payload,
                    })
                }
                None => self.miss(1),
            }
        }
    }

    /// Asks that the task be woken when there is something.
    pub(crate) fn wait(&self, token: Token) -> Waiting {
        let mut queue = lock(&self.queue);
        if !queue.positions.is_empty() || queue.is_closed {
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

    /// Lets messages of the past in, before any other.
    pub(crate) fn begin_with(&self, records: &[Record]) {
        lock(&self.queue)
            .positions
            .extend(records.iter().map(|record| record.position));
    }

    /// Takes records in. Answers how many messages it misses for that.
    pub(crate) fn deliver(&self, shared: &Shared, positions: impl Iterator<Item = u64>) -> u64 {
        let mut missed = 0;
        let mut queue = lock(&self.queue);
        for position in positions {
            if queue.positions.len() >= self.limit {
                missed += 1;
                match self.drops {
                    Drops::Newest => continue,
                    Drops::Oldest => queue.positions.pop_front(),
                };
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
