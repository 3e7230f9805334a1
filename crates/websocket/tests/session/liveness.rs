//! Pings, unasked pongs, lost and idle peers, on a session with simulated time. RFC 6455 §5.5.2 and §5.5.3.

use std::time::Duration;

use crate::support::*;
use fairlead_websocket::{Cause, ClosedBy, Lost, SessionSettings, Time, Timing, Transport};

fn pings_only() -> Timing {
    Timing {
        pong_every: Some(Duration::ZERO),
        ..timing()
    }
}

fn due_in(peer: &Peer) -> Option<u64> {
    peer.session
        .deadline()
        .map(|time| time.saturating_since(peer.now).as_millis() as u64)
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let mut peer = Peer::new();
    assert_eq!(due_in(&peer), Some(15_000));
    assert_eq!(peer.waits(14_999).hears(), []);
    assert_eq!(peer.waits(1).hears(), [(FIN | PONG, vec![])]);
    assert_eq!(due_in(&peer), Some(15_000));
    assert_eq!(peer.waits(15_000).hears(), [(FIN | PING, vec![])]);
    assert_eq!(due_in(&peer), Some(3_000));
    assert_eq!(peer.waits(3_000).hears(), []);
    assert_eq!(
        (peer.closure().code, peer.closure().by),
        (1006, ClosedBy::Lost(Lost::PingTimeout))
    );
    assert_eq!((peer.transport(), due_in(&peer)), (Transport::Gone, None));
}

#[test]
fn any_byte_of_the_peer_is_a_sign_of_life() {
    let message = binary(&[0; 1000]);
    for life in [
        frame(FIN | PONG, b""),
        frame(FIN | PING, b""),
        text("x"),
        message[..1].to_vec(),
        message,
    ] {
        let mut peer = Peer::with_timing(pings_only());
        assert_eq!(peer.waits(30_000).hears(), [(FIN | PING, vec![])]);
        peer.waits(2_999).sends(&life).hears();
        assert_eq!(due_in(&peer), Some(30_000));
        assert_eq!(
            (peer.waits(29_999).hears(), peer.transport()),
            (vec![], Transport::Open)
        );
        assert_eq!(peer.waits(1).hears(), [(FIN | PING, vec![])]);
    }
}

#[test]
fn bytes_that_wait_in_the_socket_are_a_sign_of_life() {
    let mut peer = Peer::with_timing(pings_only());
    peer.waits(30_000).hears();
    peer.now = peer.now + Duration::from_secs(60);
    peer.session.heard(peer.now);
    assert_eq!(
        (peer.waits(0).hears(), peer.transport()),
        (vec![], Transport::Open)
    );
}

#[test]
fn a_lively_session_needs_no_new_timer() {
    let mut peer = Peer::new();
    for _ in 0..100 {
        let before = peer.session.deadline();
        peer.waits(1_000).sends(text("x"));
        assert!(
            peer.session.deadline() >= before,
            "life only moves a deadline away"
        );
    }
    assert_eq!((peer.hears(), peer.session.counters().messages_in), (vec![], 100));
}

#[test]
fn without_pings_there_is_no_deadline() {
    let mut peer = Peer::with_timing(Timing {
        ping_every: Duration::ZERO,
        ..timing()
    });
    assert_eq!(due_in(&peer), None);
    assert_eq!(
        (peer.waits(u64::MAX / 2).hears(), peer.transport()),
        (vec![], Transport::Open)
    );
}

#[test]
fn a_peer_that_sends_no_message_is_idle_even_if_it_lives() {
    let mut peer = Peer::with_timing(Timing {
        idle_timeout: Duration::from_secs(60),
        ..pings_only()
    });
    peer.waits(29_000).sends(text("x")).hears();
    for _ in 0..5 {
        peer.session.consume_message();
        peer.waits(10_000).sends(frame(FIN | PONG, b""));
        assert_eq!(peer.hears(), []);
    }
    assert_eq!(due_in(&peer), Some(10_000));
    assert_eq!(peer.waits(10_000).hears_close(), 1001);
    assert_eq!(
        (peer.closure().code, peer.closure().by),
        (1001, ClosedBy::Local(Cause::Idle))
    );
    assert_eq!(peer.waits(5_000).transport(), Transport::Gone);
}

#[test]
fn a_peer_whose_messages_wait_for_us_is_not_idle() {
    let timing = Timing {
        idle_timeout: Duration::from_secs(10),
        ping_every: Duration::ZERO,
        ..timing()
    };
    let mut peer = Peer::with_timing(timing);
    peer.sends(text("unread"));
    assert_eq!(peer.waits(25_000).session.closed(), None);
    peer.session.consume_message();
    assert_eq!(peer.waits(9_999).session.closed(), None);
    assert_eq!(peer.waits(1).hears_close(), 1001);
}

#[test]
fn no_ping_follows_a_close() {
    let timing = Timing {
        close_timeout: Duration::from_secs(1_000),
        ..timing()
    };
    let mut peer = Peer::with(SessionSettings {
        timing,
        limits: limits(),
    });
    peer.closes(1000, "").hears();
    assert_eq!(
        (peer.waits(100_000).hears(), peer.transport()),
        (vec![], Transport::Open)
    );
}

#[test]
fn a_tick_that_comes_too_early_does_nothing() {
    let mut peer = Peer::new();
    let start = peer.now;
    for _ in 0..14 {
        peer.waits(1_000);
    }
    assert_eq!(peer.hears(), []);
    assert_eq!(peer.session.deadline(), Some(start + Duration::from_secs(15)));
    assert_eq!(
        peer.session.deadline(),
        Some(Time::from_millis(start.as_millis() + 15_000))
    );
}
