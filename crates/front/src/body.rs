//! Bodies on their way through the front: what lies between hyper and the application, in each direction.
//!
//! Plain data without a lock or a wake-up of its own; the state of an exchange holds one of each. Invariant: what
//! a stranger sends never takes more memory than the high water, or twice a chunk that is awaited whole, and one read of the
//! socket, however small the pieces are that it comes in.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use crate::body_rate::BodyRate;
use crate::error::BodyError;

/// What a piece costs beside its bytes: its place in the queue, and its share of bookkeeping in `bytes` and the allocator.
/// Counted so that a body in chunks of one byte is held back as early as one in large chunks.
const PIECE_COST: usize = 64;

/// Who waits for a change.
pub(crate) enum Waiter {
    /// The application's side, by a token of its own.
    Token(u64),
    /// A task of the front.
    Task(Waker),
}

/// How a body ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum End<F> {
    #[default]
    Open,
    Complete,
    Failed(F),
}

/// The request's body, towards the application.
#[derive(Default)]
pub(crate) struct Incoming {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Ends of chunks among the pieces.
    chunk_ends: usize,
    /// All that ever came.
    received: u64,
    /// Bytes that a reader of whole chunks lets in although they are beyond the high water.
    goal: usize,
    pub(crate) end: End<BodyError>,
    pub(crate) waiter: Option<Waiter>,
    /// The pump may read. Stays set: the application has shown that it wants the body.
    pub(crate) wanted: bool,
    /// The application has asked for some of it.
    pub(crate) is_read: bool,
    /// Somebody waits for bytes since then, and the client has its time to send them.
    pub(crate) awaited_since_ms: Option<u64>,
    pub(crate) rate: BodyRate,
    /// The pump stopped at the high-water mark.
    pub(crate) paused: bool,
}

struct Piece {
    bytes: Bytes,
    ends_chunk: bool,
}

impl Incoming {
    /// `ends_chunk`: a chunk of the chunked coding ends here (RFC 9112 §7.1), or the body has no chunks.
    pub(crate) fn push(&mut self, bytes: Bytes, ends_chunk: bool) {
        self.bytes += bytes.len();
        self.received += bytes.len() as u64;
        self.chunk_ends += usize::from(ends_chunk);
        self.pieces.push_back(Piece { bytes, ends_chunk });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The client has begun a chunk, and somebody may wait for the whole of it.
    pub(crate) fn is_inside_chunk(&self) -> bool {
        self.pieces.back().is_some_and(|piece| !piece.ends_chunk)
    }

    /// Bytes that have come and were not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes
    }

    /// All bytes that have come so far, taken or not.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// No more should be read from the client for now.
    pub(crate) fn is_full(&self, high_water: usize) -> bool {
        let cost = self.pieces.len() * PIECE_COST;
        // Somebody waits for a whole chunk: not before that is here, whatever its pieces cost; they have a bound of their own.
        let lacks_goal = self.bytes < self.goal && cost < self.goal.max(high_water);
        self.bytes + cost >= high_water && !lacks_goal
    }

    /// Up to `max` bytes, as they lie there.
    pub(crate) fn take(&mut self, max: usize) -> Option<Bytes> {
        (!self.pieces.is_empty()).then(|| self.cut(max).0)
    }

    /// Up to the next line feed, or what lies there without one; at most `max` bytes.
    pub(crate) fn take_line(&mut self, max: usize) -> Option<Bytes> {
        let first = &self.pieces.front()?.bytes;
        let seen = &first[..first.len().min(max)];
        let end = seen
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(seen.len(), |at| at + 1);
        Some(self.cut(end).0)
    }

