//! The messages of a run, masked and framed before it starts: making a frame must not cost the client time while it
//! measures. A ring of slots, each with its own payload and its own random mask; a connection sends them one after
//! the other, for ever, and so knows which payload comes back next.

use fairlead_bench_load::sys::random_bytes;
use fairlead_bench_load::wire::{push_masked, BINARY, FIN, TEXT};

/// Enough different masks for the cost of unmasking to be an average one.
const SLOTS: usize = 64;
/// The ring stays within a core's cache: a client that reads every message from memory is slower than its server.
const RING_BYTES: usize = 1 << 20;

/// Frames ready to be sent.
pub struct FrameRing {
    /// The slots in order and, behind them, the first `in_flight` once more, so that the frames of one write always
    /// lie side by side.
    bytes: Vec<u8>,
    frame_len: usize,
    slots: usize,
    /// Slot `i` has the payload `pattern[i..i + size]`: different in each slot, without storing it per slot.
    pattern: Vec<u8>,
    size: usize,
    opcode: u8,
}

impl FrameRing {
    pub fn new(size: usize, in_flight: usize, text: bool) -> Self {
        let opcode = if text { TEXT } else { BINARY };
        let mut one = Vec::new();
        push_masked(&mut one, FIN | opcode, &vec![0; size], [0; 4]);
        let frame_len = one.len();
        let slots = SLOTS.min(RING_BYTES / frame_len).max(in_flight);

        let pattern = pattern(size + slots, text);
        let mut bytes = Vec::with_capacity(frame_len * (slots + in_flight));
        for slot in 0..slots {
            push_masked(
                &mut bytes,
                FIN | opcode,
                &pattern[slot..slot + size],
                random_bytes(),
            );
        }
        bytes.extend_from_within(..in_flight * frame_len);
        FrameRing {
            bytes,
            frame_len,
            slots,
            pattern,
            size,
            opcode,
        }
    }

    pub fn opcode(&self) -> u8 {
        self.opcode
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn frame_len(&self) -> usize {
        self.frame_len
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The payload of a slot, unmasked.
    pub fn payload(&self, slot: usize) -> &[u8] {
        &self.pattern[slot..slot + self.size]
    }

    /// `len` bytes from `offset`; at most `in_flight` frames from a point inside the ring.
    #[inline]
    pub fn bytes_from(&self, offset: usize, len: usize) -> &[u8] {
        &self.bytes[offset..offset + len]
    }

    /// Where the ring stands after `sent` more bytes.
    #[inline]
    pub fn advance(&self, offset: usize, sent: usize) -> usize {
        let ring_len = self.slots * self.frame_len;
        let next = offset + sent;
        if next >= ring_len {
            next - ring_len
        } else {
            next
        }
    }

    #[inline]
    pub fn next_slot(&self, slot: usize) -> usize {
        if slot + 1 == self.slots {
            0
        } else {
            slot + 1
        }
    }
}

/// Bytes without a period worth mentioning (a linear congruential generator, Knuth's constants), so that a payload
/// from a wrong place is noticed; letters for text, which must be UTF-8 (RFC 6455 §5.6).
fn pattern(len: usize, text: bool) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len)
        .map(|_| if text { b'a' + next() % 26 } else { next() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_bench_load::wire::{copy_masked, parse_client_header};

    #[test]
    fn each_slot_unmasks_to_its_own_payload() {
        let ring = FrameRing::new(300, 4, true);
        for slot in 0..ring.slots() {
            let frame = ring.bytes_from(slot * ring.frame_len(), ring.frame_len());
            let header = parse_client_header(frame).unwrap().unwrap();
            let mut payload = vec![0; 300];
            copy_masked(&mut payload, &frame[header.header_len..], header.mask);
            assert_eq!(payload, ring.payload(slot));
        }
        assert_ne!(ring.payload(0), ring.payload(1));
    }

    #[test]
    fn a_write_that_starts_in_the_last_slot_finds_the_first_ones_behind_it() {
        let ring = FrameRing::new(64, 16, false);
        let last = (ring.slots() - 1) * ring.frame_len();
        let bytes = ring.bytes_from(last, 16 * ring.frame_len());
        assert_eq!(
            &bytes[ring.frame_len()..],
            ring.bytes_from(0, 15 * ring.frame_len())
        );
        assert_eq!(ring.advance(last, ring.frame_len()), 0);
    }
}
