//! How sessions end: RFC 6455 §5.5.1, §7.1 and §7.4.

use crate::support::*;
use fairlead_websocket::{Cause, CloseCode, ClosedBy, Lost, MessageKind, PeerError, Transport, UsageError};

#[test]
fn a_close_is_answered_with_its_code_and_the_server_closes_tcp_first() {
    let mut peer = Peer::new();
    peer.sends([text("last words"), close(1001, "leaving"), text("ignored")].concat());
    assert_eq!(peer.hears(), [(FIN | CLOSE, 1001u16.to_be_bytes().to_vec())]);
    let closure = peer.closure();
    assert_eq!(
        (closure.code, closure.reason.as_str(), closure.by),
        (1001, "leaving", ClosedBy::Peer)
    );
    assert_eq!(closure.error, None);
    assert_eq!(peer.transport(), Transport::Closing);
    assert_eq!(peer.messages(), [(MessageKind::Text, b"last words".to_vec())]);
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    let mut peer = Peer::new();
    peer.sends(frame(FIN | CLOSE, b""));
    assert_eq!(peer.hears(), [(FIN | CLOSE, vec![])]);
    assert_eq!((peer.closure().code, peer.closure().by), (1005, ClosedBy::Peer));
}

#[test]
fn a_bad_close_is_answered_with_a_protocol_error() {
    for (body, answer, error) in [
        (&b"\x03"[..], 1002, PeerError::CloseBodyTooShort),
        (b"\x03\xed", 1002, PeerError::InvalidCloseCode(1005)),
        (b"\x0b\xb7", 1002, PeerError::InvalidCloseCode(2999)),
        (b"\x03\xe8\xc0", 1007, PeerError::CloseReasonNotUtf8),
    ] {
        let mut peer = Peer::new();
        peer.sends(frame(FIN | CLOSE, body));
        assert_eq!(
            (peer.hears_close(), peer.transport()),
            (answer, Transport::Closing)
        );
        let closure = peer.closure();
        assert_eq!(
            (closure.code, closure.by, closure.error),
            (answer, ClosedBy::Peer, Some(error))
        );
    }
}

#[test]
fn a_close_inside_a_fragmented_message_drops_the_fragments() {
    let mut peer = Peer::new();
    peer.sends([binary(b"whole"), frame(TEXT, b"half"), close(1000, "")].concat());
    assert_eq!(peer.hears_close(), 1000);
    assert_eq!(peer.messages(), [(MessageKind::Binary, b"whole".to_vec())]);
    assert_eq!(peer.session.buffer_capacity(), 0);
}

#[test]
fn a_session_that_is_over_keeps_no_more_than_its_complete_messages() {
    let half = || [binary(&[7; 100]), frame(BINARY, &[7; 900_000])].concat();
    type End = fn(&mut Peer);
    let ends: [(&str, End); 5] = [
        ("the stream ended", |peer| {
            peer.session.receive_eof(peer.now);
        }),
        ("reset", |peer| peer.session.lost(Lost::Reset, peer.now)),
        ("closed by the peer", |peer| {
            peer.sends(close(1000, ""));
        }),
        ("closed by us", |peer| {
            peer.closes(1000, "");
        }),
        ("failed", |peer| {
            peer.sends(frame(FIN | TEXT, b"begun before the other was finished"));
        }),
    ];
    for (name, end) in ends {
        let mut peer = Peer::new();
        peer.sends(half());
        assert!(peer.session.buffer_capacity() > 900_000);
        end(&mut peer);
        let kept = peer.session.buffer_capacity();
        assert!(kept < 1000, "{name}: {kept} bytes for a message of 100");
        assert_eq!(peer.messages(), [(MessageKind::Binary, vec![7; 100])], "{name}");
        assert_eq!(peer.session.buffer_capacity(), 0, "{name}: all was taken");
    }
}

#[test]
fn a_local_close_reads_on_until_the_peer_s_close() {
    let mut peer = Peer::new();
    peer.sends([text("kept"), frame(TEXT, b"lost, ")].concat())
        .closes(4000, "done");
    assert_eq!(peer.hears(), [(FIN | CLOSE, b"\x0f\xa0done".to_vec())]);
    let closure = peer.closure().clone();
    assert_eq!(
        (closure.code, closure.reason.as_str(), closure.by),
        (4000, "done", ClosedBy::Local(Cause::Application))
    );
    peer.sends(
        [
            frame(FIN | CONTINUATION, b"too"),
            text("\u{0}late"),
            frame(FIN | PING, b""),
        ]
        .concat(),
    );
    assert_eq!(peer.transport(), Transport::Open);
    peer.sends(close(1000, "yes"));
    assert_eq!((peer.transport(), peer.hears()), (Transport::Closing, vec![]));
    assert_eq!(*peer.closure(), closure, "the first cause stays");
    assert_eq!(peer.messages(), [(MessageKind::Text, b"kept".to_vec())]);
    peer.session.receive_eof(peer.now);
    assert_eq!((peer.transport(), peer.closure()), (Transport::Gone, &closure));
}

