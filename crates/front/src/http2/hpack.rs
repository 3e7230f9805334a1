//! Malformed header blocks made such that the h2 crate resets their stream.
//!
//! RFC 9113 §8.1.1 makes a malformed request an error of its stream. h2 ends the connection for a name or value that it
//! cannot take in, because it stops in the middle of the block and no longer knows what HPACK's table holds (RFC 7541 §2.2).
//! So [`HeaderBlocks`] reads each block before: a good one stays as it is, byte for byte. In a malformed one every line that
//! h2 could not take in, or may forget to refuse, is replaced by one of the same size, so that h2's table and the client's go
//! on alike, and a line is added at the end that h2 knows to be forbidden.
//!
//! What breaks HPACK itself is an error of the connection, and h2's to say.

use crate::http2::hpack_table::{Broken, Fault, FieldKind, FieldName, HpackTable};
use crate::http2::huffman;

/// A literal that is not indexed (RFC 7541 §6.2.2) with the name 57 and no value: `transfer-encoding`, which HTTP/2 forbids
/// (RFC 9113 §8.2.2).
const FORBIDDEN: [u8; 3] = [0x0f, 57 - 15, 0];

/// Capacity that a connection keeps for texts between its requests.
const KEEP: usize = 1024;

/// Reads the header blocks of one connection in the order in which they come.
#[derive(Default)]
pub(super) struct HeaderBlocks {
    table: HpackTable,
    /// A text that was Huffman-coded.
    scratch: Vec<u8>,
    /// The last block's target has a fragment.
    has_fragment: bool,
}

impl HeaderBlocks {
    /// What is to be given to h2 in place of a malformed block; nothing for a good one. Behind an error the table is none.
    pub(super) fn screen(&mut self, block: &[u8], is_trailers: bool) -> Result<Option<Vec<u8>>, Broken> {
        let mut rest = Input(block);
        // What was gone through, once there is need of it.
        let mut new: Option<Vec<u8>> = None;
        let mut is_malformed = false;
        self.has_fragment = false;
        while let Some(first) = rest.0.first().copied() {
            let line = rest.0;
            let taken = |rest: &Input<'_>| &line[..line.len() - rest.0.len()];
            match first {
                0x80.. => {
                    let (name, fault) = self.table.line(rest.number(7)?)?;
                    self.has_fragment |= fault == Fault::Fragment;
                    is_malformed |= fault == Fault::Malformed || is_trailers && !name.kind.is_header();
                }
                0x20..=0x3f => self.table.resize(rest.number(5)?)?,
                _ => {
                    let is_indexed = first & 0x40 != 0;
                    let mut name = match rest.number(if is_indexed { 6 } else { 4 })? {
                        0 => FieldName::of(rest.text(&mut self.scratch)?),
                        index => self.table.line(index)?.0,
                    };
                    let kept = taken(&rest);
                    let value = rest.text(&mut self.scratch)?;
                    let is_bad = !name.kind.takes(value);
                    is_malformed |= is_bad || is_trailers && !name.kind.is_header();
                    let has_fragment = name.kind == FieldKind::Path && value.contains(&b'#');
                    self.has_fragment |= has_fragment;
                    let length = name.length + value.len();
                    if is_bad {
                        let new = new.get_or_insert_with(|| block[..block.len() - line.len()].to_vec());
                        // A line that is not indexed is needed no more.
                        if is_indexed && name.kind != FieldKind::Nameless && !value.is_empty() {
                            new.extend_from_slice(kept);
                            write_filler(value.len(), new);
                        } else if is_indexed {
                            // h2 knows it by another name then, so nothing may refer to it.
                            name.kind = FieldKind::Nameless;
                            new.push(0x40);
                            write_filler(1, new);
                            // One without a name and a value has no equal that h2 takes.
                            write_filler(length.checked_sub(1).ok_or(Broken)?, new);
                        }
                    }
                    if is_indexed {
                        let fault = match (is_bad, has_fragment) {
                            (true, _) => Fault::Malformed,
                            (false, true) => Fault::Fragment,
                            (false, false) => Fault::None,
                        };
                        self.table.insert(name, value.len(), fault);
                    }
                    if is_bad {
                        continue;
                    }
                }
            }
            if let Some(new) = &mut new {
                new.extend_from_slice(taken(&rest));
            }
        }
        if self.scratch.capacity() > KEEP {
            self.scratch = Vec::new();
        }
        if !is_malformed {
            return Ok(None);
        }
        Ok(Some(forbidden(new.as_deref().unwrap_or(block))))
    }

    /// Whether the target of the block that was read last has a fragment. h2 cuts it off, so that nobody behind would know.
    pub(super) fn has_fragment(&self) -> bool {
        self.has_fragment
    }
}

/// This block, for whose stream h2 has no other answer than a reset.
pub(super) fn forbidden(block: &[u8]) -> Vec<u8> {
    [block, &FORBIDDEN].concat()
}

