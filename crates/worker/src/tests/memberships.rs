//! Who counts as a member: nobody who has left, and no connection that is over, from the moment in which the app can know.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use fairlead_websocket::{CloseCode, Lost, MessageKind};

use super::channels::{
    another, bench, bench_on, bench_with, channels, frames, join, numbered, publish, texts,
};
use super::support::*;
use crate::{ChannelSettings, Connection, Drops, JoinError, SlowConsumer, Taken};

#[test]
fn who_has_left_or_gone_gets_nothing_and_is_not_counted() {
    let channels = channels();
    let bench = bench(&channels);
    let (one, mut one_client) = bench.join();
    let (two, mut two_client) = bench.join();
    let (three, three_client) = bench.join();
    for connection in [&one, &two, &three] {
        join(connection, "room");
    }
    assert_eq!(channels.members("room").unwrap(), 3);
    publish(&channels, "room", "first");
    assert!(one.leave_channel("room"));
    assert!(!one.leave_channel("room"));
    publish(&channels, "room", "after");
    drop(three_client);
    bench.turn();
    bench.turn();
    assert_eq!(channels.members("room").unwrap(), 1);
    assert_eq!(texts(&mut one_client), ["first"]);
    assert_eq!(texts(&mut two_client), ["first", "after"]);
    two.release(CloseCode::NORMAL, "");
    assert_eq!(channels.members("room").unwrap(), 0);
    publish(&channels, "room", "second");
    bench.turn();
    let left = frames(&received(&mut two_client));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, 0x88, "nothing follows the Close");
    assert!(matches!(two.join("room", numbered(None)), Err(JoinError::Closed)));
}

/// Texts, and the first byte of whatever else came.
fn all(client: &mut UnixStream) -> (Vec<String>, Vec<u8>) {
    let (texts, others): (Vec<_>, Vec<_>) = frames(&received(client))
        .into_iter()
        .partition(|(first, _)| *first == 0x81);
    let texts = texts
        .into_iter()
        .map(|(_, payload)| String::from_utf8(payload).unwrap());
    (
        texts.collect(),
        others.into_iter().map(|(first, _)| first).collect(),
    )
}

#[test]
fn a_member_gets_what_was_published_before_it_ended_its_membership() {
    type End = fn(&Connection);
    let ends: [(&str, End, &[u8]); 5] = [
        ("leave", |member| assert!(member.leave_channel("room")), b""),
        (
            "close",
            |member| member.close(CloseCode::NORMAL, "").unwrap(),
            b"\x88",
        ),
        ("release", |member| member.release(CloseCode::NORMAL, ""), b"\x88"),
        ("disconnect", |member| member.abandon(Lost::Dropped), b""),
        (
            "close twice",
            |member| {
                member.close(CloseCode::NORMAL, "").unwrap();
                member.release(CloseCode::NORMAL, "");
            },
            b"\x88",
        ),
    ];
    for (name, end, then) in ends {
        let channels = channels();
        let bench = bench(&channels);
        let (member, mut client) = bench.join();
        let (_other, mut other_client) = bench.join();
        join(&member, "room");
        join(&member, "another");
        join(&_other, "room");
        publish(&channels, "room", "read by a turn");
        bench.turn();
        publish(&channels, "room", "published");
        publish(&channels, "another", "elsewhere");
        end(&member);
        publish(&channels, "room", "afterwards");
        bench.turn();
        bench.turn();
        let (texts, others) = all(&mut client);
        // Between two channels there is no order.
        let room: Vec<_> = texts.iter().filter(|text| *text != "elsewhere").collect();
        assert_eq!(room, ["read by a turn", "published"], "{name}");
        assert!(texts.iter().any(|text| text == "elsewhere"), "{name}");
        assert_eq!(others, then, "{name}");
        assert_eq!(
            all(&mut other_client).0,
            ["read by a turn", "published", "afterwards"],
            "{name}: once each, for those who stay"
        );
    }
}

#[test]
fn a_stop_of_the_worker_comes_behind_what_was_published() {
    let channels = channels();
    let bench = bench(&channels);
    let (member, mut client) = bench.join();
    join(&member, "room");
    let long = "x".repeat(300 * 1024);
    publish(&channels, "room", &long);
    publish(&channels, "room", "the last");
    bench.worker.close_all(CloseCode::GOING_AWAY, "", Duration::ZERO);
    let mut bytes = Vec::new();
    for _ in 0..10 {
        bench.turn();
        bytes.extend(received(&mut client));
    }
    let found: Vec<_> = frames(&bytes)
        .into_iter()
        .map(|(first, payload)| (first, payload.len()))
        .collect();
    assert_eq!(found, [(0x81, long.len()), (0x81, 8), (0x88, 2)]);
}

