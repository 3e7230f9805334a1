//! Members that ask for a past that is long: it comes in order, costs little while it waits, and holds up nobody.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::channels::{bench, channels, frames, numbered, publish};
use super::support::*;
use crate::{Connection, Drops, Subscriber, Taken};

#[test]
fn a_long_past_is_read_as_the_client_takes_it_and_what_comes_follows() {
    let channels = channels();
    let bench = bench(&channels);
    let first = publish(&channels, "room", "0");
    for number in 1..20_000 {
        publish(&channels, "room", &format!("{number:>60}"));
    }
    let (connection, mut client) = bench.join();
    let answer = connection.join("room", numbered(Some(0))).unwrap();
    assert_eq!((answer.offset, answer.replayed), (first - 1, 20_000));
    for _ in 0..10 {
        bench.turn();
    }
    // The socket is full. What was read ahead of it is no more than a few outboxes.
    let sent = connection.counters().messages_out;
    assert!((1000..8000).contains(&sent), "{sent} of 20,000");
    publish(&channels, "room", "news");
    let mut bytes = Vec::new();
    for _ in 0..200 {
        bytes.extend(received(&mut client));
        bench.turn();
    }
    let offsets: Vec<u64> = frames(&bytes)
        .into_iter()
        .skip(1)
        .map(|(_, payload)| {
            let head = payload[1..].split(|byte| *byte == b' ').next().unwrap();
            std::str::from_utf8(head).unwrap().parse().unwrap()
        })
        .collect();
    assert!(offsets.iter().copied().eq(first..=first + 20_000));
}

#[test]
fn many_who_ask_for_a_long_past_share_each_turn_with_everybody() {
    let channels = channels();
    let bench = bench(&channels);
    for number in 0..4000 {
        publish(&channels, "room", &format!("{number:>60}"));
    }
    let mut members: Vec<_> = (0..20).map(|_| bench.join()).collect();
    for (connection, _) in &members {
        connection.join("room", numbered(Some(0))).unwrap();
    }
    let bytes = |members: &[(Arc<Connection>, UnixStream)]| -> u64 {
        let counters = members.iter().map(|(connection, _)| connection.counters());
        counters.map(|counters| counters.bytes_out).sum()
    };
    let mut before = bytes(&members);
    while members
        .iter()
        .any(|(connection, _)| connection.counters().messages_out < 4001)
    {
        bench.turn();
        let moved = bytes(&members) - before;
        // 256 KiB before the wait and for what is ready after it together, and the last message of each piece.
        assert!((1..280 * 1024).contains(&moved), "{moved} bytes in a turn");
        before += moved;
        for (_, client) in &mut members {
            received(client);
        }
    }
}

#[test]
fn a_subscription_reads_a_long_past_in_order_and_drops_of_it_what_it_must() {
    let channels = channels();
    let bench = bench(&channels);
    let first = publish(&channels, "room", "x");
    for _ in 1..3000 {
        publish(&channels, "room", "x");
    }
    let subscribe = || {
        bench
            .worker
            .subscribe("room", Some(0), 2000, Drops::Oldest)
            .unwrap()
    };
    let offsets = |subscriber: &Subscriber| -> Vec<u64> {
        std::iter::from_fn(|| match subscriber.receive(None) {
            Taken::Message(message) => Some(message.offset),
            _ => None,
        })
        .collect()
    };
    let (one, answer) = subscribe();
    assert_eq!((answer.replayed, one.queued()), (2000, 2000));
    assert!(offsets(&one).into_iter().eq(first + 1000..first + 3000));
    let (other, _) = subscribe();
    for _ in 0..700 {
        publish(&channels, "room", "y");
    }
    bench.turn();
    assert_eq!((other.queued(), other.missed()), (2000, 700));
    assert!(offsets(&other).into_iter().eq(first + 1700..first + 3700));
}
