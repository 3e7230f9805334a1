//! One frame, RFC 6455 §5.2: bytes to a checked `Header`, and a message to a `Frame` of ours in the session's `Encoding`.
//!
//! Only what a header says about itself is judged here; whether a frame may come at this point of a message is for
//! `receiving.rs`. The checks run in the order of the bytes, so a stream is refused for the same reason no matter
//! how it was cut, and as soon as the bytes that break the rule are there. A parsed header is valid; nobody checks
//! it again.

use crate::error::PeerError;
use crate::mask::Key;
use crate::message::MessageKind;

/// The longest header of a masked frame: two bytes, a 64-bit length, a key.
pub(crate) const MAX_CLIENT_HEADER: usize = 14;

/// The longest header of an unmasked frame.
pub(crate) const MAX_SERVER_HEADER: usize = 10;

pub(crate) const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
pub(crate) const MASKED: u8 = 0x80;
/// The 7-bit length that says "16 bits follow", and with one more, 64 bits.
const LENGTH_16: u8 = 126;

/// What a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    #[default]
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Opcode, PeerError> {
        Ok(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            // RFC 6455 §5.2: an unknown opcode fails the connection.
            reserved => return Err(PeerError::ReservedOpcode(reserved)),
        })
    }

    fn of(kind: MessageKind) -> Opcode {
        match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        }
    }

    pub(crate) const fn is_control(self) -> bool {
        self as u8 & 0x08 != 0
    }
}

/// The header of a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u64,
    pub(crate) key: Key,
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
}

impl Header {
    /// The header at the start of `bytes` and its size; `None` while it is incomplete.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, PeerError> {
        let [first, second, ..] = *bytes else {
            return Ok(None);
        };
        // RFC 6455 §5.2: we negotiate no extension, so nobody may use these bits.
        if first & RESERVED_BITS != 0 {
            return Err(PeerError::ReservedBits((first & RESERVED_BITS) >> 4));
        }
        let opcode = Opcode::from_bits(first & OPCODE)?;
        let fin = first & FIN != 0;
        // RFC 6455 §5.1: a server closes when a frame is not masked.
        if second & MASKED == 0 {
            return Err(PeerError::Unmasked);
        }
        let short = second & !MASKED;
        if opcode.is_control() {
            // RFC 6455 §5.5
            if !fin {
                return Err(PeerError::FragmentedControl);
            }
            // RFC 6455 §5.5: 125 bytes, hence never one of the longer length forms.
            if short >= LENGTH_16 {
                return Err(PeerError::LongControl);
            }
        }
        let (length, key_at) = match short {
            ..LENGTH_16 => (u64::from(short), 2),
            LENGTH_16 => {
                let Some(length) = array_at(bytes, 2) else {
                    return Ok(None);
                };
                let length = u64::from(u16::from_be_bytes(length));
                // RFC 6455 §5.2: the minimal number of bytes encodes the length.
                if length < u64::from(LENGTH_16) {
                    return Err(PeerError::LengthNotMinimal(length));
                }
                (length, 4)
            }
            _ => {
                let Some(length) = array_at(bytes, 2) else {
                    return Ok(None);
                };
                let length = u64::from_be_bytes(length);
                // RFC 6455 §5.2: "the most significant bit MUST be 0".
                if length > i64::MAX as u64 {
                    return Err(PeerError::LengthTopBit);
                }
                // RFC 6455 §5.2
                if length <= u64::from(u16::MAX) {
                    return Err(PeerError::LengthNotMinimal(length));
                }
                (length, 10)
            }
        };
        let Some(key) = array_at(bytes, key_at) else {
            return Ok(None);
        };
        Ok(Some((
            Header {
                length,
                key: Key::new(key),
                fin,
                opcode,
            },
            key_at + 4,
        )))
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Writes the header of an unfragmented, unmasked frame; answers its size.
///
/// RFC 6455 §5.1: a server never masks. §5.2: the shortest form of the length.
#[inline]
pub(crate) fn write_header(opcode: Opcode, length: usize, header: &mut [u8; MAX_SERVER_HEADER]) -> usize {
    header[0] = FIN | opcode as u8;
    if let Ok(short @ ..LENGTH_16) = u8::try_from(length) {
        header[1] = short;
        2
    } else if let Ok(medium) = u16::try_from(length) {
        header[1] = LENGTH_16;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        4
    } else {
        header[1] = LENGTH_16 + 1;
        header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        10
    }
}

/// Appends a whole control frame of ours.
pub(crate) fn append(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    Frame::new(opcode, payload).append_to(out);
}

/// How messages to a client become frames: what its handshake agreed on, RFC 6455 §9.
///
/// Sessions with equal encodings get equal frames for a message, since a server does not mask (RFC 6455 §5.1); so a message
/// for many of them is encoded once for each encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The payload of a frame is the message: no extension.
    #[default]
    Identity,
}

