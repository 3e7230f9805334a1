//! RFC 6455 §5 on the wire, as far as the bench needs it: headers with minimal lengths, masking eight bytes at a time,
//! and the header of a client's frame. No state and no IO. Extensions are never negotiated here, so a set RSV bit is
//! an error (§5.2).

/// Opcode of a text message.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary message.
pub const BINARY: u8 = 0x2;
/// Opcode of a Close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a Ping frame.
pub const PING: u8 = 0x9;
/// Opcode of a Pong frame.
pub const PONG: u8 = 0xA;
/// The FIN bit in a frame's first byte.
pub const FIN: u8 = 0x80;
/// The three reserved bits in a frame's first byte.
pub const RESERVED: u8 = 0x70;
/// The longest header a frame can have without its mask.
pub const MAX_HEADER: usize = 10;

const MASK_BIT: u8 = 0x80;

/// Set in the limit server and the load generator alike; far above any workload, it only keeps a broken peer from
/// making either side reserve memory without end.
pub const MAX_FRAME: u64 = 64 << 20;

/// Writes the header of an unmasked frame into the start of `out` and returns its length (2, 4 or 10).
#[inline]
pub fn put_header(out: &mut [u8], first: u8, len: usize) -> usize {
    out[0] = first;
    match len {
        0..=125 => {
            out[1] = len as u8;
            2
        }
        126..=0xFFFF => {
            out[1] = 126;
            out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    }
}

/// Appends a whole masked frame, as clients send them (§5.3).
pub fn push_masked(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
    let mut header = [0; MAX_HEADER];
    let header_len = put_header(&mut header, first, payload.len());
    header[1] |= MASK_BIT;
    out.extend_from_slice(&header[..header_len]);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.resize(start + payload.len(), 0);
    copy_masked(&mut out[start..], payload, mask);
}

/// Copies `from` to `to`, which has the same length, and applies the mask on the way (§5.3).
#[inline]
pub fn copy_masked(to: &mut [u8], from: &[u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let wide = u64::from(word) << 32 | u64::from(word);
    let mut targets = to.chunks_exact_mut(8);
    let mut sources = from.chunks_exact(8);
    for (target, source) in targets.by_ref().zip(sources.by_ref()) {
        let bytes = u64::from_ne_bytes(source.try_into().expect("a chunk of eight"));
        target.copy_from_slice(&(bytes ^ wide).to_ne_bytes());
    }
    let rest = targets.into_remainder().iter_mut().zip(sources.remainder());
    for (i, (target, source)) in rest.enumerate() {
        *target = source ^ mask[i & 3];
    }
}

/// The header of a frame that a client sent.
pub struct ClientHeader {
    /// FIN and opcode, as they stood on the wire.
    pub first: u8,
    /// Bytes up to the payload, mask included.
    pub header_len: usize,
    /// Bytes of payload.
    pub payload_len: usize,
    /// The masking key.
    pub mask: [u8; 4],
}

/// A frame that this bench does not accept: unmasked, with a reserved bit, or longer than [`MAX_FRAME`].
#[derive(Debug)]
pub struct BadFrame;

/// Reads the header at the start of `bytes`; `None` means that more bytes are needed.
#[inline]
pub fn parse_client_header(bytes: &[u8]) -> Result<Option<ClientHeader>, BadFrame> {
    let [first, second, ..] = *bytes else {
        return Ok(None);
    };
    if second & MASK_BIT == 0 || first & RESERVED != 0 {
        return Err(BadFrame);
    }
    let extended = extended_length_bytes(second);
    let header_len = 2 + extended + 4;
    if bytes.len() < header_len {
        return Ok(None);
    }
    let payload_len = payload_length(second, &bytes[2..2 + extended]);
    if payload_len > MAX_FRAME {
        return Err(BadFrame);
    }
    let mask = bytes[header_len - 4..header_len].try_into().expect("four bytes");
    Ok(Some(ClientHeader {
        first,
        header_len,
        payload_len: payload_len as usize,
        mask,
    }))
}

/// How many bytes of extended length follow the second byte of a header (§5.2).
#[inline]
pub fn extended_length_bytes(second: u8) -> usize {
    match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// The payload length from the second byte and the extended length that follows it.
#[inline]
pub fn payload_length(second: u8, extended: &[u8]) -> u64 {
    if extended.is_empty() {
        return u64::from(second & 0x7F);
    }
    extended
        .iter()
        .fold(0, |length, byte| length << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_of_every_header_size_is_read_back() {
        for len in [0, 1, 7, 8, 125, 126, 0xFFFF, 0x1_0000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut frame = Vec::new();
            push_masked(&mut frame, FIN | BINARY, &payload, [1, 2, 3, 4]);

            let header = parse_client_header(&frame).unwrap().unwrap();
            assert_eq!((header.first, header.payload_len), (FIN | BINARY, len));
            let mut unmasked = vec![0; len];
            copy_masked(&mut unmasked, &frame[header.header_len..], header.mask);
            assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn a_header_cut_anywhere_asks_for_more() {
        let mut frame = Vec::new();
        push_masked(&mut frame, FIN | TEXT, &[0; 0x1_0000], [1, 2, 3, 4]);
        for cut in 0..14 {
            assert!(parse_client_header(&frame[..cut]).unwrap().is_none());
        }
    }

    #[test]
    fn an_unmasked_frame_is_refused() {
        assert!(parse_client_header(&[FIN | TEXT, 1, b'a']).is_err());
    }
}
