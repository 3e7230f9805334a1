//! One turn: what it reads, reports, writes and how long it would wait.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fairlead_websocket::{Cause, CloseCode, ClosedBy, MessageKind, Negotiated};

use super::support::*;
use crate::{Event, Received, Sent, Waiting};

#[test]
fn a_message_wakes_the_unit_that_waits_and_nobody_else() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    send(&mut client, &frame(BINARY, b"one"));
    assert_eq!(bench.turn(), [], "nobody waits");
    assert_eq!(take(&connection).as_deref(), Some(&b"one"[..]));
    assert!(matches!(connection.receive(Some(7), |_, _| ()), Received::Empty));
    send(&mut client, &frame(BINARY, b"two"));
    assert_eq!(bench.turn(), [Event::Wake(7)]);
    assert_eq!(bench.turn(), [], "woken once");
    assert_eq!(take(&connection).as_deref(), Some(&b"two"[..]));
}

#[test]
fn bytes_read_behind_the_handshake_come_first() {
    let bench = Bench::new(settings());
    let whole = frame(BINARY, b"early and late");
    let (early, late) = whole.split_at(9);
    let (connection, mut client) = bench.join_with(early.to_vec());
    assert_eq!(take(&connection), None);
    send(&mut client, late);
    bench.turn();
    assert_eq!(take(&connection).as_deref(), Some(&b"early and late"[..]));
}

#[test]
fn all_that_was_sent_in_between_leaves_with_the_next_turn_in_one_write() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    for _ in 0..3 {
        assert!(matches!(connection.send(MessageKind::Binary, b"x"), Sent::Done));
    }
    assert_eq!(received(&mut client), b"", "corked until the turn");
    bench.turn();
    assert_eq!(received(&mut client), b"\x82\x01x\x82\x01x\x82\x01x");
}

#[test]
fn messages_sent_before_the_socket_arrives_are_not_lost() {
    let bench = Bench::new(settings());
    let connection = bench
        .worker
        .connection(Negotiated::default(), "peer".into(), None);
    assert!(matches!(connection.send(MessageKind::Text, b"early"), Sent::Done));
    let (ours, mut client) = std::os::unix::net::UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    bench.worker.join(&connection, ours.into(), Vec::new());
    bench.turn();
    assert_eq!(received(&mut client), b"\x81\x05early");
}

#[test]
fn a_ping_is_answered_though_the_app_never_receives() {
    let bench = Bench::new(settings());
    let (_connection, mut client) = bench.join();
    send(&mut client, &frame(0x89, b"are you there"));
    bench.turn();
    bench.turn();
    assert_eq!(received(&mut client), b"\x8a\x0dare you there");
}

#[test]
fn the_loop_pings_a_silent_peer_and_drops_it_when_no_sign_of_life_comes() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    assert!(matches!(connection.receive(Some(1), |_, _| ()), Received::Empty));
    bench.after(Duration::from_secs(16));
    assert_eq!(received(&mut client), b"\x8a\x00", "the gratuitous pong, midway");
    bench.after(Duration::from_secs(15));
    bench.turn();
    assert_eq!(received(&mut client), b"\x89\x00", "the ping");
    assert_eq!(bench.after(Duration::from_secs(4)), [Event::Wake(1)]);
    assert!(matches!(connection.receive(None, |_, _| ()), Received::Closed(_)));
    assert_eq!(bench.worker.connections(), 0);
}

#[test]
fn unread_bytes_in_the_socket_are_a_sign_of_life_after_a_long_stop() {
    // The process was stopped for a minute; the peer's pong has been waiting all the time.
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    bench.after(Duration::from_secs(31));
    send(&mut client, &frame(0x8a, b""));
    bench.after(Duration::from_secs(60));
    assert!(connection.closure().is_none());
    assert_eq!(bench.worker.connections(), 1);
}

#[test]
fn a_message_costs_no_change_of_registration_and_no_timer() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let before = bench.dials.changes.load(Ordering::SeqCst);
    for _ in 0..50 {
        send(&mut client, &frame(BINARY, b"x"));
        bench.after(Duration::from_millis(10));
        assert!(take(&connection).is_some());
        connection.send(MessageKind::Binary, b"y");
        bench.turn();
    }
    assert_eq!(bench.dials.changes.load(Ordering::SeqCst), before);
}