impl Encoding {
    /// One frame with the message. Its length is known afterwards only: an encoding may change it. That text is UTF-8 is
    /// the caller's word.
    #[inline]
    pub fn frame(self, kind: MessageKind, message: &[u8]) -> Frame<'_> {
        let Encoding::Identity = self;
        Frame::new(Opcode::of(kind), message)
    }

    /// Appends one frame with a message that lies in two parts. That text is UTF-8 is the caller's word.
    #[inline]
    pub fn append_message(self, kind: MessageKind, prefix: &[u8], rest: &[u8], out: &mut Vec<u8>) {
        let Encoding::Identity = self;
        let mut header = [0; MAX_SERVER_HEADER];
        let length = prefix.len() + rest.len();
        let size = write_header(Opcode::of(kind), length, &mut header);
        out.reserve(size + length);
        out.extend_from_slice(&header[..size]);
        out.extend_from_slice(prefix);
        out.extend_from_slice(rest);
    }
}

/// One frame of ours: header and payload, to be sent in this order with nothing between them.
#[derive(Debug)]
pub struct Frame<'a> {
    header: [u8; MAX_SERVER_HEADER],
    header_size: usize,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    #[inline]
    fn new(opcode: Opcode, payload: &'a [u8]) -> Frame<'a> {
        let mut header = [0; MAX_SERVER_HEADER];
        let header_size = write_header(opcode, payload.len(), &mut header);
        Frame {
            header,
            header_size,
            payload,
        }
    }

    /// At most ten bytes.
    #[inline]
    pub fn header(&self) -> &[u8] {
        &self.header[..self.header_size]
    }

    /// The encoded message.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of both.
    #[inline]
    pub fn size(&self) -> usize {
        self.header_size + self.payload.len()
    }

    /// Appends both.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.size());
        out.extend_from_slice(self.header());
        out.extend_from_slice(self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> PeerError {
        Header::parse(bytes).expect_err("the header breaks a rule")
    }

    #[test]
    fn each_length_form_is_read_when_it_is_complete() {
        for (bytes, length) in [
            (&b"\x82\x80kkkk"[..], 0),
            (b"\x82\xfdkkkk", 125),
            (b"\x82\xfe\x00\x7ekkkk", 126),
            (b"\x82\xfe\xff\xffkkkk", 65_535),
            (b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00kkkk", 65_536),
            (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffkkkk", i64::MAX as u64),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(Header::parse(&bytes[..cut]), Ok(None), "{bytes:x?} cut at {cut}");
            }
            let expected = Header {
                length,
                key: Key::new(*b"kkkk"),
                fin: true,
                opcode: Opcode::Binary,
            };
            assert_eq!(Header::parse(bytes), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_refused() {
        for length in 0..=u16::MAX {
            let [high, low] = length.to_be_bytes();
            let expected = PeerError::LengthNotMinimal(length.into());
            if length <= 125 {
                assert_eq!(refusal(&[0x82, 0xfe, high, low]), expected);
            }
            assert_eq!(refusal(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, high, low]), expected);
        }
    }

    #[test]
    fn a_64_bit_length_with_its_top_bit_set_is_refused() {
        assert_eq!(refusal(b"\x82\xff\x80\0\0\0\0\0\0\0"), PeerError::LengthTopBit);
    }

    #[test]
    fn each_reserved_bit_is_refused() {
        for bits in 1..=7u8 {
            for opcode in [0u8, 1, 2, 8, 9, 10] {
                for fin in [0, FIN] {
                    let found = refusal(&[fin | bits << 4 | opcode, MASKED]);
                    assert_eq!(found, PeerError::ReservedBits(bits), "opcode {opcode}");
                }
            }
        }
    }

    #[test]
    fn reserved_opcodes_are_refused() {
        for opcode in [3u8, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(
                refusal(&[FIN | opcode, MASKED]),
                PeerError::ReservedOpcode(opcode)
            );
        }
    }

    #[test]
    fn a_frame_without_a_mask_is_refused_at_its_second_byte() {
        for opcode in [0u8, 1, 2, 8, 9, 10] {
            assert_eq!(refusal(&[FIN | opcode, 0]), PeerError::Unmasked);
        }
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [8u8, 9, 10] {
            assert_eq!(refusal(&[opcode, MASKED]), PeerError::FragmentedControl);
            assert_eq!(refusal(&[FIN | opcode, MASKED | 126]), PeerError::LongControl);
            assert_eq!(refusal(&[FIN | opcode, MASKED | 127]), PeerError::LongControl);
        }
    }

    #[test]
    fn our_headers_are_unmasked_and_use_the_shortest_length() {
        for (length, expected) in [
            (0, &b"\x81\x00"[..]),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ] {
            let mut header = [0; MAX_SERVER_HEADER];
            let size = write_header(Opcode::Text, length, &mut header);
            assert_eq!(&header[..size], expected);
        }
    }
}
