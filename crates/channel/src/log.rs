//! The log: records one behind the other in a ring, appended under the lock and read without it.
//!
//! # The invariants
//! - A record is visible when the tail has passed it, and the tail moves last: a writer that dies before leaves nothing.
//! - The head passes a record before its words are overwritten. A reader copies first and then looks at the head: if that
//!   has passed, what it copied may be torn, and is dropped.
//! - Positions only grow; a position's place is its remainder by the capacity. A record never wraps: a padding fills the end.
//! - Each record names the position of the one before it in its channel, so a replay reads no others.
//! - What the head has not passed is sound, or somebody has scribbled in the region: then nothing is read any more. No
//!   reader goes back, or takes a record that reaches into another, so none runs in circles or takes more than there is.

use crate::directory::ChannelId;
use crate::layout::{channel, header, record, Layout};
use crate::sync::{fence, Ordering};
use crate::words::Words;

/// What a message is, for whoever delivers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8, which the publisher has checked.
    Text,
    /// Any bytes.
    Binary,
}

const PADDING: u64 = 1;
const TEXT: u64 = 2;
const BINARY: u64 = 3;

/// A record without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub position: u64,
    /// Where the next one begins.
    pub next: u64,
    /// Text or binary.
    pub kind: Kind,
    /// The entry of its channel, and whose that was.
    pub(crate) channel: usize,
    pub(crate) generation: u64,
    /// Its number in the channel: one more than that of the message before.
    pub offset: u64,
    pub(crate) previous: Option<u64>,
    /// Bytes of its payload.
    pub length: usize,
}

impl Record {
    /// The channel's number in the directory, which another channel may have had before.
    #[inline]
    pub fn channel_index(&self) -> usize {
        self.channel
    }

    /// Whether it is this channel's.
    #[inline]
    pub fn is_of(&self, id: ChannelId) -> bool {
        self.channel == id.index() && self.generation == id.generation
    }
}

/// What stands at a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Nothing,
    /// It was overwritten; the oldest record is there now.
    Overtaken(u64),
    Record(Record),
    /// No writer of ours has left this there.
    Damaged,
}

/// What the words at a position say.
enum Found {
    Overwritten,
    Damaged,
    /// The rest of the ring is empty; the next record begins here.
    Padding(u64),
    Record(Record),
}

/// Somebody has scribbled in the region.
#[derive(Debug)]
pub(crate) struct Damaged;

#[inline]
fn is_aligned(position_or_size: u64) -> bool {
    position_or_size.is_multiple_of(record::ALIGNMENT as u64)
}

/// No log grows beyond this: a thousand years at a gigabyte a second.
const LARGEST_POSITION: u64 = 1 << 62;

/// A view of the log for readers; see [`Writer`] for the one who has the lock.
#[derive(Clone, Copy)]
pub(crate) struct Log<'a> {
    pub(crate) words: Words<'a>,
    pub(crate) layout: Layout,
}

impl Log<'_> {
    fn place(&self, position: u64) -> usize {
        self.layout.log_at() + (position % self.layout.capacity as u64) as usize
    }

    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.words.get_acquire(header::TAIL)
    }

    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.words.get_acquire(header::HEAD)
    }

    /// Whether what was copied from here is whole.
    #[inline]
    fn is_whole(&self, position: u64) -> bool {
        fence(Ordering::Acquire);
        self.words.get(header::HEAD) <= position
    }

    /// The first record at or behind `position`, paddings left out.
    #[inline]
    pub(crate) fn look(&self, position: u64) -> Look {
        let tail = self.tail();
        let end = match position.cmp(&tail) {
            std::cmp::Ordering::Less => tail,
            std::cmp::Ordering::Equal => return Look::Nothing,
            // It never goes back.
            std::cmp::Ordering::Greater => return Look::Damaged,
        };
        let mut found = self.at(position, end);
        if let Found::Padding(next) = found {
            // It became visible with the record behind it, and that fits.
            found = match self.at(next, end) {
                Found::Padding(_) => Found::Damaged,
                found => found,
            };
        }
        match found {
            Found::Record(record) => Look::Record(record),
            Found::Overwritten => Look::Overtaken(self.head()),
            Found::Padding(_) | Found::Damaged => Look::Damaged,
        }
    }

    /// What begins at this position, and ends at `end` at the latest.
    #[inline]
    fn at(&self, position: u64, end: u64) -> Found {
        if !is_aligned(position) || position >= end || end > LARGEST_POSITION {
            return Found::Damaged;
        }
        let at = self.place(position);
        let found = self.words.get(at + record::POSITION);
        let size_and_kind = self.words.get(at + record::SIZE);
        let (size, kind) = (size_and_kind & 0xffff_ffff, size_and_kind >> 32);
        if !self.is_whole(position) {
            return Found::Overwritten;
        }
        // From here on: what is not as a writer leaves it was left by somebody else.
        let left_in_ring = self.layout.log_at() + self.layout.capacity - at;
        let left = (end - position).min(left_in_ring as u64);
        if found != position || size > left || size == 0 || !is_aligned(size) {
            return Found::Damaged;
        }
        let kind = match kind {
            TEXT => Kind::Text,
            BINARY => Kind::Binary,
            PADDING => return Found::Padding(position + size),
            _ => return Found::Damaged,
        };
        if size < record::WORDS as u64 {
            return Found::Damaged;
        }
        let channel_and_length = self.words.get(at + record::CHANNEL);
        let record = Record {
            position,
            next: position + size,
            kind,
            channel: (channel_and_length & 0xffff_ffff) as usize,
            generation: self.words.get(at + record::GENERATION),
            offset: self.words.get(at + record::OFFSET),
            previous: self.words.get(at + record::PREVIOUS).checked_sub(1),
            length: (channel_and_length >> 32) as usize,
        };
        if !self.is_whole(position) {
            return Found::Overwritten;
        }
        let is_sound = record.channel < self.layout.channels
            && record.length <= (size as usize - record::WORDS) * 8
            && record.previous.is_none_or(|previous| previous < position);
        if is_sound {
            Found::Record(record)
        } else {
            Found::Damaged
        }
    }

    /// A record that begins here and ends at `end` at the latest; `None` if it was overwritten.
    pub(crate) fn record(&self, position: u64, end: u64) -> Result<Option<Record>, Damaged> {
        match self.at(position, end) {
            Found::Record(record) => Ok(Some(record)),
            Found::Overwritten => Ok(None),
            Found::Padding(_) | Found::Damaged => Err(Damaged),
        }
    }

    /// Appends the payload; false, and nothing appended, if it was overwritten.
    #[inline]
    pub(crate) fn payload(&self, record: &Record, into: &mut Vec<u8>) -> bool {
        let start = into.len();
        let at = self.place(record.position) + record::WORDS;
        self.words.get_bytes(at, record.length, into);
        let is_whole = self.is_whole(record.position);
        if !is_whole {
            into.truncate(start);
        }
        is_whole
    }
}