/// A text of [`FILLER`](huffman::FILLER)s in Huffman code, which takes no more room than what it replaces.
fn write_filler(length: usize, into: &mut Vec<u8>) {
    // RFC 7541 §5.1, behind the bit of Huffman code.
    let mut coded = huffman::filler_length(length);
    if coded < 0x7f {
        into.push(0x80 | coded as u8);
    } else {
        into.push(0xff);
        coded -= 0x7f;
        while coded >= 0x80 {
            into.push(0x80 | (coded & 0x7f) as u8);
            coded >>= 7;
        }
        into.push(coded as u8);
    }
    huffman::fill(length, into);
}

/// What is left of a block.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// RFC 7541 §5.1; h2 takes five bytes at most.
    fn number(&mut self, prefix: u32) -> Result<usize, Broken> {
        let (first, mut rest) = self.0.split_first().ok_or(Broken)?;
        let mask = (1usize << prefix) - 1;
        let mut number = usize::from(*first) & mask;
        if number == mask {
            for shift in [0, 7, 14, 21] {
                let (byte, behind) = rest.split_first().ok_or(Broken)?;
                rest = behind;
                number += usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    self.0 = rest;
                    return Ok(number);
                }
            }
            return Err(Broken);
        }
        self.0 = rest;
        Ok(number)
    }

    /// RFC 7541 §5.2
    fn text<'b>(&mut self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], Broken>
    where
        'a: 'b,
    {
        let is_coded = self.0.first().ok_or(Broken)? & 0x80 != 0;
        let length = self.number(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        if !is_coded {
            return Ok(text);
        }
        scratch.clear();
        if !huffman::decode(text, scratch) {
            return Err(Broken);
        }
        Ok(scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line by its letters: a first byte, a name, a value.
    fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
        [&[first, name.len() as u8], name, &[value.len() as u8], value].concat()
    }

    fn screened(blocks: &mut HeaderBlocks, block: &[u8]) -> Option<Vec<u8>> {
        blocks.screen(block, false).expect("good HPACK")
    }

    fn assert_good(blocks: &mut HeaderBlocks, block: &[u8]) {
        assert_eq!(screened(blocks, block), None);
    }

    fn with_forbidden(parts: &[&[u8]]) -> Option<Vec<u8>> {
        Some([&parts.concat()[..], &FORBIDDEN].concat())
    }

    const NAMED: u8 = 0x40;
    const PLAIN: u8 = 0x00;
    const NEVER: u8 = 0x10;

    #[test]
    fn the_examples_of_rfc_7541_pass_and_fill_the_table() {
        // Appendix C.4: three requests, Huffman-coded.
        let mut blocks = HeaderBlocks::default();
        for (block, size) in [
            (&b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], 57),
            (b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf", 110),
            (
                b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
                164,
            ),
        ] {
            assert_good(&mut blocks, block);
            assert_eq!(blocks.table.size(), size);
        }
    }

    #[test]
    fn a_line_that_is_not_indexed_goes() {
        for first in [PLAIN, NEVER] {
            let mut blocks = HeaderBlocks::default();
            let block = [b"\x82", &literal(first, b"X", b"v")[..], b"\x84"].concat();
            assert_eq!(screened(&mut blocks, &block), with_forbidden(&[b"\x82\x84"]));
            assert_eq!(blocks.table.size(), 0);
        }
    }

    #[test]
    fn a_line_that_is_indexed_keeps_its_size_in_the_table() {
        let mut blocks = HeaderBlocks::default();
        let block = [literal(NAMED, b"X-Up", b"value"), literal(NAMED, b"x-good", b"v")].concat();
        // A letter for the name, eight for the value.
        let filler = b"\x40\x81\x1f\x85\x18\xc6\x31\x8c\x63";
        let expected = with_forbidden(&[filler, &literal(NAMED, b"x-good", b"v")]);
        assert_eq!(screened(&mut blocks, &block), expected);
        assert_eq!(blocks.table.size(), 4 + 5 + 32 + 6 + 1 + 32);
        // Whoever refers to it gets what is malformed again, and the good one is where it was.
        assert_eq!(screened(&mut blocks, b"\xbf"), with_forbidden(&[b"\xbf"]));
        assert_eq!(screened(&mut blocks, b"\x0f\x30\x01v"), with_forbidden(&[]));
        assert_good(&mut blocks, b"\xbe");
        assert_good(&mut blocks, b"\x0f\x2f\x01v");
    }

    #[test]
    fn a_good_name_of_a_bad_value_can_be_referred_to() {
        let mut blocks = HeaderBlocks::default();
        let block = literal(NAMED, b"x-value", b"a\0b");
        let expected = with_forbidden(&[b"\x40\x07x-value\x82\x18\xc7"]);
        assert_eq!(screened(&mut blocks, &block), expected);
        assert_eq!(screened(&mut blocks, b"\xbe"), with_forbidden(&[b"\xbe"]));
        assert_good(&mut blocks, b"\x0f\x2f\x01v");
    }

    #[test]
    fn names_of_the_static_table_are_known() {
        let mut blocks = HeaderBlocks::default();
        for (bad, expected) in [
            (&b"\x04\x02/\xff"[..], &b""[..]),                  // :path
            (b"\x44\x02/\xff", b"\x44\x82\x18\xff"),            // the same, indexed
            (b"\x02\x03G T", b""),                              // :method
            (b"\x42\x00", b"\x40\x81\x1f\x84\x18\xc6\x31\x8f"), // none; seven letters in all
            (b"\x08\x03200", b""),                              // :status
            (b"\x88", b"\x88"),                                 // the same from the table
            (b"\x0f\x2b\x03a\nb", b""),                         // user-agent
        ] {
            let expected = with_forbidden(&[expected]);
            assert_eq!(screened(&mut blocks, bad), expected, "{bad:x?}");
        }
        assert_good(&mut blocks, b"\x04\x01/\x02\x03GET\x0f\x2b\x01a\x82\x84\x90");
    }

    #[test]
    fn a_line_that_h2_knows_by_another_name_cannot_be_referred_to() {
        let mut blocks = HeaderBlocks::default();
        assert!(
            screened(&mut blocks, b"\x42\x00").is_some(),
            "`:method` without a value"
        );
        assert_eq!(screened(&mut blocks, b"\x0f\x2f\x03GET"), with_forbidden(&[]));
        assert_eq!(screened(&mut blocks, b"\xbe"), with_forbidden(&[b"\xbe"]));
    }

    #[test]
    fn a_fragment_is_seen_by_its_letters_and_in_the_table() {
        let mut blocks = HeaderBlocks::default();
        for (block, expected) in [
            (&b"\x04\x02/#"[..], true),
            (b"\x04\x01/", false),
            (b"\x44\x04/a#b", true),
            (b"\x82", false),
            (b"\xbe", true),
            (b"\x0f\x2b\x01#", false), // user-agent
        ] {
            assert_good(&mut blocks, block);
            assert_eq!(blocks.has_fragment(), expected, "{block:x?}");
        }
    }

    #[test]
    fn pseudo_headers_are_malformed_in_trailers_however_they_are_written() {
        for block in [
            &b"\x84"[..],
            b"\x04\x01/",
            b"\x00\x05:path\x01/",
            b"\x00\x02:x\x01/",
        ] {
            let new = HeaderBlocks::default().screen(block, true).expect("good HPACK");
            assert!(new.is_some_and(|new| new.ends_with(&FORBIDDEN)), "{block:x?}");
        }
        assert_eq!(HeaderBlocks::default().screen(b"\x00\x01x\x01v", true), Ok(None));
    }

    #[test]
    fn what_breaks_hpack_is_an_error_wherever_it_is_cut() {
        let good = b"\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        for length in 1..good.len() {
            assert_eq!(
                HeaderBlocks::default().screen(&good[..length], false),
                Err(Broken),
                "{length}"
            );
        }
        for broken in [
            &b"\x80"[..],
            b"\xbe",
            b"\xff\xff\xff\xff\xff\xff",
            b"\x40\x00\x00",
            b"\x00\x81\x00\x01v",
        ] {
            assert_eq!(
                HeaderBlocks::default().screen(broken, false),
                Err(Broken),
                "{broken:x?}"
            );
        }
    }

    #[test]
    fn a_block_never_grows_by_more_than_the_line_that_is_forbidden() {
        // Any bytes at all, from a small generator.
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        for _ in 0..20_000 {
            let mut blocks = HeaderBlocks::default();
            let mut block = Vec::new();
            for _ in 0..1 + next() % 4 {
                let first = [NAMED, PLAIN, NEVER][next() % 3];
                let (name, value) = (next() % 5, next() % 9);
                let name: Vec<u8> = (0..name).map(|_| b"ab:XY\0"[next() % 6]).collect();
                let value: Vec<u8> = (0..value).map(|_| b"ab\n\xff"[next() % 4]).collect();
                block.extend(literal(first, &name, &value));
            }
            if let Ok(Some(new)) = blocks.screen(&block, false) {
                assert!(new.len() <= block.len() + FORBIDDEN.len(), "{block:x?}");
                // And what h2 reads instead fills its table alike, and is malformed for one line only.
                let mut theirs = HeaderBlocks::default();
                let rest = new.len() - FORBIDDEN.len();
                assert_eq!(theirs.screen(&new[..rest], false), Ok(None), "{block:x?}");
                assert_eq!(theirs.table.sizes(), blocks.table.sizes());
            }
        }
    }
}
