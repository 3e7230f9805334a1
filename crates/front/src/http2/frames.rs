//! Headers of frames, and what follows the frames that h2 writes by their headers, without keeping or changing a byte.
//!
//! The h2 crate decides what they mean. What it keeps to itself is needed here: what went out, which stream it refused by
//! itself, and why it ended the connection. What comes in is followed by the filter, in the same look.

/// Bytes of a frame's header (RFC 9113 §4.1).
pub(super) const HEADER: usize = 9;

/// So much of a payload is kept where it is looked at: a GOAWAY's last stream, code and the beginning of its words.
const KEPT: usize = 64;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes of its payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    /// That which stands at the beginning of the bytes, if all of it is there.
    pub(super) fn of(bytes: &[u8]) -> Option<FrameHead> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<HEADER>()?;
        Some(FrameHead {
            length: usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c),
            kind: *kind,
            flags: *flags,
            stream: u32::from_be_bytes(*stream) & 0x7fff_ffff,
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// So much of the payload is looked at.
    fn kept(&self) -> usize {
        if matches!(self.kind, RST_STREAM | GOAWAY) {
            self.length.min(KEPT)
        } else {
            0
        }
    }
}

/// What is known of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) head: FrameHead,
    /// The first bytes of an RST_STREAM or GOAWAY, else nothing.
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// The code of an RST_STREAM or GOAWAY, 0 where there is none.
    pub(super) fn code(&self) -> u32 {
        let at = if self.head.kind == GOAWAY { 4 } else { 0 };
        self.payload
            .get(at..at + 4)
            .map_or(0, |code| u32::from_be_bytes([code[0], code[1], code[2], code[3]]))
    }

    /// The words of a GOAWAY.
    pub(super) fn words(&self) -> String {
        String::from_utf8_lossy(self.payload.get(8..).unwrap_or_default()).into_owned()
    }
}

/// Follows one direction.
pub(super) struct Frames {
    start: [u8; HEADER + KEPT],
    have: usize,
    /// Bytes that are not looked at.
    skip: usize,
}

impl Frames {
    /// Behind `skip` bytes that are no frames.
    pub(super) fn behind(skip: usize) -> Frames {
        Frames {
            start: [0; HEADER + KEPT],
            have: 0,
            skip,
        }
    }

    /// Calls `see` for each frame whose header, and kept payload, `bytes` completes.
    pub(super) fn follow(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame<'_>)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
                continue;
            }
            // Nearly every frame is whole, and is seen where it lies.
            if self.have == 0 {
                if let Some(size) = see_first(bytes, &mut see) {
                    self.skip = size;
                    continue;
                }
            }
            let step = (self.wanted() - self.have).min(bytes.len());
            self.start[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            bytes = &bytes[step..];
            if let Some(size) = see_first(&self.start[..self.have], &mut see) {
                self.skip = size - self.have;
                self.have = 0;
            }
        }
    }

    fn wanted(&self) -> usize {
        HEADER + FrameHead::of(&self.start[..self.have]).map_or(0, |head| head.kept())
    }
}

/// Calls `see` for the frame at the beginning of the bytes, if what is looked at is there; the size of the frame.
fn see_first(bytes: &[u8], see: &mut impl FnMut(Frame<'_>)) -> Option<usize> {
    let head = FrameHead::of(bytes)?;
    let payload = bytes.get(HEADER..HEADER + head.kept())?;
    see(Frame { head, payload });
    Some(HEADER + head.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn seen(parts: &[&[u8]]) -> Vec<(u8, u8, u32, usize, u32, String)> {
        let mut frames = Frames::behind(3);
        let mut seen = Vec::new();
        for part in parts {
            frames.follow(part, |frame| {
                let words = frame.words();
                let head = frame.head;
                seen.push((
                    head.kind,
                    head.flags,
                    head.stream,
                    head.length,
                    frame.code(),
                    words,
                ));
            });
        }
        seen
    }

    #[test]
    fn frames_are_seen_however_the_bytes_are_cut() {
        let bytes = [
            b"pri".to_vec(),
            frame(HEADERS, END_HEADERS, 1, &[7; 300]),
            frame(DATA, END_STREAM, 1, b""),
            frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes()),
            frame(PING, 0, 0, &[0; 8]),
            frame(GOAWAY, 0, 0, b"\0\0\0\x05\0\0\0\x0bcalm down"),
        ]
        .concat();
        let whole = seen(&[&bytes]);
        assert_eq!(
            whole,
            [
                (HEADERS, END_HEADERS, 1, 300, 0, String::new()),
                (DATA, END_STREAM, 1, 0, 0, String::new()),
                (RST_STREAM, 0, 3, 4, 8, String::new()),
                (PING, 0, 0, 8, 0, String::new()),
                (GOAWAY, 0, 0, 17, 11, "calm down".into()),
            ]
        );
        assert_eq!(seen(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
        for cut in 0..bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(seen(&[left, right]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn nonsense_does_no_harm() {
        let nonsense: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        seen(&[&nonsense]);
        assert_eq!(
            seen(&[b"pri", &frame(RST_STREAM, 0, 1, b"")]).len(),
            1,
            "too short for a code"
        );
        assert_eq!(seen(&[b"pri", &frame(GOAWAY, 0, 0, b"abc")])[0].4, 0);
    }
}
