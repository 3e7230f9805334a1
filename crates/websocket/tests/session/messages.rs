//! Data messages: assembling, interleaved control frames, UTF-8, back-pressure and buffers. RFC 6455 §5.4 to §5.6, §8.

use crate::support::*;
use fairlead_websocket::MessageKind::{Binary, Text};
use fairlead_websocket::{Limits, PeerError, UsageError};

#[test]
fn fragments_become_one_message() {
    let mut peer = Peer::new();
    peer.sends(
        [
            frame(TEXT, b"one, "),
            frame(CONTINUATION, b""),
            frame(CONTINUATION, b"two, "),
        ]
        .concat(),
    );
    assert_eq!(peer.session.message(), None);
    peer.sends(frame(FIN | CONTINUATION, b"three"))
        .sends(binary(b""))
        .sends(text(""));
    let expected = [
        (Text, b"one, two, three".to_vec()),
        (Binary, vec![]),
        (Text, vec![]),
    ];
    assert_eq!(peer.messages(), expected);
}

#[test]
fn control_frames_between_fragments_are_answered_at_once() {
    let mut peer = Peer::new();
    peer.sends(
        [
            frame(BINARY, b"a"),
            frame(FIN | PING, b"now"),
            frame(FIN | PONG, b"?"),
        ]
        .concat(),
    );
    assert_eq!(peer.hears(), [(FIN | PONG, b"now".to_vec())]);
    peer.sends(frame(FIN | CONTINUATION, b"b"));
    assert_eq!(peer.messages(), [(Binary, b"ab".to_vec())]);
    let counters = peer.session.counters();
    assert_eq!(
        (
            counters.pings_in,
            counters.pongs_out,
            counters.pongs_in,
            counters.messages_in
        ),
        (1, 1, 1, 1)
    );
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let mut peer = Peer::new();
    for length in [0, 1, 124, 125] {
        let payload = vec![length as u8; length];
        peer.sends(frame(FIN | PING, &payload));
        assert_eq!(peer.hears(), [(FIN | PONG, payload)]);
    }
}

#[test]
fn an_unasked_pong_is_ignored() {
    let mut peer = Peer::new();
    peer.sends(frame(FIN | PONG, b"nobody asked"));
    assert_eq!((peer.hears(), peer.session.closed()), (vec![], None));
}

#[test]
fn text_that_is_not_utf8_ends_the_session_with_1007() {
    let fails = |payload: &[u8], size: usize| {
        let mut peer = Peer::new();
        let bytes = [text("fine"), frame(FIN | TEXT, payload), text("never read")].concat();
        for piece in bytes.chunks(size) {
            peer.sends(piece);
        }
        assert_eq!(peer.closure().error, Some(PeerError::TextNotUtf8), "{payload:x?}");
        assert_eq!((peer.hears_close(), peer.messages().len()), (1007, 1));
    };
    for payload in [
        &b"\xff"[..],
        b"caf\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a\x80b",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"text \xf4\x8f\xbf",
    ] {
        fails(payload, usize::MAX);
        fails(payload, 1);
    }
    // Every first byte of a character with every second one, which decides for longer characters too.
    for pair in 0xc000..=u16::MAX {
        let pair = pair.to_be_bytes();
        if std::str::from_utf8(&pair).is_err() {
            fails(&pair, usize::MAX);
        }
    }
}

#[test]
fn text_fails_at_its_first_impossible_byte_even_inside_a_frame() {
    let mut peer = Peer::new();
    let whole = frame(
        FIN | TEXT,
        &[&"é".repeat(500).into_bytes()[..], b"\xf4\x90", &[b'x'; 500]].concat(),
    );
    let hopeless = 8 + 1000 + 2;
    peer.sends(&whole[..hopeless - 1]);
    assert_eq!(peer.session.closed(), None);
    peer.sends(&whole[hopeless - 1..hopeless]);
    assert_eq!(peer.closure().error, Some(PeerError::TextNotUtf8));
}

#[test]
fn a_character_may_be_cut_by_fragments_but_not_by_the_end_of_the_message() {
    let mut peer = Peer::new();
    let [a, b, c] = *"€".as_bytes() else {
        panic!("three bytes")
    };
    peer.sends(
        [
            frame(TEXT, &[a]),
            frame(CONTINUATION, &[b]),
            frame(FIN | CONTINUATION, &[c]),
        ]
        .concat(),
    );
    assert_eq!(peer.messages(), [(Text, "€".into())]);
    peer.sends([frame(TEXT, &[a, b]), frame(FIN | CONTINUATION, b"")].concat());
    assert_eq!(peer.closure().error, Some(PeerError::TextNotUtf8));
}

#[test]
fn binary_messages_may_hold_anything() {
    let mut peer = Peer::new();
    let payload: Vec<u8> = (0..=255).collect();
    peer.sends(binary(&payload))
        .sends(frame(BINARY, &payload))
        .sends(frame(FIN | CONTINUATION, &payload));
    assert_eq!(
        peer.messages(),
        [(Binary, payload.clone()), (Binary, payload.repeat(2))]
    );
}

