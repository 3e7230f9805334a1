//! Heartbeats: a client that sees offsets is told that its connection is alive, and nobody else is.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use fairlead_channel::Channels;
use fairlead_websocket::CloseCode;

use super::channels::{another, bench_with, channels, frames, join, numbered, publish, texts};
use super::support::*;
use crate::{ChannelSettings, Connection, SlowConsumer};

const EVERY: Duration = Duration::from_secs(25);

fn beating(channels: &Channels, every: Duration) -> Bench {
    bench_with(
        ChannelSettings {
            channels: another(channels),
            backlog: 64 * 1024,
            slow_consumer: SlowConsumer::DropNewest,
            heartbeat: every,
        },
        settings(),
    )
}

/// The texts of the heartbeats among what has come; all else is of the protocol.
fn beats(client: &mut UnixStream) -> Vec<String> {
    let data = frames(&received(client))
        .into_iter()
        .filter(|(first, _)| *first == 0x81);
    data.map(|(_, payload)| String::from_utf8(payload).unwrap())
        .collect()
}

/// Lets so many seconds pass, a turn for each; the client answers nothing, but shows that it lives.
fn live(bench: &Bench, client: &mut UnixStream, seconds: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..seconds {
        send(client, &frame(0x8a, b""));
        bench.after(Duration::from_secs(1));
        all.extend(beats(client));
    }
    all
}

#[test]
fn the_first_one_comes_behind_joined_and_the_others_at_their_interval() {
    let channels = channels();
    let bench = beating(&channels, EVERY);
    let first = publish(&channels, "a room", "past");
    let (connection, mut client) = bench.join();
    connection.join("a room", numbered(Some(0))).unwrap();
    bench.turn();
    bench.turn();
    let beat = "\x1e0 a room\n25".to_owned();
    let notice = format!("\x1ejoined {} 0 a room\n", first - 1);
    assert_eq!(
        texts(&mut client),
        [notice, beat.clone(), format!("\x1e{first} a room\npast")]
    );
    assert_eq!(connection.counters().messages_out, 3);
    assert_eq!(live(&bench, &mut client, 24), [""; 0]);
    assert_eq!(live(&bench, &mut client, 1), [&*beat]);
    assert_eq!(live(&bench, &mut client, 24), [""; 0]);
    assert_eq!(live(&bench, &mut client, 51), [beat.clone(), beat.clone(), beat]);
    assert_eq!(connection.counters().messages_out, 7);
}

#[test]
fn a_second_channel_brings_no_second_one_and_leaving_does_not_end_it() {
    let channels = channels();
    let bench = beating(&channels, EVERY);
    let (connection, mut client) = bench.join();
    connection.join("one", numbered(None)).unwrap();
    connection.join("two", numbered(None)).unwrap();
    bench.turn();
    let heads: Vec<_> = texts(&mut client);
    assert_eq!(heads.len(), 3, "{heads:?}");
    connection.leave_channel("one");
    connection.leave_channel("two");
    assert_eq!(live(&bench, &mut client, 25), ["\x1e0 one\n25"]);
}

#[test]
fn it_begins_with_the_first_membership_that_shows_offsets_whatever_was_before() {
    let channels = channels();
    let bench = beating(&channels, Duration::from_millis(1500));
    let (connection, mut client) = bench.join();
    join(&connection, "plain");
    assert_eq!(live(&bench, &mut client, 10), [""; 0]);
    connection.join("room", numbered(None)).unwrap();
    bench.turn();
    assert_eq!(beats(&mut client)[1], "\x1e0 room\n1.5");
    assert_eq!(
        live(&bench, &mut client, 6).len(),
        3,
        "one in two turns of a second"
    );
}

#[test]
fn nobody_else_gets_one_and_no_timer_is_set_for_it() {
    let channels = channels();
    let (with, without) = (beating(&channels, EVERY), beating(&channels, Duration::ZERO));
    let deadlines = |bench: &Bench, member: fn(&Arc<Connection>)| {
        let (connection, mut client) = bench.join();
        member(&connection);
        bench.turn();
        let begun = beats(&mut client).len();
        let mut asked = Vec::new();
        for _ in 0..60 {
            send(&mut client, &frame(0x8a, b""));
            bench.after(Duration::from_secs(1));
            asked.push(bench.dials.asked.load(std::sync::atomic::Ordering::SeqCst));
        }
        (begun, beats(&mut client), asked)
    };
    let none = deadlines(&without, |_| {});
    assert_eq!((none.0, none.1.len()), (0, 0));
    assert_eq!(deadlines(&with, |_| {}), none);
    assert_eq!(deadlines(&with, |one| join(one, "room")), none);
    // Switched off, it is only the notice that a member with offsets gets.
    let numbered_without = deadlines(&without, |one| {
        one.join("room", numbered(None)).unwrap();
    });
    assert_eq!(numbered_without, (1, none.1, none.2));
}

#[test]
fn none_gathers_for_a_client_that_takes_nothing() {
    let channels = channels();
    let bench = beating(&channels, EVERY);
    let (connection, mut client) = bench.join();
    connection.join("room", numbered(None)).unwrap();
    bench.turn();
    texts(&mut client);
    // More than a socket takes.
    for _ in 0..100 {
        publish(&channels, "room", &"x".repeat(8000));
        bench.turn();
    }
    for _ in 0..2 {
        send(&mut client, &frame(0x8a, b""));
        bench.after(EVERY);
    }
    let mut bytes = Vec::new();
    for _ in 0..200 {
        bytes.extend(received(&mut client));
        bench.turn();
    }
    let found = frames(&bytes);
    assert!(
        found
            .iter()
            .all(|(_, payload)| !payload.starts_with(b"\x1e0 room\n")),
        "{} frames",
        found.len()
    );
}

#[test]
fn it_goes_beside_a_ping_that_is_due_at_the_same_time() {
    let channels = channels();
    let bench = beating(&channels, Duration::from_secs(30));
    let (connection, mut client) = bench.join();
    connection.join("room", numbered(None)).unwrap();
    bench.turn();
    bench.after(Duration::from_secs(15));
    received(&mut client);
    bench.after(Duration::from_secs(15));
    let found: Vec<u8> = frames(&received(&mut client))
        .into_iter()
        .map(|(first, _)| first)
        .collect();
    assert_eq!(found, [0x89, 0x81]);
}

#[test]
fn nothing_follows_a_close() {
    let channels = channels();
    let bench = beating(&channels, Duration::from_secs(1));
    let (connection, mut client) = bench.join();
    connection.join("room", numbered(None)).unwrap();
    bench.turn();
    connection.close(CloseCode::NORMAL, "done").unwrap();
    bench.turn();
    let before = frames(&received(&mut client));
    assert_eq!(before.last().unwrap().0, 0x88);
    for _ in 0..4 {
        bench.after(Duration::from_secs(1));
    }
    assert!(received(&mut client).is_empty());
}

#[test]
fn an_interval_below_the_clocks_step_does_not_hold_up_the_turn() {
    let channels = channels();
    let bench = beating(&channels, Duration::from_micros(10));
    let (connection, mut client) = bench.join();
    connection.join("room", numbered(None)).unwrap();
    bench.turn();
    received(&mut client);
    bench.after(Duration::from_millis(1));
    assert_eq!(beats(&mut client).len(), 1);
}
