//! Frames from the server, byte stream in and events out; it keeps what a read cut off and nothing else. It checks
//! what a client must (RFC 6455 §5.1: no mask; §5.2: no reserved bits; §5.4: order of fragments; §5.5: size and
//! wholeness of control frames), so that a server is not fast by being wrong.

use fairlead_bench_load::wire::{
    extended_length_bytes, payload_length, CLOSE, FIN, MAX_FRAME, MAX_HEADER, PING, PONG, RESERVED,
};

/// What the next bytes were.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of a data message.
    Data(Piece<'a>),
    /// A Ping; its payload is [`FrameReader::control`].
    Ping,
    /// A Pong.
    Pong,
    /// A Close.
    Close,
}

/// Some bytes of a data message, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub opcode: u8,
    /// How much of the message came before.
    pub offset: usize,
    pub bytes: &'a [u8],
    /// The message ends with this piece.
    pub last: bool,
}

/// The server broke this rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation(pub &'static str);

/// The state between two reads.
#[derive(Default)]
pub struct FrameReader {
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// Inside a frame: how much of its payload is still to come.
    remaining: Option<usize>,
    /// Inside a message: its opcode.
    opcode: Option<u8>,
    offset: usize,
    control: Vec<u8>,
}

impl FrameReader {
    /// The payload of the last control frame.
    pub fn control(&self) -> &[u8] {
        &self.control
    }

    /// The next event from the start of `input`, which moves on; `None` when all of it is used.
    #[inline]
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        let remaining = match self.remaining {
            Some(remaining) => {
                // A frame without payload is an event too; any other needs a byte at least.
                if input.is_empty() {
                    return Ok(None);
                }
                remaining
            }
            None => match self.read_header(input)? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        let (bytes, rest) = input.split_at(remaining.min(input.len()));
        *input = rest;
        let left = remaining - bytes.len();
        self.remaining = (left > 0).then_some(left);

        let first = self.header[0];
        if first & 0x0F >= CLOSE {
            return self.control_piece(first & 0x0F, bytes, left == 0, input);
        }
        let opcode = self.opcode.unwrap_or_default();
        let last = left == 0 && first & FIN != 0;
        let offset = self.offset;
        self.offset += bytes.len();
        if last {
            self.opcode = None;
        }
        Ok(Some(Event::Data(Piece {
            opcode,
            offset,
            bytes,
            last,
        })))
    }

    /// A control frame is reported when it is whole; before that, the input is used up.
    #[cold]
    fn control_piece<'a>(
        &mut self,
        opcode: u8,
        bytes: &[u8],
        whole: bool,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Violation> {
        self.control.extend_from_slice(bytes);
        if !whole {
            debug_assert!(input.is_empty());
            return Ok(None);
        }
        match opcode {
            CLOSE => Ok(Some(Event::Close)),
            PING => Ok(Some(Event::Ping)),
            PONG => Ok(Some(Event::Pong)),
            _ => Err(Violation("a reserved opcode")),
        }
    }

    /// Takes header bytes until the header is whole; then the payload's length.
    #[inline]
    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<usize>, Violation> {
        loop {
            let wanted = if self.header_len < 2 {
                2
            } else {
                2 + extended_length_bytes(self.header[1])
            };
            if self.header_len == wanted {
                break;
            }
            if input.is_empty() {
                return Ok(None);
            }
            let (bytes, rest) = input.split_at((wanted - self.header_len).min(input.len()));
            self.header[self.header_len..self.header_len + bytes.len()].copy_from_slice(bytes);
            self.header_len += bytes.len();
            *input = rest;
        }
        let [first, second, ..] = self.header;
        let length = payload_length(second, &self.header[2..self.header_len]);
        self.header_len = 0;
        self.begin_frame(first, second, length)?;
        Ok(Some(length as usize))
    }

    #[inline]
    fn begin_frame(&mut self, first: u8, second: u8, length: u64) -> Result<(), Violation> {
        if second & 0x80 != 0 {
            return Err(Violation("a masked frame"));
        }
        if first & RESERVED != 0 {
            return Err(Violation("a reserved bit"));
        }
        if length > MAX_FRAME {
            return Err(Violation("a frame beyond 64 MiB"));
        }
        match first & 0x0F {
            opcode if opcode >= CLOSE => {
                if first & FIN == 0 || length > 125 {
                    return Err(Violation("a control frame in fragments or beyond 125 bytes"));
                }
                self.control.clear();
            }
            0 if self.opcode.is_none() => return Err(Violation("a continuation without a beginning")),
            0 => {}
            _ if self.opcode.is_some() => return Err(Violation("a new message inside another")),
            opcode => {
                self.opcode = Some(opcode);
                self.offset = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that `stream` says when it arrives in pieces of `step` bytes: whole messages and control frames.
    fn heard(stream: &[u8], step: usize) -> Vec<String> {
        let mut reader = FrameReader::default();
        let mut heard = Vec::new();
        let mut message = Vec::new();
        for chunk in stream.chunks(step) {
            let mut input = chunk;
            while let Some(event) = reader.next(&mut input).unwrap() {
                match event {
                    Event::Data(piece) => {
                        assert_eq!(piece.offset, message.len());
                        message.extend_from_slice(piece.bytes);
                        if piece.last {
                            heard.push(format!("{} {}", piece.opcode, String::from_utf8_lossy(&message)));
                            message.clear();
                        }
                    }
                    other => heard.push(format!("{other:?} {}", String::from_utf8_lossy(reader.control()))),
                }
            }
        }
        heard
    }

    #[test]
    fn any_split_of_the_stream_gives_the_same_events() {
        let mut stream = b"\x81\x02hi\x01\x01a\x89\x03abc\x00\x00\x80\x01b\x82\x00\x82\x7e\x00\x80".to_vec();
        stream.extend_from_slice(&[b'x'; 128]);
        stream.extend_from_slice(b"\x88\x00");
        let expected = heard(&stream, stream.len());
        assert_eq!(expected[..4], ["1 hi", "Ping abc", "1 ab", "2 "]);
        assert_eq!((expected.len(), expected[5].as_str()), (6, "Close "));
        for step in 1..stream.len() {
            assert_eq!(heard(&stream, step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_server_that_breaks_a_rule_is_found_out() {
        for stream in [
            b"\x81\x80\0\0\0\0".as_slice(),
            b"\xC1\x00",
            b"\x80\x00",
            b"\x01\x00\x81\x00",
            b"\x09\x00",
            b"\x89\x7e\x00\x80",
            b"\x8B\x00",
        ] {
            let (mut reader, mut input) = (FrameReader::default(), stream);
            let outcome = loop {
                match reader.next(&mut input) {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            assert!(outcome.is_err(), "{stream:?}");
        }
    }
}