/// The log in the hands of who has the lock.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a>(Log<'a>);

impl<'a> Writer<'a> {
    /// The caller has the lock.
    pub(crate) fn new(log: Log<'a>) -> Writer<'a> {
        Writer(log)
    }

    /// Appends a message to a channel and answers its offset. The payload is at most [`Layout::longest_payload`].
    #[inline]
    pub(crate) fn append(&self, index: usize, kind: Kind, payload: &[u8]) -> Result<u64, Damaged> {
        let Log { words, layout } = self.0;
        let entry = layout.channel(index);
        let size = (record::WORDS + payload.len().div_ceil(8)).next_multiple_of(record::ALIGNMENT);
        let tail = words.get(header::TAIL);
        if tail > LARGEST_POSITION - layout.capacity as u64 || !is_aligned(tail) {
            return Err(Damaged);
        }
        let left = layout.capacity - (tail % layout.capacity as u64) as usize;
        let padding = if left < size { left } else { 0 };
        let position = tail + padding as u64;
        let end = position + size as u64;
        self.make_room(end)?;
        if padding > 0 {
            let at = self.0.place(tail);
            words.put(at + record::POSITION, tail);
            words.put(at + record::SIZE, padding as u64 | PADDING << 32);
        }
        let offset = words.get(entry + channel::OFFSET).wrapping_add(1);
        let kind = match kind {
            Kind::Text => TEXT,
            Kind::Binary => BINARY,
        };
        let at = self.0.place(position);
        words.put(at + record::POSITION, position);
        words.put(at + record::SIZE, size as u64 | kind << 32);
        words.put(at + record::CHANNEL, index as u64 | (payload.len() as u64) << 32);
        words.put(at + record::GENERATION, words.get(entry + channel::GENERATION));
        words.put(at + record::OFFSET, offset);
        words.put(at + record::PREVIOUS, words.get(entry + channel::NEWEST));
        words.put_bytes(at + record::WORDS, payload);
        words.put_release(header::TAIL, end);
        self.enter(entry, offset, position, payload.len());
        words.put_release(header::RECORDED, end);
        Ok(offset)
    }

    /// Tells the directory of a record.
    fn enter(&self, entry: usize, offset: u64, position: u64, length: usize) {
        let words = self.0.words;
        // First the number: who reads both without the lock must not find the record newer than its number.
        words.put(entry + channel::OFFSET, offset);
        words.put(
            entry + channel::BYTES,
            words.get(entry + channel::BYTES).wrapping_add(length as u64),
        );
        words.put_release(entry + channel::NEWEST, position + 1);
    }

    /// Moves the head on until the words up to `end` are free.
    #[inline]
    fn make_room(&self, end: u64) -> Result<(), Damaged> {
        let Log { words, layout } = self.0;
        let head = words.get(header::HEAD);
        let (capacity, tail) = (layout.capacity as u64, words.get(header::TAIL));
        if head > tail || tail - head > capacity || !is_aligned(head | tail) {
            return Err(Damaged);
        }
        let mut oldest = head;
        while oldest < tail && end - oldest > capacity {
            let size = words.get(self.0.place(oldest) + record::SIZE) & 0xffff_ffff;
            if size == 0 || !is_aligned(size) || size > tail - oldest {
                return Err(Damaged);
            }
            oldest += size;
        }
        if oldest != head {
            words.put(header::HEAD, oldest);
        }
        // Before the words of what it passed, now or in an earlier append: that one made room for more than it took, and
        // who reads a word of this one has to see that the head has moved.
        fence(Ordering::Release);
        Ok(())
    }

    /// What a writer that died may have left undone: records that are visible and that the directory does not know.
    pub(crate) fn enter_last(&self) -> Result<(), Damaged> {
        let Log { words, layout } = self.0;
        let tail = words.get(header::TAIL);
        let mut position = words.get(header::RECORDED);
        loop {
            let record = match self.0.look(position) {
                Look::Record(record) => record,
                Look::Nothing => break,
                // It lags behind by one record, which nobody can have overwritten.
                Look::Overtaken(_) | Look::Damaged => return Err(Damaged),
            };
            let entry = layout.channel(record.channel);
            if words.get(entry + channel::GENERATION) == record.generation
                && words.get(entry + channel::NEWEST) != record.position + 1
            {
                self.enter(entry, record.offset, record.position, record.length);
            }
            position = record.next;
        }
        words.put_release(header::RECORDED, tail);
        Ok(())
    }
}