#[test]
fn reading_stops_at_the_mark_and_goes_on_below_it() {
    let mut peer = Peer::with_limits(Limits {
        inbox_mark: 300,
        ..limits()
    });
    peer.sends(binary(&[1; 280]));
    assert!(peer.session.wants_input());
    peer.sends(binary(&[2; 100])).sends(binary(&[3; 100]));
    assert!(!peer.session.wants_input());
    assert_eq!(
        (peer.session.queued_messages(), peer.session.queued_bytes()),
        (3, 480 + 3 * 8)
    );
    peer.session.consume_message();
    assert!(peer.session.wants_input());
}

#[test]
fn empty_messages_count_towards_the_mark() {
    let mut peer = Peer::with_limits(Limits {
        inbox_mark: 80,
        ..limits()
    });
    peer.sends(binary(b"").repeat(9));
    assert!(peer.session.wants_input());
    peer.sends(binary(b""));
    assert!(!peer.session.wants_input());
}

#[test]
fn an_unfinished_message_does_not_stop_reading() {
    let mut peer = Peer::with_limits(Limits {
        inbox_mark: 100,
        ..limits()
    });
    peer.sends(frame(BINARY, &[0; 5000]));
    assert!(peer.session.wants_input());
}

#[test]
fn a_pooled_buffer_serves_one_session_after_another() {
    let (mut first, mut second) = (Peer::new(), Peer::new());
    first.sends(binary(&[7; 10_000]));
    assert_eq!(first.session.take_spare_buffer(), None, "a message is waiting");
    first.messages();
    first.sends(frame(BINARY, b"part"));
    assert_eq!(first.session.take_spare_buffer(), None, "a message is arriving");
    first.sends(frame(FIN | CONTINUATION, b"")).messages();
    let buffer = first.session.take_spare_buffer().expect("the inbox is empty");
    let capacity = buffer.capacity();
    assert_eq!(first.session.buffer_capacity(), 0);
    second.session.lend_buffer(buffer);
    second.sends(text("in a used buffer"));
    assert_eq!(second.session.buffer_capacity(), capacity);
    assert_eq!(second.messages(), [(Text, b"in a used buffer".to_vec())]);
    second.session.release_buffers();
    assert_eq!(second.session.buffer_capacity(), 0);
}

#[test]
fn a_message_is_sent_in_one_unmasked_frame() {
    let mut peer = Peer::new();
    for length in [0, 125, 126, 65_535, 65_536] {
        let payload = vec![b'x'; length];
        peer.session
            .send(Text, &payload, &mut peer.out)
            .expect("the session is open");
        let frame = peer.session.frame(Text, &payload).expect("the session is open");
        assert_eq!(peer.out, [frame.header(), frame.payload()].concat());
        assert_eq!(peer.out.len(), frame.size());
        assert_eq!(peer.hears(), [(FIN | TEXT, payload)]);
    }
    peer.session
        .send(Binary, b"\xff", &mut peer.out)
        .expect("the session is open");
    assert_eq!(peer.hears(), [(FIN | BINARY, b"\xff".to_vec())]);
    assert_eq!(peer.session.counters().messages_out, 11);
}

#[test]
fn an_application_may_send_pings_of_its_own() {
    let mut peer = Peer::new();
    peer.session
        .ping(b"mine", &mut peer.out)
        .expect("the session is open");
    assert_eq!(peer.hears(), [(FIN | PING, b"mine".to_vec())]);
    assert_eq!(
        peer.session.ping(&[0; 126], &mut peer.out),
        Err(UsageError::LongPing(126))
    );
    assert_eq!(peer.hears(), []);
}

#[test]
fn payload_is_counted_without_headers_and_control_frames_wherever_the_input_is_cut() {
    let long = vec![b'x'; 70_000];
    let input = [
        text("short"),
        frame(FIN | PING, b"not counted"),
        frame(TEXT, b"frag"),
        frame(FIN | CONTINUATION, b"ments"),
        binary(&long),
        close(1000, "not counted"),
    ]
    .concat();
    for piece in [1, 7, 1000, usize::MAX] {
        let mut peer = Peer::new();
        for part in input.chunks(piece.min(input.len())) {
            peer.sends(part);
        }
        let counters = peer.session.counters();
        assert_eq!(counters.payload_in, 5 + 9 + 70_000, "in pieces of {piece}");
        assert_eq!(counters.bytes_in, input.len() as u64);
        assert_eq!(counters.payload_out, 0, "a Pong and a Close");
    }
    let mut peer = Peer::new();
    peer.session
        .send(Text, b"four", &mut peer.out)
        .expect("the session is open");
    peer.session.count_sent(2, 300, 292).expect("the session is open");
    assert_eq!(peer.session.counters().payload_out, 296);
}
