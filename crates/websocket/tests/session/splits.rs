//! How a stream is cut into reads changes nothing: neither messages nor answers nor the end. A rich script is cut at
//! every byte; random scripts are cut at random; and what a client builds by the letter comes out unchanged.

use fairlead_websocket::MessageKind::{Binary, Text};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::session_property::{check, Setting};
use crate::support::*;

/// Every kind of frame and every form of length, ended by `last`.
fn script(last: &[u8]) -> Vec<u8> {
    [
        text("hello"),
        binary(&[0xff; 125]),
        binary(&[0x80; 126]),
        frame(TEXT, "zwölf ".as_bytes()),
        frame(FIN | PING, b"between"),
        frame(CONTINUATION, &"Boxkämpfer €".as_bytes()[..14]),
        frame(FIN | PONG, b""),
        frame(CONTINUATION, b""),
        frame(FIN | CONTINUATION, &"Boxkämpfer €".as_bytes()[14..]),
        frame(FIN | PING, &[7; 125]),
        text(&"😀".repeat(100)),
        binary(b""),
        text(""),
        last.to_vec(),
        text("after the end"),
    ]
    .concat()
}

/// Ways to end, most of them wrong.
fn endings() -> Vec<Vec<u8>> {
    vec![
        vec![],
        close(1000, "bye"),
        frame(FIN | CLOSE, b""),
        frame(FIN | CLOSE, b"\x03"),
        close(1005, ""),
        frame(FIN | TEXT, b"caf\xc3\x28"),
        frame(FIN | CONTINUATION, b""),
        [frame(TEXT, b"a"), frame(TEXT, b"b")].concat(),
        vec![0xc1, 0x80],
        vec![FIN | 11, 0x80],
        vec![FIN | TEXT, 1],
        long_header(FIN | BINARY, 1 << 62),
        long_header(FIN | BINARY, 5),
        binary(&[0; 3000]),
    ]
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    for last in endings() {
        let stream = script(&last);
        for cut in 0..=stream.len() {
            check(Setting::default(), &stream, &[cut, stream.len()]);
        }
    }
}

#[test]
fn the_rest_of_a_cut_header_is_not_taken_for_a_frame() {
    // The length, the key and the unmasked payload all look like short, whole frames.
    let look_alike = [0x81, 0x80, 0x82, 0x81];
    let length = 0x8280u16;
    let mut stream = vec![FIN | BINARY, 0xfe];
    stream.extend(length.to_be_bytes());
    stream.extend(look_alike);
    stream.extend(look_alike.repeat(usize::from(length) / 4));
    for cut in 1..20 {
        let mut peer = Peer::new();
        peer.sends(&stream[..cut]).sends(&stream[cut..]);
        assert_eq!(
            peer.messages(),
            [(Binary, vec![0; usize::from(length)])],
            "cut at {cut}"
        );
    }
    let short = [&[FIN | BINARY, 0x80 | 100][..], &look_alike.repeat(26)].concat();
    for cut in 0..=short.len() {
        check(Setting::default(), &short, &[cut, short.len()]);
    }
}

#[test]
fn byte_by_byte_is_like_all_at_once() {
    for last in endings() {
        let stream = script(&last);
        check(Setting::default(), &stream, &[1]);
        check(Setting { close_first: true }, &stream, &[1]);
    }
}

#[test]
fn a_large_message_in_many_reads_arrives_whole() {
    let payload: Vec<u8> = (0..1_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    let stream = [
        frame(BINARY, &payload[..300_000]),
        frame(FIN | CONTINUATION, &payload[300_000..]),
    ]
    .concat();
    for read in [1_001, 16_384, 65_536, 999_999] {
        let mut peer = Peer::new();
        for piece in stream.chunks(read) {
            peer.sends(piece);
        }
        assert_eq!(peer.messages(), [(Binary, payload.clone())]);
    }
}

/// A frame that is often right.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![4 => 0u8..3, 2 => 8u8..11, 1 => 0u8..16];
    let payload = prop_oneof![
        vec(any::<u8>(), 0..20),
        ".{0,60}".prop_map(String::into_bytes),
        vec(any::<u8>(), 120..300)
    ];
    (any::<bool>(), opcode, payload)
        .prop_map(|(fin, opcode, payload)| frame(u8::from(fin) << 7 | opcode, &payload))
}

/// A valid message, in fragments cut anywhere, with pings between them.
fn any_message() -> impl Strategy<Value = (bool, Vec<u8>, Vec<usize>)> {
    let payload = prop_oneof![
        (Just(false), vec(any::<u8>(), 0..400)),
        (Just(true), ".{0,200}".prop_map(String::into_bytes)),
    ];
    (payload, vec(0usize..500, 0..5)).prop_map(|((is_text, payload), cuts)| (is_text, payload, cuts))
}

proptest! {
    #[test]
    fn random_frames_cut_at_random_give_the_same(frames in vec(any_frame(), 0..12), cuts in vec(1usize..40, 1..8)) {
        check(Setting::default(), &frames.concat(), &cuts);
    }

    #[test]
    fn random_bytes_cut_at_random_give_the_same(bytes in vec(any::<u8>(), 0..200), cuts in vec(1usize..9, 1..8)) {
        check(Setting::default(), &bytes, &cuts);
    }

    #[test]
    fn what_a_client_sends_is_what_an_application_reads(messages in vec(any_message(), 0..8), read in 1usize..200) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (is_text, payload, mut cuts) in messages {
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(payload.len()));
            cuts.sort_unstable();
            let (mut start, mut opcode) = (0, if is_text { TEXT } else { BINARY });
            for end in cuts {
                stream.extend(frame(opcode, &payload[start..end]));
                stream.extend(frame(FIN | PING, b"p"));
                (start, opcode) = (end, CONTINUATION);
            }
            stream.extend(frame(FIN | opcode, &payload[start..]));
            expected.push((if is_text { Text } else { Binary }, payload));
        }
        let mut peer = Peer::new();
        let mut received = Vec::new();
        for piece in stream.chunks(read) {
            received.extend(peer.sends(piece).messages());
        }
        prop_assert_eq!(peer.session.closed(), None);
        prop_assert_eq!(received, expected);
    }
}