#[test]
fn a_client_that_sends_nothing_gets_what_was_published_before_it_is_closed_for_that() {
    let channels = channels();
    let mut settings = settings();
    Arc::make_mut(&mut settings.session).timing.idle_timeout = Duration::from_secs(20);
    let bench = bench_with(
        ChannelSettings {
            channels: another(&channels),
            backlog: 64 * 1024,
            slow_consumer: SlowConsumer::Close,
            heartbeat: Duration::ZERO,
        },
        settings,
    );
    let (member, mut client) = bench.join();
    join(&member, "room");
    bench.turn();
    let mut bytes = received(&mut client);
    // Published when this turn has looked for news already, and its timers are yet to come.
    bench.dials.in_next_wait(Duration::from_secs(20), {
        let channels = Arc::clone(&channels);
        move || {
            publish(&channels, "room", "the last");
        }
    });
    for _ in 0..3 {
        bench.turn();
        bytes.extend(received(&mut client));
    }
    let found = frames(&bytes);
    assert_eq!(found[0], (0x81, b"the last".to_vec()));
    assert_eq!((found[1].0, &found[1].1[..2]), (0x88, &b"\x03\xe9"[..]));
}

#[test]
fn a_member_that_is_behind_gets_what_waits_for_it_though_it_leaves_or_closes() {
    for closes in [false, true] {
        let channels = channels();
        let bench = bench_on(&channels, 1 << 20, SlowConsumer::Close);
        let (member, mut client) = bench.join();
        join(&member, "room");
        for number in 0..100 {
            publish(&channels, "room", &format!("{number:08}").repeat(1000));
            bench.turn();
        }
        publish(&channels, "room", "the last");
        if closes {
            member.close(CloseCode::NORMAL, "").unwrap();
        } else {
            member.leave_channel("room");
            member.send(MessageKind::Binary, b"own");
        }
        let mut bytes = Vec::new();
        for _ in 0..100 {
            bytes.extend(received(&mut client));
            bench.turn();
        }
        let texts: Vec<_> = frames(&bytes)
            .into_iter()
            .filter(|(first, _)| *first == 0x81)
            .collect();
        assert_eq!(texts.len(), 101);
        assert_eq!(texts[100].1, b"the last");
        assert_eq!(member.missed(), 0);
    }
}

#[test]
fn a_subscription_takes_what_was_published_before_it_was_closed() {
    let channels = channels();
    let bench = bench(&channels);
    let (subscriber, _) = bench.worker.subscribe("room", None, 10, Drops::Oldest).unwrap();
    publish(&channels, "room", "published");
    subscriber.close();
    publish(&channels, "room", "afterwards");
    bench.turn();
    assert!(matches!(subscriber.receive(None), Taken::Message(message) if message.payload == b"published"));
    assert_eq!(subscriber.receive(None), Taken::Closed);
}

#[test]
fn who_leaves_for_a_connection_that_is_over_counts_without_it() {
    let channels = channels();
    let bench = bench(&channels);
    let (one, one_client) = bench.join();
    let (two, _two_client) = bench.join();
    join(&one, "room");
    join(&two, "room");
    drop(one_client);
    bench.turn();
    one.leave_channel("room");
    assert_eq!(channels.members("room").unwrap(), 1, "in the same turn");
    bench.turn();
    assert_eq!(channels.members("room").unwrap(), 1);
}

#[test]
fn who_leaves_while_its_connection_is_retired_counts_without_it() {
    let channels = channels();
    let bench = bench(&channels);
    for round in 0..4000 {
        let (one, client) = bench.join();
        join(&one, "room");
        drop(client);
        std::thread::scope(|scope| {
            let app = scope.spawn(|| {
                // A varying moment before, within and after the turn that finds the end.
                for _ in 0..round % 500 {
                    std::hint::spin_loop();
                }
                one.leave_channel("room");
                channels.members("room").unwrap()
            });
            bench.turn();
            assert_eq!(app.join().unwrap(), 0, "round {round}");
        });
        bench.turn();
    }
}
