//! What a member of channels has not got yet: names of records, not their bytes.
//!
//! A client that keeps up never has a backlog: its messages go into its socket, or its outbox, as they come. One that is
//! behind, or that asked for history, has a list of positions in the log, which keeps the messages anyway; they are read
//! when there is room. So a slow client costs a few bytes for each message, and a record that was overwritten before it
//! came to it is counted.

use std::collections::VecDeque;
use std::sync::Arc;

use fairlead_channel::{Place, Record};
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

/// One message that the connection has yet to get.
#[derive(Clone, Debug)]
struct PendingMessage {
    position: u64,
    length: usize,
    /// It came while the client was behind; what a replay brings was asked for and fills nothing.
    counts: bool,
    style: Style,
    name: Arc<str>,
}

/// The messages that one connection is behind.
#[derive(Default)]
pub(crate) struct Backlog {
    waiting: VecDeque<PendingMessage>,
    bytes: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes in what the client asked for.
    pub(crate) fn replay(&mut self, record: &Record, style: Style, name: &Arc<str>) {
        self.add(record, style, name, false);
    }

    /// Takes in what comes while the client is behind.
    pub(crate) fn push(&mut self, record: &Record, style: Style, name: &Arc<str>) {
        self.bytes += record.length;
        self.add(record, style, name, true);
    }

    fn add(&mut self, record: &Record, style: Style, name: &Arc<str>, counts: bool) {
        self.waiting.push_back(PendingMessage {
            position: record.position,
            length: record.length,
            counts,
            style,
            name: Arc::clone(name),
        });
    }

    /// Payload bytes that have come while the client was behind.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn drop_oldest(&mut self) -> bool {
        self.pop().is_some()
    }

    /// A part of it is of before the membership.
    pub(crate) fn has_past(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.counts)
    }

    fn pop(&mut self) -> Option<PendingMessage> {
        let oldest = self.waiting.pop_front()?;
        if oldest.counts {
            self.bytes -= oldest.length;
        }
        Some(oldest)
    }

    /// Moves messages into `out` until that has `room` bytes more. Answers how many were moved, and how many are lost.
    pub(crate) fn feed(
        &mut self,
        place: &Place,
        encoding: Encoding,
        room: usize,
        out: &mut Vec<u8>,
    ) -> (u64, u64) {
        let full = out.len().saturating_add(room);
        let (mut moved, mut lost) = (0, 0);
        let (mut payload, mut scratch) = (Vec::new(), Vec::new());
        while out.len() < full {
            let Some(next) = self.pop() else { break };
            payload.clear();
            match place.read_at(next.position, &mut payload) {
                None => lost += 1,
                Some(record) => {
                    let form = Form {
                        style: next.style,
                        encoding,
                    };
                    append_frame(form, &next.name, &record, &payload, &mut scratch, out);
                    moved += 1;
                }
            }
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        (moved, lost)
    }
}
