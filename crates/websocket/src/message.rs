//! The inbox: received messages, complete ones first, then the one that is still arriving, in a single buffer.
//!
//! Each message lies behind eight bytes with its length and kind, written when it is complete. Fragments are simply
//! appended, so they are contiguous without another copy. The invariant is `head <= complete <= end <= buffer.len()`:
//! complete unread messages in `head..complete`, the open one in `complete..end`. The buffer is always initialised up
//! to its length, which is why writing into it needs no `unsafe`; it grows with bytes that have arrived, never with
//! a length that was merely announced. Rules of the protocol do not belong here.

use crate::mask::Key;

/// Text or binary, RFC 6455 §5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// What a message costs in the inbox beside its payload.
pub(crate) const MESSAGE_OVERHEAD: usize = 8;

/// The first growth: one allocation for small messages, and too little to matter if a peer stalls after a header.
const SMALLEST_BUFFER: usize = 4096;

/// Received messages in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    head: usize,
    complete: usize,
    end: usize,
    messages: usize,
}

impl Inbox {
    /// The oldest complete message.
    #[inline]
    pub(crate) fn oldest(&self) -> Option<(MessageKind, &[u8])> {
        if self.messages == 0 {
            return None;
        }
        let (kind, length) = self.header_at(self.head);
        let start = self.head + MESSAGE_OVERHEAD;
        Some((kind, &self.buffer[start..start + length]))
    }

    /// Forgets the oldest complete message; without one, nothing happens.
    #[inline]
    pub(crate) fn consume(&mut self) {
        if self.messages == 0 {
            return;
        }
        self.head += MESSAGE_OVERHEAD + self.header_at(self.head).1;
        self.messages -= 1;
        if self.head == self.end {
            (self.head, self.complete, self.end) = (0, 0, 0);
        }
    }

    /// Complete, unread messages.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of complete, unread messages, with what each costs beside its payload.
    pub(crate) fn unread(&self) -> usize {
        self.complete - self.head
    }

    /// Opens a message; until `finish` it is invisible to the reader. There must be none open.
    #[inline]
    pub(crate) fn begin(&mut self, kind: MessageKind) {
        debug_assert_eq!(self.complete, self.end);
        self.reserve(MESSAGE_OVERHEAD, MESSAGE_OVERHEAD);
        self.write_header(kind, 0);
        self.end += MESSAGE_OVERHEAD;
    }

    /// Unmasks `payload` to the end of the open message. `expected`, at least as much, is what its frame still has.
    #[inline]
    pub(crate) fn append(&mut self, payload: &[u8], key: Key, expected: usize) {
        self.reserve(payload.len(), expected);
        let end = self.end + payload.len();
        key.copy_unmasked(payload, &mut self.buffer[self.end..end]);
        self.end = end;
    }

    /// What has arrived of the open message.
    #[inline]
    pub(crate) fn open_payload(&self) -> &[u8] {
        &self.buffer[self.complete + MESSAGE_OVERHEAD..self.end]
    }

    /// Makes the open message readable.
    #[inline]
    pub(crate) fn finish(&mut self) {
        let (kind, _) = self.header_at(self.complete);
        self.write_header(kind, self.end - self.complete - MESSAGE_OVERHEAD);
        self.complete = self.end;
        self.messages += 1;
    }

    /// A whole message in one step: `begin`, `append` and `finish`.
    #[inline]
    pub(crate) fn push(&mut self, kind: MessageKind, payload: &[u8], key: Key) {
        let size = MESSAGE_OVERHEAD + payload.len();
        self.reserve(size, size);
        let (header, target) = self.buffer[self.end..self.end + size].split_at_mut(MESSAGE_OVERHEAD);
        header.copy_from_slice(&encode(kind, payload.len()));
        key.copy_unmasked(payload, target);
        self.end += size;
        self.complete = self.end;
        self.messages += 1;
    }

    /// Forgets the open message, if there is one.
    pub(crate) fn abandon(&mut self) {
        self.end = self.complete;
        if self.messages == 0 {
            (self.head, self.complete, self.end) = (0, 0, 0);
        }
    }

    /// Nothing comes any more: forgets the open message, and keeps no memory but that of the complete ones.
    pub(crate) fn end(&mut self) {
        self.abandon();
        let unread = self.unread();
        if unread == 0 {
            *self = Self::default();
        } else if self.buffer.len() - unread > SMALLEST_BUFFER {
            self.buffer = self.buffer[self.head..self.complete].to_vec();
            (self.head, self.complete, self.end) = (0, unread, unread);
        }
    }

    /// The buffer, if nothing is in it.
    pub(crate) fn take_spare(&mut self) -> Option<Vec<u8>> {
        (self.end == 0 && !self.buffer.is_empty()).then(|| std::mem::take(&mut self.buffer))
    }

    /// Uses `buffer` unless there is one already.
    pub(crate) fn lend(&mut self, mut buffer: Vec<u8>) {
        if self.buffer.is_empty() {
            // A buffer that comes from `take_spare` has its full length; then this touches nothing.
            buffer.resize(buffer.capacity(), 0);
            self.buffer = buffer;
        }
    }

    /// Bytes that the buffer occupies.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    #[inline]
    fn reserve(&mut self, needed: usize, expected: usize) {
        if self.buffer.len() - self.end < needed {
            self.make_room(needed, expected);
        }
    }

