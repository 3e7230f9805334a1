//! The numbers of HTTP/2 (RFC 9113 §6) and what is read out of payloads. No state.

use crate::run::Fault;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const FRAME_HEADER: usize = 9;

pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PUSH_PROMISE: u8 = 0x5;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;

pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITY: u8 = 0x20;

pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub const MAX_FRAME_SIZE: u16 = 0x5;
pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// `:status: 200` in the static table (RFC 7541 §6.1, §A), alone in its byte.
pub const STATUS_200: u8 = 0x88;

/// RFC 9113 §6.1: the first byte says how many at the end to pass over.
pub fn without_padding(flags: u8, payload: &[u8]) -> Result<&[u8], Fault> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let too_long = Fault::Violation("more padding than payload");
    let [padding, rest @ ..] = payload else {
        return Err(too_long);
    };
    let len = rest.len().checked_sub((*padding).into()).ok_or(too_long)?;
    Ok(&rest[..len])
}

/// Whether a response's block begins with status 200, behind updates of the table's size (RFC 7541 §6.3).
pub fn says_200(block: &[u8]) -> bool {
    const SIZE_UPDATE: u8 = 0x20;
    const PREFIX: u8 = 0x1F;
    let mut rest = block;
    while let [first, behind @ ..] = rest {
        if first & 0xE0 != SIZE_UPDATE {
            return *first == STATUS_200;
        }
        let longer = if first & PREFIX == PREFIX {
            behind.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1
        } else {
            0
        };
        rest = behind.get(longer..).unwrap_or_default();
    }
    false
}

/// Four bytes; the highest bit of a window's increment is reserved, and no setting that is read here has it set.
pub fn number(bytes: &[u8]) -> Result<u32, Fault> {
    let bytes = bytes.first_chunk().ok_or(Fault::Violation("a short frame"))?;
    Ok(u32::from_be_bytes(*bytes) & 0x7FFF_FFFF)
}
