//! What h2 does not get to see as it came: malformed header blocks ([`hpack`](super::hpack)), DATA frames without data, and
//! WINDOW_UPDATE frames of 0; and who is told what came ([`FrameNotes`]), in the same look at each frame's header.
//!
//! DATA frames without data h2 counts over the life of a connection, and ends it at the hundredth; a proxy keeps its
//! connection for days. They say nothing, and [`FloodGuard`](super::flood_guard) has charged for them. For a WINDOW_UPDATE of
//! 0 it ends the connection too, where RFC 9113 §6.9 has an error of the stream. Everything else passes untouched and without
//! being copied. A header block is held back until it is whole. The invariant: whatever is out of the ordinary (a broken
//! frame, a block beyond all limits) turns the filter off for good, and h2 judges the very bytes that came. The file stays
//! whole: half of it are tests, of one object.

use std::borrow::Cow;

use crate::http2::frames::{
    FrameHead, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADER, HEADERS, RST_STREAM, WINDOW_UPDATE,
};
use crate::http2::hpack::{forbidden, HeaderBlocks};
use crate::http2::stream_errors::StreamError;

/// RFC 9113 §6.5.2: the largest payload; we announce no other.
const LARGEST: usize = 16_384;

const PUSH_PROMISE: u8 = 5;
const PADDED: u8 = 0x8;
const PRIORITIZED: u8 = 0x20;

/// h2 ends a connection whose block has more frames than this: it takes five CONTINUATION frames, as many as a header list
/// of 64 KiB needs. So what is held back ends at 128 KiB.
const BLOCK_FRAMES: usize = 8;

/// Nobody has as many streams at a time. Beyond it the oldest is forgotten: h2 refused it, and it can have no trailers.
const RECEIVING: usize = 1024;

/// Is told what came, in order and once.
pub(super) trait FrameNotes {
    /// A frame that is none of a header block. `has_data`: it is DATA, and not of padding alone.
    fn frame(&mut self, head: &FrameHead, has_data: bool);

    /// A header block has begun and is not whole. May be told again of the same one.
    fn block_begins(&mut self);

    /// A header block is whole.
    fn block_ends(&mut self);

    /// A stream breaks a rule that h2 does not hold it to.
    fn breaks(&mut self, stream: u32, error: StreamError);
}

/// Nobody.
#[cfg(test)]
pub(super) struct Unheard;

#[cfg(test)]
impl FrameNotes for Unheard {
    fn frame(&mut self, _: &FrameHead, _: bool) {}
    fn block_begins(&mut self) {}
    fn block_ends(&mut self) {}
    fn breaks(&mut self, _: u32, _: StreamError) {}
}

/// One connection's incoming bytes.
pub(super) struct IncomingFilter {
    blocks: HeaderBlocks,
    /// What came of a frame or block that is not whole.
    held: Vec<u8>,
    /// So many bytes to come pass unseen.
    passing: usize,
    /// The streams whose requests have begun and not ended, as far as is known here: a further HEADERS frame brings trailers.
    /// In order; at most [`RECEIVING`].
    receiving: Vec<u32>,
    last_stream: u32,
    is_off: bool,
}

/// What becomes of what stands at the beginning of the bytes.
enum Filtering {
    /// So many bytes pass, whether they have come or not.
    Pass(usize),
    /// So many bytes go, and these come in their place.
    Replace(usize, Vec<u8>),
    /// More has to come first.
    Wait,
    /// This is nothing for a filter.
    Off,
}

impl IncomingFilter {
    /// Behind `passing` bytes that are no frames.
    pub(super) fn behind(passing: usize) -> IncomingFilter {
        IncomingFilter {
            blocks: HeaderBlocks::default(),
            held: Vec::new(),
            passing,
            receiving: Vec::new(),
            last_stream: 0,
            is_off: false,
        }
    }

    /// The beginning of a frame that has come alone, if it is no more than its header. Whoever has room for it reads on behind
    /// it, calls `resume`, and spares the next bytes a copy.
    pub(super) fn begun(&self) -> &[u8] {
        match self.held.len() {
            ..=HEADER => &self.held,
            _ => &[],
        }
    }

    /// What had `begun` comes once more, with more behind it.
    pub(super) fn resume(&mut self) {
        self.held.clear();
    }

