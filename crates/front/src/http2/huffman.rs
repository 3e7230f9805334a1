//! The Huffman code of HPACK, RFC 7541 §5.2 and Appendix B.
//!
//! The code is canonical, so the lengths say it all: among codes of one length the symbols stand in their order, and each
//! length goes on where the shorter one ended.

/// The bits of each byte's code, and of the end's, which must not occur.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const SYMBOLS: usize = 257;
const LONGEST: usize = 30;
const END: u16 = 256;

/// The code as it is read.
struct Code {
    /// All symbols, those with shorter codes first.
    order: [u16; SYMBOLS],
    /// For each length: the first 32 bits that begin no code of it or of a shorter one.
    bound: [u64; LONGEST + 1],
    /// For each length: its first code, and where in `order` that stands.
    first: [(u32, usize); LONGEST + 1],
    /// By the first byte, for codes that fit into it, nearly all that occur: symbol and length. The length 0 says: longer.
    short: [(u8, u8); 256],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut code = Code {
        order: [0; SYMBOLS],
        bound: [0; LONGEST + 1],
        first: [(0, 0); LONGEST + 1],
        short: [(0, 0); 256],
    };
    let (mut next, mut place, mut length) = (0u32, 0usize, 1usize);
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = (next, place);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                code.order[place] = symbol as u16;
                let mut rest = 0;
                while length <= 8 && rest < 1 << (8 - length) {
                    code.short[((next as usize) << (8 - length)) + rest] = (symbol as u8, length as u8);
                    rest += 1;
                }
                place += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.bound[length] = (next as u64) << (32 - length);
        length += 1;
    }
    code
}

/// Appends what `coded` says; false if it is broken: it holds the end's code, or ends otherwise than with less than eight
/// bits of it.
pub(super) fn decode(coded: &[u8], into: &mut Vec<u8>) -> bool {
    let mut bytes = coded.iter();
    // The bits that are to come, the first one highest.
    let (mut bits, mut count) = (0u64, 0usize);
    loop {
        while count <= 56 {
            let Some(byte) = bytes.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        if count < 8 && bits.count_ones() as usize == count && bits.leading_ones() as usize == count {
            return true;
        }
        let (symbol, length) = match CODE.short[(bits >> 56) as usize] {
            (_, 0) => {
                let head = bits >> 32;
                let Some(length) = (9..=LONGEST).find(|length| head < CODE.bound[*length]) else {
                    return false;
                };
                let (first, place) = CODE.first[length];
                let symbol = CODE.order[place + ((head >> (32 - length)) as u32 - first) as usize];
                if symbol == END {
                    return false;
                }
                (symbol as u8, length)
            }
            (symbol, length) => (symbol, usize::from(length)),
        };
        if length > count {
            return false;
        }
        into.push(symbol);
        bits <<= length;
        count -= length;
    }
}

/// So many bytes of code stand for `count` times the letter [`FILLER`].
pub(super) fn filler_length(count: usize) -> usize {
    (count * 5).div_ceil(8)
}

/// A letter whose code, 00011, is one of the shortest: no other text of its length takes less.
#[cfg(test)]
pub(super) const FILLER: u8 = b'a';

/// Appends the code of `count` times [`FILLER`].
pub(super) fn fill(count: usize, into: &mut Vec<u8>) {
    // Eight of them are five bytes.
    const EIGHT: [u8; 5] = [0x18, 0xc6, 0x31, 0x8c, 0x63];
    let length = filler_length(count);
    into.extend(EIGHT.iter().cycle().take(length));
    let rest = count * 5 % 8;
    if let (1.., Some(last)) = (rest, into.last_mut()) {
        *last |= 0xff >> rest;
    }
}

/// What a client would send, in the slow and plain way.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut bits = String::new();
    for byte in text {
        let place = CODE
            .order
            .iter()
            .position(|symbol| *symbol == u16::from(*byte))
            .expect("a symbol");
        let length = usize::from(LENGTHS[usize::from(*byte)]);
        let (first, start) = CODE.first[length];
        bits.push_str(&format!("{:0length$b}", first as usize + place - start));
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    (0..bits.len())
        .step_by(8)
        .map(|at| u8::from_str_radix(&bits[at..at + 8], 2).expect("bits"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(coded, &mut text).then_some(text)
    }

    #[test]
    fn the_examples_of_rfc_7541_are_read() {
        for (coded, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (b"", ""),
        ] {
            assert_eq!(decoded(coded).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn every_byte_is_read_wherever_it_stands() {
        for byte in 0..=255 {
            for text in [
                vec![byte],
                vec![b'a', byte],
                vec![byte, byte, b'z'],
                vec![byte; 9],
            ] {
                assert_eq!(decoded(&encode(&text)), Some(text));
            }
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(b"\x1f").as_deref(), Some(&b"a"[..]));
        for broken in [
            &b"\x1e"[..],
            b"\x18",
            b"\x1f\xff",
            b"\xff",
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\xfc",
            b"\x00\x00",
        ] {
            assert_eq!(decoded(broken), None, "{broken:x?}");
        }
    }

    #[test]
    fn filler_is_read_as_so_many_letters() {
        for count in 0..100 {
            let mut coded = Vec::new();
            fill(count, &mut coded);
            assert_eq!(coded, encode(&vec![FILLER; count]));
            assert_eq!(decoded(&coded), Some(vec![FILLER; count]));
        }
    }
}
