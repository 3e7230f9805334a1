//! What waits to be written to one socket: bytes, and how many of them are already gone.
//!
//! Frames are appended here and leave in one write per turn (the cork: with several messages in flight that is
//! where the speed comes from). The outbox knows no limit by itself; `connection` asks its length against the
//! high and low water of the settings, and never appends a message above the high water.

/// Capacity that an empty outbox may keep between messages. Above it the memory goes back at once: one large
/// message must not cost its size for the life of the connection.
const KEEP: usize = 128 * 1024;

#[derive(Default)]
pub(crate) struct Outbox {
    buffer: Vec<u8>,
    start: usize,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Where the session and the senders append.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// `count` bytes were written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.buffer.len());
        if self.start == self.buffer.len() {
            self.start = 0;
            if self.buffer.capacity() > KEEP {
                self.buffer = Vec::new();
            } else {
                self.buffer.clear();
            }
        } else if self.start > KEEP {
            // A slow reader: move the rest down now and then, or the buffer grows with what was sent.
            self.buffer.drain(..self.start);
            self.start = 0;
        }
    }

    /// Nothing will be written any more.
    pub(crate) fn discard(&mut self) {
        *self = Self::default();
    }

    /// Gives idle memory back; called when the session's timer finds it quiet.
    pub(crate) fn trim(&mut self) {
        if self.is_empty() {
            self.buffer = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_never_offered_again() {
        let mut outbox = Outbox::default();
        outbox.buffer().extend_from_slice(b"hello ");
        outbox.advance(2);
        outbox.buffer().extend_from_slice(b"world");
        assert_eq!(outbox.pending(), b"llo world");
        outbox.advance(9);
        assert!(outbox.is_empty());
        outbox.buffer().extend_from_slice(b"x");
        assert_eq!(outbox.pending(), b"x");
    }

    #[test]
    fn a_large_message_does_not_keep_its_memory() {
        let mut outbox = Outbox::default();
        outbox.buffer().resize(KEEP * 4, 1);
        outbox.advance(KEEP * 4);
        assert_eq!(outbox.buffer().capacity(), 0);
    }

    #[test]
    fn a_slow_reader_does_not_let_the_buffer_grow_with_what_was_sent() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            let len = outbox.buffer.len();
            outbox.buffer().resize(len + KEEP, 1);
            let all_but_one = outbox.len() - 1;
            outbox.advance(all_but_one);
        }
        assert!(outbox.buffer.len() <= 2 * KEEP + 2);
    }
}