    /// So many of the bytes that came pass as they are. Of the others those that pass already are appended to `out`.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, notes: &mut impl FrameNotes) -> usize {
        if !self.held.is_empty() {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            self.go_through(held, out, notes);
            return 0;
        }
        let mut at = 0;
        while at < bytes.len() {
            match self.verdict(&bytes[at..], notes) {
                Filtering::Pass(count) => at += self.pass(count, bytes.len() - at),
                Filtering::Off => return bytes.len(),
                Filtering::Wait => {
                    self.held = bytes[at..].to_vec();
                    break;
                }
                Filtering::Replace(count, new) => {
                    out.extend_from_slice(&new);
                    self.go_through(bytes[at + count..].to_vec(), out, notes);
                    break;
                }
            }
        }
        at
    }

    /// What is held back, to be given to h2 because no more comes.
    pub(super) fn leftover(&mut self) -> Vec<u8> {
        self.is_off = true;
        std::mem::take(&mut self.held)
    }

    fn go_through(&mut self, mut bytes: Vec<u8>, out: &mut Vec<u8>, notes: &mut impl FrameNotes) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.verdict(rest, notes) {
                Filtering::Pass(count) => {
                    let count = self.pass(count, rest.len());
                    out.extend_from_slice(&rest[..count]);
                    at += count;
                }
                Filtering::Off => {
                    out.extend_from_slice(rest);
                    return;
                }
                Filtering::Wait => {
                    bytes.drain(..at);
                    self.held = bytes;
                    return;
                }
                Filtering::Replace(count, new) => {
                    out.extend_from_slice(&new);
                    at += count;
                }
            }
        }
    }

    /// Of `count` bytes that pass `there` have come; answers how many pass now.
    fn pass(&mut self, count: usize, there: usize) -> usize {
        let now = count.min(there);
        self.passing = count - now;
        now
    }

    fn verdict(&mut self, bytes: &[u8], notes: &mut impl FrameNotes) -> Filtering {
        if self.is_off {
            return Filtering::Off;
        }
        if self.passing > 0 {
            return Filtering::Pass(self.passing);
        }
        let Some(frame) = FrameHead::of(bytes) else {
            return Filtering::Wait;
        };
        let verdict = match frame.kind {
            DATA => self.data(&frame, bytes, notes),
            HEADERS => self.block(&frame, bytes, notes),
            CONTINUATION | PUSH_PROMISE => Filtering::Off,
            WINDOW_UPDATE if frame.length == 4 && self.was_begun(frame.stream) => {
                match bytes.get(HEADER..HEADER + 4) {
                    None => return Filtering::Wait,
                    // The first bit is reserved.
                    Some([0 | 0x80, 0, 0, 0]) => {
                        notes.breaks(frame.stream, StreamError::WindowUpdateOfZero);
                        Filtering::Replace(HEADER + 4, Vec::new())
                    }
                    Some(_) => Filtering::Pass(HEADER + 4),
                }
            }
            _ => Filtering::Pass(HEADER + frame.length),
        };
        match frame.kind {
            DATA | HEADERS | CONTINUATION => {}
            RST_STREAM => {
                self.end(frame.stream);
                notes.frame(&frame, false);
            }
            _ => notes.frame(&frame, false),
        }
        self.is_off = matches!(verdict, Filtering::Off);
        verdict
    }

    fn data(&mut self, frame: &FrameHead, bytes: &[u8], notes: &mut impl FrameNotes) -> Filtering {
        let mut padding = 0;
        if frame.has(PADDED) && frame.length > 0 {
            let Some(length) = bytes.get(HEADER) else {
                return Filtering::Wait;
            };
            padding = 1 + usize::from(*length);
        }
        notes.frame(frame, frame.length > padding);
        if frame.has(END_STREAM) {
            self.end(frame.stream);
        } else if frame.length == 0 && frame.stream > 0 && !frame.has(PADDED) {
            return Filtering::Replace(HEADER, Vec::new());
        }
        Filtering::Pass(HEADER + frame.length)
    }

    /// Whether the client has begun this stream: of any other nothing may be said (RFC 9113 §5.1).
    fn was_begun(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream <= self.last_stream
    }

    /// The request of this stream is complete.
    fn end(&mut self, stream: u32) {
        if let Ok(place) = self.receiving.binary_search(&stream) {
            self.receiving.remove(place);
        }
    }

    /// A HEADERS frame, and the CONTINUATION frames that belong to it.
    fn block(&mut self, first: &FrameHead, bytes: &[u8], notes: &mut impl FrameNotes) -> Filtering {
        let mut frame = *first;
        let (mut frames, mut end) = (1, 0);
        let mut depends_on_itself = false;
        // Joined once the last one is there: whoever sends byte by byte must not have us copy the others each time.
        let mut fragments: [&[u8]; BLOCK_FRAMES] = [&[]; BLOCK_FRAMES];
        loop {
            if frame.length > LARGEST || frames > BLOCK_FRAMES {
                return Filtering::Off;
            }
            let start = end + HEADER;
            end = start + frame.length;
            let Some(payload) = bytes.get(start..end) else {
                notes.block_begins();
                return Filtering::Wait;
            };
            let fragment = if frames == 1 {
                let Some(fragment) = unpadded(&frame, payload) else {
                    return Filtering::Off;
                };
                depends_on_itself = fragment.depends_on == Some(frame.stream);
                fragment.block
            } else {
                payload
            };
            fragments[frames - 1] = fragment;
            if frame.has(END_HEADERS) {
                break;
            }
            frame = match FrameHead::of(&bytes[end..]) {
                None => {
                    notes.block_begins();
                    return Filtering::Wait;
                }
                Some(next) if next.kind == CONTINUATION && next.stream == first.stream => next,
                // RFC 9113 §6.10
                Some(_) => return Filtering::Off,
            };
            frames += 1;
        }
        notes.block_ends();
        let block = match &fragments[..frames] {
            [block] => Cow::Borrowed(*block),
            parts => Cow::Owned(parts.concat()),
        };
        let is_trailers = self.receiving.binary_search(&first.stream).is_ok();
        if first.has(END_STREAM) {
            self.end(first.stream);
        } else if first.stream > self.last_stream {
            if self.receiving.len() == RECEIVING {
                self.receiving.remove(0);
            }
            self.receiving.push(first.stream);
        }
        self.last_stream = self.last_stream.max(first.stream);
        let screened = self.blocks.screen(&block, is_trailers);
        if self.blocks.has_fragment() && matches!(screened, Ok(None)) {
            notes.breaks(first.stream, StreamError::Fragment);
        }
        match screened {
            // An error of the stream (RFC 7540 §5.3.1), for which h2 would not read the block, so that its table and the
            // client's would differ from here on.
            Ok(None) if depends_on_itself => Filtering::Replace(end, with_block(first, &forbidden(&block))),
            Ok(None) => Filtering::Pass(end),
            Ok(Some(new)) => Filtering::Replace(end, with_block(first, &new)),
            Err(_) => Filtering::Off,
        }
    }
}