#[test]
fn nothing_is_sent_after_a_close() {
    let by_peer = |peer: &mut Peer| drop(peer.sends(close(1000, "")).hears());
    let by_us = |peer: &mut Peer| drop(peer.closes(1000, "").hears());
    let by_error = |peer: &mut Peer| drop(peer.sends([FIN | 3, 0x80]).hears());
    for end in [by_peer as fn(&mut Peer), by_us, by_error] {
        let mut peer = Peer::new();
        end(&mut peer);
        let Peer { session, out, now } = &mut peer;
        assert_eq!(
            session.send(MessageKind::Text, b"x", out),
            Err(UsageError::Closed)
        );
        assert_eq!(
            session.frame(MessageKind::Text, b"x").err(),
            Some(UsageError::Closed)
        );
        assert_eq!(session.ping(b"", out), Err(UsageError::Closed));
        assert_eq!(session.close(CloseCode::NORMAL, "again", *now, out), Ok(()));
        peer.sends(frame(FIN | PING, b"?"))
            .sends([FIN | 3, 0])
            .waits(100_000);
        assert_eq!(peer.hears(), []);
        assert_eq!(peer.session.counters().messages_out, 0);
    }
}

#[test]
fn a_code_that_must_not_travel_is_refused_and_changes_nothing() {
    let mut peer = Peer::new();
    for code in [0, 1005, 1006, 1015, 2000, 5000] {
        let refusal = peer.session.close(CloseCode(code), "", peer.now, &mut peer.out);
        assert_eq!(refusal, Err(UsageError::InvalidCloseCode(code)));
    }
    assert_eq!((peer.hears(), peer.session.closed()), (vec![], None));
}

#[test]
fn a_long_reason_is_cut_to_fit_a_control_frame() {
    let mut peer = Peer::new();
    peer.closes(1000, &"ü".repeat(100));
    assert_eq!(peer.hears()[0].1.len(), 2 + 122);
    assert_eq!(peer.closure().reason, "ü".repeat(61));
}

#[test]
fn a_peer_that_does_not_answer_a_close_is_dropped_in_time() {
    let mut peer = Peer::new();
    peer.closes(1000, "");
    assert_eq!(
        peer.session
            .deadline()
            .map(|time| time.saturating_since(peer.now).as_secs()),
        Some(5)
    );
    assert_eq!(peer.waits(4_999).transport(), Transport::Open);
    assert_eq!(peer.waits(1).transport(), Transport::Gone);
    assert_eq!(
        (peer.session.deadline(), peer.session.wants_input()),
        (None, false)
    );
    assert_eq!(peer.closure().by, ClosedBy::Local(Cause::Application));
}

#[test]
fn a_closed_connection_does_not_linger_beyond_the_time_out() {
    let mut peer = Peer::new();
    peer.sends(close(1000, "")).waits(4_999);
    assert_eq!(
        (peer.transport(), peer.session.wants_input()),
        (Transport::Closing, true)
    );
    assert_eq!(peer.waits(1).transport(), Transport::Gone);
}

#[test]
fn the_end_of_the_stream_without_a_close_is_a_loss() {
    for why in [
        Lost::Eof,
        Lost::Reset,
        Lost::SendTimeout,
        Lost::NotReading,
        Lost::Dropped,
    ] {
        let mut peer = Peer::new();
        peer.sends([text("kept"), frame(TEXT, b"half")].concat());
        match why {
            Lost::Eof => peer.session.receive_eof(peer.now),
            other => peer.session.lost(other, peer.now),
        }
        let closure = peer.closure();
        assert_eq!(
            (closure.code, closure.by, closure.error),
            (1006, ClosedBy::Lost(why), None)
        );
        assert_eq!(
            (peer.transport(), peer.hears(), peer.messages().len()),
            (Transport::Gone, vec![], 1)
        );
    }
}

#[test]
fn the_end_of_the_stream_after_the_close_handshake_is_no_loss() {
    let mut peer = Peer::new();
    peer.sends(close(1000, "bye"));
    peer.session.receive_eof(peer.now);
    assert_eq!((peer.closure().code, peer.closure().by), (1000, ClosedBy::Peer));
    assert_eq!(peer.transport(), Transport::Gone);
}

#[test]
fn a_broken_rule_after_our_close_ends_the_wait() {
    let mut peer = Peer::new();
    peer.closes(1000, "").hears();
    peer.sends([FIN | 3, 0x80]);
    assert_eq!((peer.transport(), peer.hears()), (Transport::Closing, vec![]));
    assert_eq!(
        (peer.closure().by, peer.closure().error),
        (ClosedBy::Local(Cause::Application), None)
    );
}
