//! What a member of channels has not got yet: names of records, not their bytes.
//!
//! A client that keeps up never has a backlog: its messages go into its socket, or its outbox, as they come. One that is
//! behind has a list of positions in the log, which keeps the messages anyway; they are read when there is room. So a slow
//! client costs a few bytes for each message, and one that asked for a long past no more than for a short one. A record that
//! was overwritten before it came to it is counted.

use std::collections::VecDeque;
use std::sync::Arc;

use fairlead_channel::{Past, Place, Record, Replay};
use fairlead_websocket::Encoding;

use crate::frames::{append_frame, Form, Style};

/// What becomes of a member that takes its messages more slowly than they come, once `backlog` bytes wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is closed with 1013 and a reason, and may come back for what it missed.
    #[default]
    Close,
    /// It does not get what comes while it is full.
    DropNewest,
    /// It does not get what waits for longest.
    DropOldest,
}

/// What the connection has yet to get.
enum Pending {
    /// A message that came while it was behind.
    Message(PendingMessage),
    /// The past that it asked for; boxed, since few ask.
    Past(Box<PendingReplay>),
}

struct PendingMessage {
    position: u64,
    length: usize,
    style: Style,
    name: Arc<str>,
}

struct PendingReplay {
    replay: Replay,
    style: Style,
    name: Arc<str>,
}

/// What a backlog has next.
enum Next {
    Nothing,
    /// So many messages, perhaps none, that were overwritten before their turn came.
    Lost(u64),
    Message(Record, Style, Arc<str>),
}

/// What [`Backlog::feed`] has done.
#[derive(Default)]
pub(crate) struct Fed {
    /// Messages that were moved, with so many bytes of payload.
    pub(crate) moved: u64,
    pub(crate) payload: usize,
    /// Messages that are lost.
    pub(crate) lost: u64,
}

/// The messages that one connection is behind.
#[derive(Default)]
pub(crate) struct Backlog {
    waiting: VecDeque<Pending>,
    bytes: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> u64 {
        let replays = self.waiting.iter().map(|pending| match pending {
            Pending::Message(_) => 1,
            Pending::Past(past) => past.replay.remaining(),
        });
        replays.sum()
    }

    /// Takes in what the client asked for. It fills nothing: a piece of it is read when there is room.
    pub(crate) fn replay(&mut self, replay: Replay, style: Style, name: &Arc<str>) {
        let name = Arc::clone(name);
        let past = PendingReplay { replay, style, name };
        self.waiting.push_back(Pending::Past(Box::new(past)));
    }

    /// Takes in what comes while the client is behind.
    pub(crate) fn push(&mut self, record: &Record, style: Style, name: &Arc<str>) {
        self.bytes += record.length;
        self.waiting.push_back(Pending::Message(PendingMessage {
            position: record.position,
            length: record.length,
            style,
            name: Arc::clone(name),
        }));
    }

    /// Payload bytes that have come while the client was behind.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the message that waits for longest, or the whole past that does. Answers how many that were.
    pub(crate) fn drop_oldest(&mut self) -> u64 {
        match self.waiting.pop_front() {
            None => {
                // Nothing waits, so nothing fills.
                self.bytes = 0;
                0
            }
            Some(Pending::Message(oldest)) => {
                self.bytes -= oldest.length;
                1
            }
            Some(Pending::Past(past)) => past.replay.remaining(),
        }
    }

    /// A part of it is of before the membership.
    pub(crate) fn has_past(&self) -> bool {
        self.waiting
            .iter()
            .any(|pending| matches!(pending, Pending::Past(_)))
    }

    /// The next message, with its payload.
    fn take(&mut self, place: &Place, payload: &mut Vec<u8>) -> Next {
        match self.waiting.front_mut() {
            None => Next::Nothing,
            Some(Pending::Message(_)) => {
                let Some(Pending::Message(oldest)) = self.waiting.pop_front() else {
                    return Next::Nothing; // it was there just now
                };
                self.bytes -= oldest.length;
                match place.read_at(oldest.position, payload) {
                    Some(record) => Next::Message(record, oldest.style, oldest.name),
                    None => Next::Lost(1),
                }
            }
            Some(Pending::Past(past)) => match place.next_past(&mut past.replay) {
                Past::Record(record) if place.payload(&record, payload) => {
                    Next::Message(record, past.style, Arc::clone(&past.name))
                }
                Past::Record(_) => Next::Lost(1),
                Past::Lost(count) => Next::Lost(count),
                Past::End => {
                    self.waiting.pop_front();
                    Next::Lost(0)
                }
            },
        }
    }

    /// Moves messages into `out` until that has `room` bytes more.
    pub(crate) fn feed(&mut self, place: &Place, encoding: Encoding, room: usize, out: &mut Vec<u8>) -> Fed {
        let full = out.len().saturating_add(room);
        let mut fed = Fed::default();
        let (mut payload, mut scratch) = (Vec::new(), Vec::new());
        while out.len() < full {
            payload.clear();
            match self.take(place, &mut payload) {
                Next::Nothing => break,
                Next::Lost(count) => fed.lost += count,
                Next::Message(record, style, name) => {
                    let form = Form { style, encoding };
                    fed.payload += append_frame(form, &name, &record, &payload, &mut scratch, out);
                    fed.moved += 1;
                }
            }
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        fed
    }
}