/// What a HEADERS frame carries.
struct HeadersPayload<'a> {
    depends_on: Option<u32>,
    block: &'a [u8],
}

/// A HEADERS frame's payload, RFC 9113 §6.2. `None` if its lengths are wrong.
fn unpadded<'a>(frame: &FrameHead, mut payload: &'a [u8]) -> Option<HeadersPayload<'a>> {
    let mut padding = 0;
    if frame.has(PADDED) {
        let (length, rest) = payload.split_first()?;
        (padding, payload) = (usize::from(*length), rest);
    }
    let mut depends_on = None;
    if frame.has(PRIORITIZED) {
        let (parent, rest) = payload.split_first_chunk()?;
        depends_on = Some(u32::from_be_bytes(*parent) & 0x7fff_ffff);
        payload = rest.get(1..)?;
    }
    let block = payload.get(..payload.len().checked_sub(padding)?)?;
    Some(HeadersPayload { depends_on, block })
}

/// The same HEADERS frame with another block, without priority and padding, and as many CONTINUATION frames as it takes.
fn with_block(first: &FrameHead, block: &[u8]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(HEADER + block.len());
    let mut parts = block.chunks(LARGEST).peekable();
    let (mut kind, mut flags) = (HEADERS, first.flags & END_STREAM);
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            flags |= END_HEADERS;
        }
        frames.extend_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
        frames.extend_from_slice(&[kind, flags]);
        frames.extend_from_slice(&first.stream.to_be_bytes());
        frames.extend_from_slice(part);
        (kind, flags) = (CONTINUATION, 0);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let head = [
            &(payload.len() as u32).to_be_bytes()[1..],
            &[kind, flags],
            &stream.to_be_bytes(),
        ];
        [&head.concat(), payload].concat()
    }

    /// What h2 gets of these reads.
    fn filtered<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut filter, mut got) = (IncomingFilter::behind(3), Vec::new());
        for bytes in reads {
            let mut out = Vec::new();
            let passed = filter.take(bytes, &mut out, &mut Unheard);
            got.extend_from_slice(&bytes[..passed]);
            got.extend_from_slice(&out);
        }
        got.extend(filter.leftover());
        got
    }

    fn assert_filtered(bytes: &[u8], expected: &[u8]) {
        assert!(filtered([bytes]) == expected, "whole");
        assert!(filtered(bytes.chunks(1)) == expected, "byte by byte");
        for cut in 0..bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert!(filtered([left, right]) == expected, "cut at {cut}");
        }
    }

    /// `:method: GET`, and a header `a: a` by its letters.
    const GOOD: &[u8] = b"\x82\x00\x01a\x01a";
    const BAD: &[u8] = b"\x82\x00\x01A\x01a\x84";
    /// The bad line has gone, and `transfer-encoding` has come.
    const MENDED: &[u8] = b"\x82\x84\x0f\x2a\x00";

    #[test]
    fn what_is_in_order_passes_untouched() {
        let padded = [&[3][..], &[0, 0, 0, 0, 9], GOOD, &[0; 3]].concat();
        let (first, rest) = GOOD.split_at(3);
        let bytes = [
            b"pri".to_vec(),
            frame(4, 0, 0, &[0; 12]),
            frame(HEADERS, END_HEADERS, 1, GOOD),
            frame(DATA, 0, 1, b"data"),
            frame(DATA, END_STREAM, 1, b""),
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | PADDED | PRIORITIZED,
                3,
                &padded,
            ),
            frame(HEADERS, END_STREAM, 5, first),
            frame(CONTINUATION, 0, 5, b""),
            frame(CONTINUATION, END_HEADERS, 5, rest),
            frame(0xfe, 0xff, 7, b"unknown"),
        ]
        .concat();
        assert_filtered(&bytes, &bytes);
    }

    #[test]
    fn a_malformed_block_is_replaced_whatever_it_came_in() {
        let padded = [&[3][..], &[0, 0, 0, 0, 9], BAD, &[0; 3]].concat();
        let (first, rest) = BAD.split_at(4);
        let behind = frame(DATA, 0, 1, b"data");
        for frames in [
            frame(HEADERS, END_HEADERS | END_STREAM, 1, BAD),
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | PADDED | PRIORITIZED,
                1,
                &padded,
            ),
            [
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, END_HEADERS, 1, rest),
            ]
            .concat(),
        ] {
            let expected = frame(HEADERS, END_HEADERS | END_STREAM, 1, MENDED);
            assert_filtered(
                &[b"pri", frames.as_slice(), &behind].concat(),
                &[b"pri", expected.as_slice(), &behind].concat(),
            );
        }
    }

    #[test]
    fn a_block_of_a_stream_that_depends_on_itself_is_read_and_forbidden() {
        let with_parent = |parent: u32| [&parent.to_be_bytes()[..], &[9], GOOD].concat();
        let flags = END_HEADERS | PRIORITIZED;
        let bytes = [b"pri".to_vec(), frame(HEADERS, flags, 3, &with_parent(1))].concat();
        assert_filtered(&bytes, &bytes);
        let expected = frame(HEADERS, END_HEADERS, 3, &[GOOD, b"\x0f\x2a\x00"].concat());
        for parent in [3, 0x8000_0003] {
            let bytes = frame(HEADERS, flags, 3, &with_parent(parent));
            assert_filtered(
                &[b"pri", bytes.as_slice()].concat(),
                &[b"pri", expected.as_slice()].concat(),
            );
        }
    }

    #[test]
    fn a_long_malformed_block_leaves_in_several_frames() {
        let line = [&b"\x00\x01b\x7f\xa1\x9b\x01"[..], &[b'v'; 20_000]].concat();
        assert_eq!(line.len(), 20_007);
        let block = [BAD, &line].concat();
        let (first, rest) = block.split_at(10_000);
        let bytes = [
            frame(HEADERS, 0, 1, first),
            frame(CONTINUATION, END_HEADERS, 1, rest),
        ]
        .concat();
        let new = [&MENDED[..2], &line, &MENDED[2..]].concat();
        let (first, rest) = new.split_at(LARGEST);
        let expected = [
            frame(HEADERS, 0, 1, first),
            frame(CONTINUATION, END_HEADERS, 1, rest),
        ]
        .concat();
        assert!(filtered([b"pri", bytes.as_slice()]) == [b"pri", expected.as_slice()].concat());
    }

    #[test]
    fn empty_data_frames_vanish_unless_they_end_their_stream() {
        let bytes = [
            b"pri".to_vec(),
            frame(DATA, 0, 1, b""),
            frame(DATA, 0, 1, b"one"),
            frame(DATA, 0, 1, b""),
            frame(DATA, 0, 3, b""),
            frame(DATA, 0, 0, b""),
            frame(DATA, PADDED, 1, b"\0"),
            frame(DATA, END_STREAM, 1, b""),
        ];
        let expected = [0, 2, 5, 6, 7].map(|at: usize| bytes[at].clone()).concat();
        assert_filtered(&bytes.concat(), &expected);
    }

    /// What is told of a connection.
    #[derive(Default, Debug, PartialEq, Eq)]
    struct Heard {
        /// Kind, stream, whether there was data.
        frames: Vec<(u8, u32, bool)>,
        blocks: Vec<&'static str>,
        stream_errors: Vec<(u32, StreamError)>,
    }

    impl FrameNotes for Heard {
        fn frame(&mut self, head: &FrameHead, has_data: bool) {
            self.frames.push((head.kind, head.stream, has_data));
        }
        fn block_begins(&mut self) {
            if self.blocks.last() != Some(&"begins") {
                self.blocks.push("begins");
            }
        }
        fn block_ends(&mut self) {
            self.blocks.push("ends");
        }
        fn breaks(&mut self, stream: u32, error: StreamError) {
            self.stream_errors.push((stream, error));
        }
    }

    /// What passes of these reads, and what is told.
    fn heard<'a>(reads: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Heard) {
        let (mut filter, mut got, mut heard) = (IncomingFilter::behind(0), Vec::new(), Heard::default());
        for bytes in reads {
            let mut out = Vec::new();
            let passed = filter.take(bytes, &mut out, &mut heard);
            got.extend_from_slice(&bytes[..passed]);
            got.extend(out);
        }
        (got, heard)
    }

    #[test]
    fn every_frame_is_told_once_however_it_is_cut_and_padding_is_no_data() {
        let padded = |data: &[u8], padding: u8| [&[padding], data, &vec![0; padding.into()]].concat();
        let bytes = [
            frame(HEADERS, 0, 1, GOOD),
            frame(CONTINUATION, END_HEADERS, 1, b""),
            frame(DATA, 0, 1, b"data"),
            frame(DATA, PADDED, 1, &padded(b"data", 200)),
            frame(DATA, PADDED, 1, &padded(b"", 200)),
            frame(DATA, PADDED, 1, &padded(b"", 0)),
            frame(DATA, 0, 1, b""),
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            frame(RST_STREAM, 0, 1, &[0; 4]),
            frame(0xfe, 0, 0, b"unknown"),
        ]
        .concat();
        let (_, whole) = heard([&bytes[..]].into_iter());
        let data = [true, true, false, false, false].map(|has_data| (DATA, 1, has_data));
        let others = [
            (WINDOW_UPDATE, 1, false),
            (RST_STREAM, 1, false),
            (0xfe, 0, false),
        ];
        assert_eq!(whole.frames, [&data[..], &others].concat());
        assert_eq!((whole.blocks, whole.stream_errors), (vec!["ends"], vec![]));
        let (_, cut) = heard(bytes.chunks(1));
        assert_eq!(cut.frames, whole.frames);
        assert_eq!(cut.blocks, ["begins", "ends"]);
    }

    #[test]
    fn a_window_update_of_0_vanishes_and_is_told_if_its_stream_was_begun() {
        let zero = |stream| frame(WINDOW_UPDATE, 0, stream, &[0x80, 0, 0, 0]);
        let one = frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]);
        let request = frame(HEADERS, END_HEADERS, 3, GOOD);
        let others = [zero(0), zero(2), zero(5), frame(WINDOW_UPDATE, 0, 3, &[0; 3])].concat();
        let bytes = [request.clone(), zero(3), one.clone(), zero(1), others.clone()].concat();
        for reads in [bytes.chunks(bytes.len()), bytes.chunks(1)] {
            let (got, heard) = heard(reads);
            assert!(got == [request.clone(), one.clone(), others.clone()].concat());
            assert_eq!(
                heard.stream_errors,
                [3, 1].map(|stream| (stream, StreamError::WindowUpdateOfZero))
            );
        }
    }

    #[test]
    fn a_fragment_in_a_good_block_is_told() {
        let block = b"\x82\x04\x02/#";
        let bytes = [
            frame(HEADERS, END_HEADERS, 1, block),
            frame(HEADERS, END_HEADERS, 3, &[BAD, block].concat()),
        ]
        .concat();
        let (_, heard) = heard([&bytes[..]].into_iter());
        assert_eq!(
            heard.stream_errors,
            [(1, StreamError::Fragment)],
            "the other is reset"
        );
    }

    #[test]
    fn a_pseudo_header_is_malformed_in_trailers_alone() {
        let request = [
            frame(HEADERS, END_HEADERS, 1, GOOD),
            frame(HEADERS, END_HEADERS, 3, GOOD),
        ]
        .concat();
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, GOOD);
        let expected = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &[GOOD, b"\x0f\x2a\x00"].concat(),
        );
        assert_filtered(
            &[b"pri", request.as_slice(), &trailers, &trailers].concat(),
            // What follows the end of a stream breaks another rule, RFC 9113 §5.1.
            &[b"pri", request.as_slice(), &expected, &trailers].concat(),
        );
        for end in [
            frame(DATA, END_STREAM, 1, b"data"),
            frame(RST_STREAM, 0, 1, &[0; 4]),
        ] {
            let bytes = [b"pri", request.as_slice(), &end, &trailers].concat();
            assert_filtered(&bytes, &bytes);
        }
    }

    #[test]
    fn what_breaks_a_rule_of_the_connection_is_h2_s_from_there_on() {
        for broken in [
            frame(CONTINUATION, END_HEADERS, 1, GOOD),
            frame(PUSH_PROMISE, END_HEADERS, 1, GOOD),
            frame(HEADERS, END_HEADERS | PADDED, 1, &[200, 0]),
            frame(HEADERS, END_HEADERS | PRIORITIZED, 1, b"\0"),
            frame(HEADERS, END_HEADERS, 1, &[0; LARGEST + 1]),
            frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
            frame(HEADERS, END_HEADERS, 1, b"\xbe"),
            frame(HEADERS, END_HEADERS, 1, b"\x00\x7f"),
            [frame(HEADERS, 0, 1, GOOD), frame(DATA, 0, 1, b"data")].concat(),
            [
                frame(HEADERS, 0, 1, GOOD),
                frame(CONTINUATION, END_HEADERS, 3, GOOD),
            ]
            .concat(),
            [
                frame(HEADERS, 0, 1, GOOD),
                frame(CONTINUATION, 0, 1, GOOD).repeat(20),
            ]
            .concat(),
        ] {
            let behind = frame(HEADERS, END_HEADERS, 5, BAD);
            let bytes = [b"pri", broken.as_slice(), &behind, b"rest"].concat();
            for reads in [bytes.chunks(bytes.len()), bytes.chunks(1)] {
                assert!(filtered(reads) == bytes, "{:x?}", &broken[..20.min(broken.len())]);
            }
        }
    }

    #[test]
    fn a_header_of_a_frame_that_came_in_two_parts_may_be_read_in_one() {
        let bytes = frame(DATA, 0, 1, b"data");
        let (mut filter, mut out) = (IncomingFilter::behind(0), Vec::new());
        assert_eq!(filter.take(&bytes[..5], &mut out, &mut Unheard), 0);
        assert_eq!(filter.begun(), &bytes[..5]);
        filter.resume();
        assert_eq!(filter.take(&bytes, &mut out, &mut Unheard), bytes.len());
        assert!(out.is_empty() && filter.begun().is_empty());
    }

    #[test]
    fn what_is_cut_off_by_the_end_is_given_to_h2() {
        let bytes = [b"pri", &frame(HEADERS, END_HEADERS, 1, BAD)[..12]].concat();
        assert_filtered(&bytes, &bytes);
    }
}