    /// What is left of the first chunk if it is whole, else `limit` bytes of it; a full buffer and the body's end make do
    /// with what is there. While it answers `None` it lets the pump read on up to `limit`.
    pub(crate) fn take_chunk(&mut self, limit: usize, high_water: usize) -> Option<Bytes> {
        let is_ready = self.chunk_ends > 0 || self.bytes >= limit || self.end != End::Open;
        self.goal = limit;
        if self.pieces.is_empty() || !is_ready && !self.is_full(high_water) {
            return None;
        }
        self.goal = 0;
        let (mut next, mut ended) = self.cut(limit);
        if ended || next.len() == limit || self.pieces.is_empty() {
            return Some(next);
        }
        let mut chunk = BytesMut::with_capacity(limit.min(self.bytes + next.len()));
        loop {
            chunk.extend_from_slice(&next);
            if ended || chunk.len() == limit || self.pieces.is_empty() {
                return Some(chunk.freeze());
            }
            (next, ended) = self.cut(limit - chunk.len());
        }
    }

    /// Takes up to `max` bytes off the first piece; true if its chunk ends with them.
    fn cut(&mut self, max: usize) -> (Bytes, bool) {
        let Some(mut first) = self.pieces.pop_front() else {
            return (Bytes::new(), true);
        };
        self.bytes -= first.bytes.len().min(max);
        if first.bytes.len() > max {
            let taken = first.bytes.split_to(max);
            self.pieces.push_front(first);
            return (taken, false);
        }
        self.chunk_ends -= usize::from(first.ends_chunk);
        (first.bytes, first.ends_chunk)
    }

    /// Sets `wanted`; true if that is news to the pump.
    pub(crate) fn want(&mut self) -> bool {
        self.is_read = true;
        !std::mem::replace(&mut self.wanted, true) && self.end == End::Open
    }
}

/// The response's body, towards the client.
#[derive(Default)]
pub(crate) struct Outgoing {
    pieces: VecDeque<BodyPart>,
    buffered: usize,
    files: usize,
    pub(crate) end: End<()>,
    pub(crate) waiter: Option<Waiter>,
}

/// A part of a response's body.
pub(crate) enum BodyPart {
    Bytes(Bytes),
    File(FilePart),
}

/// A range of a file that is still to be sent.
pub(crate) struct FilePart {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) left: u64,
}

