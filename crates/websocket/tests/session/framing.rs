//! What breaks a rule of framing, RFC 6455 §5, ends the session with the right code, at the first byte that shows it.

use crate::support::*;
use fairlead_websocket::{Cause, ClosedBy, Limits, PeerError, Transport};

/// Feeds one message, then `bytes` one by one; answers the error and how many bytes it took.
fn refused_at(peer: &mut Peer, bytes: &[u8]) -> (PeerError, usize) {
    peer.sends(text("before"));
    for (index, byte) in bytes.iter().enumerate() {
        peer.sends([*byte]);
        if let Some(closure) = peer.session.closed() {
            let error = closure.error.expect("the peer broke a rule");
            assert_eq!(closure.by, ClosedBy::Local(Cause::Violation));
            assert_eq!(closure.code, error.close_code().0);
            assert_eq!(peer.transport(), Transport::Closing);
            assert_eq!(peer.hears_close(), error.close_code().0);
            assert_eq!(peer.messages().len(), 1, "what was complete stays readable");
            return (error, index + 1);
        }
    }
    panic!("not refused: {bytes:x?}");
}

fn refused(bytes: &[u8]) -> (PeerError, usize) {
    refused_at(&mut Peer::new(), bytes)
}

#[test]
fn a_frame_that_breaks_a_rule_is_refused_when_its_header_shows_it() {
    assert_eq!(
        refused(&[FIN | 0x40 | TEXT, 0x80]),
        (PeerError::ReservedBits(4), 2)
    );
    assert_eq!(refused(&[FIN | 3, 0x80]), (PeerError::ReservedOpcode(3), 2));
    assert_eq!(refused(&[FIN | TEXT, 5]), (PeerError::Unmasked, 2));
    assert_eq!(refused(&[PING, 0x80]), (PeerError::FragmentedControl, 2));
    assert_eq!(refused(&[FIN | PING, 0xfe]), (PeerError::LongControl, 2));
    assert_eq!(
        refused(&[FIN | TEXT, 0xfe, 0, 125]),
        (PeerError::LengthNotMinimal(125), 4)
    );
    assert_eq!(
        refused(&long_header(FIN | TEXT, 65_535)),
        (PeerError::LengthNotMinimal(65_535), 10)
    );
    assert_eq!(
        refused(&long_header(FIN | TEXT, 1 << 63)),
        (PeerError::LengthTopBit, 10)
    );
}

#[test]
fn a_continuation_needs_something_to_continue() {
    assert_eq!(
        refused(&frame(FIN | CONTINUATION, b"")).0,
        PeerError::NothingToContinue
    );
    assert_eq!(
        refused(&frame(CONTINUATION, b"x")).0,
        PeerError::NothingToContinue
    );
    let mut finished = frame(TEXT, b"a");
    finished.extend(frame(FIN | CONTINUATION, b"b"));
    let mut peer = Peer::new();
    assert_eq!(peer.sends(finished).session.queued_messages(), 1);
    assert_eq!(
        peer.sends(frame(FIN | CONTINUATION, b"")).closure().error,
        Some(PeerError::NothingToContinue)
    );
}

#[test]
fn a_new_message_inside_a_fragmented_one_is_refused() {
    for second in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        let mut bytes = frame(TEXT, b"a");
        bytes.extend(frame(second, b"b"));
        assert_eq!(refused(&bytes).0, PeerError::MessageNotFinished);
    }
}

#[test]
fn a_message_over_the_limit_is_refused_before_its_bytes_arrive() {
    let mut limits = limits_of(200);
    assert_eq!(
        refused_at(
            &mut Peer::with_limits(limits.clone()),
            &frame(FIN | BINARY, &[0; 201])
        ),
        (
            PeerError::MessageTooBig {
                length: 201,
                limit: 200
            },
            8
        )
    );
    let mut fragments = frame(BINARY, &[0; 120]);
    fragments.extend(frame(FIN | CONTINUATION, &[0; 81]));
    let (error, taken) = refused_at(&mut Peer::with_limits(limits.clone()), &fragments);
    assert_eq!(
        error,
        PeerError::MessageTooBig {
            length: 201,
            limit: 200
        }
    );
    assert_eq!(taken, 6 + 120 + 6);
    // Short messages have a loop of their own, with the same limit.
    limits.max_message = 10;
    let mut peer = Peer::with_limits(limits);
    peer.sends([binary(&[0; 10]), binary(&[0; 11])].concat());
    assert_eq!(
        peer.closure().error,
        Some(PeerError::MessageTooBig {
            length: 11,
            limit: 10
        })
    );
    assert_eq!((peer.session.queued_messages(), peer.hears_close()), (1, 1009));
}

#[test]
fn the_largest_claim_of_a_length_allocates_nothing() {
    let mut peer = Peer::with_limits(limits_of(usize::MAX));
    peer.sends(long_header(FIN | BINARY, i64::MAX as u64))
        .sends([0; 10_000]);
    assert_eq!(peer.transport(), Transport::Open);
    assert!(
        peer.session.buffer_capacity() <= 2 * 10_008,
        "{}",
        peer.session.buffer_capacity()
    );
}

#[test]
fn a_message_of_too_many_fragments_is_refused() {
    let mut peer = Peer::with_limits(Limits {
        max_fragments: 3,
        ..limits()
    });
    let fragments = [
        frame(TEXT, b""),
        frame(CONTINUATION, b""),
        frame(CONTINUATION, b""),
    ]
    .concat();
    peer.sends(fragments);
    assert_eq!(peer.session.closed(), None);
    peer.sends(frame(CONTINUATION, b""));
    assert_eq!(
        peer.closure().error,
        Some(PeerError::TooManyFragments { limit: 3 })
    );
    assert_eq!(peer.hears_close(), 1008);
}

#[test]
fn control_frames_without_data_are_limited_within_their_window() {
    let limits = Limits {
        max_control_frames_without_progress: 5,
        ..limits()
    };
    let ping = frame(FIN | PING, b"");
    let mut peer = Peer::with_limits(limits.clone());
    peer.sends(ping.repeat(5))
        .sends(text("progress"))
        .sends(ping.repeat(5));
    peer.waits(10_001).sends(ping.repeat(5));
    assert_eq!(peer.session.closed(), None);
    assert_eq!(peer.hears().len(), 15);
    peer.sends(&ping);
    let window = limits.control_window;
    assert_eq!(
        peer.closure().error,
        Some(PeerError::ControlFlood { limit: 5, window })
    );
    assert_eq!(peer.hears_close(), 1008);
}

#[test]
fn nothing_after_an_error_is_looked_at() {
    let mut peer = Peer::new();
    peer.sends([vec![FIN | TEXT, 0], text("after"), frame(FIN | PING, b"after")].concat());
    peer.sends(close(1000, "")).sends(text("later"));
    assert_eq!(peer.hears_close(), 1002);
    assert_eq!(peer.messages(), []);
    assert_eq!(peer.closure().error, Some(PeerError::Unmasked));
}