#[test]
fn the_wait_lasts_until_the_next_deadline_and_not_longer() {
    let bench = Bench::new(settings());
    bench.turn();
    assert_eq!(
        bench.dials.asked.load(Ordering::SeqCst),
        u64::MAX,
        "nothing to wait for"
    );
    bench.worker.wake_at(Duration::from_millis(250), 9);
    bench.turn();
    assert_eq!(bench.dials.asked.load(Ordering::SeqCst), 250);
    assert_eq!(bench.after(Duration::from_millis(249)), []);
    assert_eq!(bench.after(Duration::from_millis(1)), [Event::Deadline(9)]);
}

#[test]
fn a_ring_keeps_the_next_turn_from_waiting() {
    let bench = Bench::new(settings());
    bench.turn();
    bench.worker.report(Event::Wake(3));
    assert_eq!(bench.turn(), [Event::Wake(3)]);
    assert_eq!(bench.dials.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_ring_between_two_turns_is_not_forgotten() {
    let bench = Bench::new(settings());
    bench.turn();
    bench.worker.wake();
    bench.turn();
    assert_eq!(
        bench.dials.asked.load(Ordering::SeqCst),
        0,
        "whoever woke it has something that only the runner can see"
    );
    bench.turn();
    assert_eq!(
        bench.dials.asked.load(Ordering::SeqCst),
        u64::MAX,
        "and it is answered once"
    );
}

#[test]
fn asking_whether_a_message_is_there_does_not_take_it() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    assert_eq!(connection.wait_receive(4), Waiting::Registered);
    assert_eq!(connection.wait_receive(9), Waiting::Taken, "one at a time");
    send(&mut client, &frame(BINARY, b"kept"));
    assert_eq!(bench.turn(), [Event::Wake(4)]);
    assert_eq!(connection.wait_receive(5), Waiting::Ready);
    assert_eq!(take(&connection).as_deref(), Some(&b"kept"[..]));
}

#[test]
fn close_all_spreads_the_closes_over_a_time_and_the_others_go_on_until_then() {
    let bench = Bench::new(settings());
    let mut sessions: Vec<_> = (0..5).map(|_| bench.join()).collect();
    let spread = Duration::from_secs(10);
    bench.worker.close_all(CloseCode::SERVICE_RESTART, "", spread);
    bench.turn();
    bench.turn();
    for second in 0..10 {
        let closed = sessions.iter().filter(|(one, _)| one.closure().is_some());
        assert_eq!(closed.count(), 1 + second / 2, "after {second} s");
        let (last, client) = &mut sessions[4];
        if last.closure().is_none() {
            send(client, &frame(BINARY, b"served"));
            bench.turn();
            assert_eq!(take(last).as_deref(), Some(&b"served"[..]));
        }
        bench.after(Duration::from_secs(1));
        bench.turn();
    }
    for (session, _) in &sessions {
        let closure = session.closure().unwrap();
        assert_eq!((closure.code, closure.by), (1012, ClosedBy::Local(Cause::Drain)));
    }
}

#[test]
fn a_second_close_all_is_for_those_that_are_left() {
    let bench = Bench::new(settings());
    let sessions: Vec<_> = (0..3).map(|_| bench.join()).collect();
    let spread = Duration::from_secs(60);
    bench.worker.close_all(CloseCode::SERVICE_RESTART, "", spread);
    bench.turn();
    bench.turn();
    bench.worker.close_all(CloseCode::GOING_AWAY, "", Duration::ZERO);
    bench.turn();
    let codes: Vec<_> = sessions
        .iter()
        .map(|(one, _)| one.closure().unwrap().code)
        .collect();
    assert_eq!(codes, [1012, 1001, 1001]);
    for (_, mut client) in sessions {
        bench.turn();
        assert_eq!(received(&mut client)[..2], [0x88, 2]);
    }
    bench.after(Duration::from_secs(61));
}

#[test]
fn close_all_closes_those_that_join_later_too() {
    let bench = Bench::new(settings());
    let (_first, mut client) = bench.join();
    bench.worker.close_all(CloseCode::GOING_AWAY, "", Duration::ZERO);
    bench.turn();
    bench.turn();
    assert_eq!(received(&mut client), b"\x88\x02\x03\xe9");
    let (_second, mut late) = bench.join();
    bench.turn();
    assert_eq!(received(&mut late), b"\x88\x02\x03\xe9");
}