impl Outgoing {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.buffered += piece.len();
        self.pieces.push_back(BodyPart::Bytes(piece));
    }

    pub(crate) fn push_file(&mut self, part: FilePart) {
        self.files += 1;
        self.pieces.push_back(BodyPart::File(part));
    }

    /// The next piece of at most `block` bytes if it comes from a file; other pieces come as they were given.
    pub(crate) fn pop(&mut self, block: u64) -> Option<BodyPart> {
        if let Some(BodyPart::File(part)) = self.pieces.front_mut() {
            let (file, offset) = (Arc::clone(&part.file), part.offset);
            let left = part.left.min(block);
            part.offset += left;
            part.left -= left;
            if part.left == 0 {
                self.files -= 1;
                self.pieces.pop_front();
            }
            return Some(BodyPart::File(FilePart { file, offset, left }));
        }
        let piece = self.pieces.pop_front()?;
        if let BodyPart::Bytes(bytes) = &piece {
            self.buffered -= bytes.len();
        }
        Some(piece)
    }

    /// A file takes all the room, however long it is: whoever waits for room behind it waits until it was sent.
    pub(crate) fn is_full(&self, high_water: usize) -> bool {
        self.buffered >= high_water || self.files > 0
    }

    /// All was taken and nothing more will come.
    pub(crate) fn is_complete(&self) -> bool {
        self.end == End::Complete && self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: usize = 1 << 20;

    fn body(pieces: &[(&'static str, bool)]) -> Incoming {
        let mut incoming = Incoming::default();
        for (text, ends_chunk) in pieces {
            incoming.push(Bytes::from_static(text.as_bytes()), *ends_chunk);
        }
        incoming
    }

    fn chunks(incoming: &mut Incoming, limit: usize) -> Vec<Bytes> {
        std::iter::from_fn(|| incoming.take_chunk(limit, HIGH)).collect()
    }

    #[test]
    fn a_chunk_in_pieces_is_given_whole_and_apart_from_the_next() {
        let mut incoming = body(&[("ab", false), ("c", true), ("de", true), ("f", false)]);
        assert_eq!(chunks(&mut incoming, 100), ["abc", "de"]);
        incoming.push(Bytes::from_static(b"g"), true);
        assert_eq!(chunks(&mut incoming, 100), ["fg"]);
        assert!(incoming.is_empty());
    }

    #[test]
    fn what_the_pieces_cost_does_not_cut_a_chunk() {
        let mut incoming = Incoming::default();
        for left in (0..HIGH / 4096).rev() {
            assert_eq!(incoming.take_chunk(HIGH, HIGH), None);
            assert!(!incoming.is_full(HIGH), "{left} pieces are still to come");
            incoming.push(Bytes::from(vec![b'x'; 4096]), left == 0);
        }
        assert_eq!(
            chunks(&mut incoming, HIGH)
                .iter()
                .map(Bytes::len)
                .collect::<Vec<_>>(),
            [HIGH]
        );
    }

    #[test]
    fn a_chunk_in_countless_pieces_is_cut_where_they_cost_too_much() {
        let mut incoming = Incoming::default();
        let mut pieces = 0;
        while incoming.take_chunk(HIGH, HIGH).is_none() {
            incoming.push(Bytes::from_static(b"x"), false);
            pieces += 1;
        }
        assert!(pieces <= HIGH / PIECE_COST + 1, "{pieces} pieces");
    }

    #[test]
    fn a_chunk_beyond_the_limit_comes_in_pieces_of_the_limit() {
        let mut incoming = body(&[("abcd", false), ("efg", true), ("h", true)]);
        assert_eq!(chunks(&mut incoming, 3), ["abc", "def", "g", "h"]);
        let mut incoming = body(&[("abcd", false)]);
        assert_eq!(
            chunks(&mut incoming, 3),
            ["abc"],
            "the rest of the chunk may still come"
        );
    }

    #[test]
    fn the_end_of_the_body_gives_what_is_left_of_a_chunk() {
        let mut incoming = body(&[("ab", true), ("c", false)]);
        incoming.end = End::Failed(BodyError::Gone);
        assert_eq!(chunks(&mut incoming, 100), ["ab", "c"]);
    }

    #[test]
    fn reading_by_bytes_lines_and_chunks_shares_one_position() {
        let mut incoming = body(&[("one\ntw", false), ("o\nthree", true), ("four", true)]);
        assert_eq!(incoming.take(2).as_deref(), Some(&b"on"[..]));
        assert_eq!(incoming.take_line(9).as_deref(), Some(&b"e\n"[..]));
        assert_eq!(incoming.take_line(9).as_deref(), Some(&b"tw"[..]));
        assert_eq!(incoming.take_line(2).as_deref(), Some(&b"o\n"[..]));
        assert_eq!(incoming.take_line(2).as_deref(), Some(&b"th"[..]));
        assert_eq!(incoming.take_line(3).as_deref(), Some(&b"ree"[..]));
        assert_eq!(chunks(&mut incoming, 100), ["four"]);
        assert_eq!(incoming.received(), 17);
    }

    #[test]
    fn a_body_in_single_bytes_is_full_before_its_bookkeeping_outgrows_it() {
        let mut incoming = Incoming::default();
        let mut pieces = 0;
        while !incoming.is_full(65_536) {
            incoming.push(Bytes::from_static(b"x"), true);
            pieces += 1;
        }
        assert!(pieces <= 65_536 / PIECE_COST, "{pieces}");
    }

    #[test]
    fn a_reader_of_chunks_lets_more_in_and_gives_up_when_tiny_pieces_fill_the_room() {
        let mut incoming = body(&[("abc", false)]);
        assert!(incoming.is_full(3));
        assert_eq!(incoming.take_chunk(1000, 3), None);
        assert!(!incoming.is_full(3), "the chunk may come in whole");
        while !incoming.is_full(3) {
            incoming.push(Bytes::from_static(b"x"), false);
        }
        let taken = incoming.take_chunk(1000, 3).map(|chunk| chunk.len());
        assert!(taken.is_some_and(|size| (4..1000).contains(&size)), "{taken:?}");
        assert!(incoming.is_empty());
    }
}