    /// Room for `needed` bytes: by moving what is unread to the front if that is cheap, else by growing.
    #[cold]
    fn make_room(&mut self, needed: usize, expected: usize) {
        let live = self.end - self.head;
        // Moving is paid for by the bytes that were read since the last move, so it is O(1) per byte.
        if self.head >= live {
            self.buffer.copy_within(self.head..self.end, 0);
            self.complete -= self.head;
            self.end = live;
            self.head = 0;
        }
        let least = self.end + needed;
        if least > self.buffer.len() {
            // RFC 6455 §10.4: a frame's claim alone must not make us allocate.
            // Doubling keeps growth O(1) per byte; a frame whose end is nearer gets no more than it needs.
            let doubled = self.buffer.len().saturating_mul(2).max(SMALLEST_BUFFER);
            let length = doubled
                .min(self.end.saturating_add(expected))
                .max(least)
                .max(SMALLEST_BUFFER);
            self.buffer.reserve_exact(length - self.buffer.len());
            self.buffer.resize(self.buffer.capacity(), 0);
        }
    }

    fn write_header(&mut self, kind: MessageKind, length: usize) {
        let at = self.complete;
        self.buffer[at..at + MESSAGE_OVERHEAD].copy_from_slice(&encode(kind, length));
    }

    fn header_at(&self, at: usize) -> (MessageKind, usize) {
        match self.buffer[at..].first_chunk() {
            Some(header) => decode(*header),
            None => unreachable!("a message has a header"),
        }
    }
}

fn encode(kind: MessageKind, length: usize) -> [u8; MESSAGE_OVERHEAD] {
    // A Vec holds less than 2^63 bytes, so the lowest bit is free for the kind.
    ((length as u64) << 1 | u64::from(kind == MessageKind::Binary)).to_ne_bytes()
}

fn decode(header: [u8; MESSAGE_OVERHEAD]) -> (MessageKind, usize) {
    let word = u64::from_ne_bytes(header);
    let kind = if word & 1 == 0 {
        MessageKind::Text
    } else {
        MessageKind::Binary
    };
    (kind, (word >> 1) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Key = Key::new([0; 4]);

    #[test]
    fn messages_are_read_in_the_order_of_their_completion() {
        let mut inbox = Inbox::default();
        inbox.push(MessageKind::Text, b"one", PLAIN);
        inbox.begin(MessageKind::Binary);
        inbox.append(b"tw", PLAIN, 3);
        assert_eq!(inbox.messages(), 1);
        inbox.append(b"o", PLAIN, 1);
        assert_eq!(inbox.open_payload(), b"two");
        inbox.finish();
        assert_eq!(inbox.unread(), 2 * (MESSAGE_OVERHEAD + 3));
        assert_eq!(inbox.oldest(), Some((MessageKind::Text, &b"one"[..])));
        inbox.consume();
        assert_eq!(inbox.oldest(), Some((MessageKind::Binary, &b"two"[..])));
        inbox.consume();
        assert_eq!((inbox.oldest(), inbox.unread()), (None, 0));
        inbox.consume();
    }

    #[test]
    fn an_open_message_can_be_abandoned() {
        let mut inbox = Inbox::default();
        inbox.push(MessageKind::Text, b"kept", PLAIN);
        inbox.begin(MessageKind::Text);
        inbox.append(b"lost", PLAIN, 4);
        inbox.abandon();
        assert_eq!(inbox.oldest(), Some((MessageKind::Text, &b"kept"[..])));
        inbox.consume();
        assert!(inbox.take_spare().is_some());
    }

    #[test]
    fn the_buffer_stays_small_when_reader_and_writer_keep_pace_but_never_meet() {
        let mut inbox = Inbox::default();
        inbox.begin(MessageKind::Binary);
        for round in 0..10_000u32 {
            inbox.append(&round.to_le_bytes().repeat(100), PLAIN, 400);
            inbox.finish();
            inbox.begin(MessageKind::Binary);
            assert_eq!(
                inbox.oldest().map(|(_, payload)| payload),
                Some(&round.to_le_bytes().repeat(100)[..])
            );
            inbox.consume();
        }
        assert!(inbox.capacity() <= SMALLEST_BUFFER, "{}", inbox.capacity());
    }

    #[test]
    fn an_announced_length_reserves_nothing_before_its_bytes_arrive() {
        let mut inbox = Inbox::default();
        inbox.begin(MessageKind::Binary);
        let mut arrived = MESSAGE_OVERHEAD;
        // Past the first buffer, so that it has to grow again and again.
        for _ in 0..100 {
            inbox.append(&[b'x'; 1000], PLAIN, usize::MAX / 4);
            arrived += 1000;
            assert!(
                inbox.capacity() <= (2 * arrived).max(SMALLEST_BUFFER),
                "{}",
                inbox.capacity()
            );
        }
    }

    #[test]
    fn a_large_message_ends_in_a_buffer_of_its_size() {
        let mut inbox = Inbox::default();
        inbox.begin(MessageKind::Binary);
        // Just past a doubling, which would end in a buffer of nearly twice the size.
        let size = 600_000;
        for done in (0..size).step_by(60_000) {
            inbox.append(&[7; 60_000], PLAIN, size - done);
        }
        inbox.finish();
        assert_eq!(inbox.oldest().map(|(_, payload)| payload.len()), Some(size));
        assert!(inbox.capacity() <= size + SMALLEST_BUFFER, "{}", inbox.capacity());
    }

    #[test]
    fn a_spare_buffer_can_be_taken_and_lent() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.take_spare(), None);
        inbox.push(MessageKind::Text, b"x", PLAIN);
        assert_eq!(inbox.take_spare(), None);
        inbox.consume();
        let buffer = inbox.take_spare().expect("an empty inbox gives its buffer");
        assert_eq!((inbox.capacity(), buffer.len()), (0, buffer.capacity()));
        inbox.lend(buffer);
        inbox.lend(vec![0; 9]);
        assert_eq!(inbox.capacity(), SMALLEST_BUFFER);
    }
}
