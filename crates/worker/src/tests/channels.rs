//! Members of channels: what is published reaches them in order, once, and a slow one harms nobody but itself.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use fairlead_channel::{Channels, Kind, Missed};
use fairlead_websocket::{MessageKind, Negotiated};

use super::support::*;
use crate::settings::WorkerSettings;
use crate::{ChannelSettings, Connection, Drops, JoinError, JoinOptions, SlowConsumer, Style};

const KIB: usize = 1024;

pub(super) fn channels() -> Arc<Channels> {
    Arc::new(Channels::in_memory(4 << 20, 1 << 20).unwrap())
}

/// The same region, as another process would have it.
pub(super) fn another(channels: &Channels) -> Arc<Channels> {
    let descriptor = channels.descriptor().try_clone_to_owned().unwrap();
    Arc::new(Channels::inherited(descriptor, 1 << 20).unwrap())
}

pub(super) fn bench_on(channels: &Channels, backlog: usize, slow_consumer: SlowConsumer) -> Bench {
    bench_with(
        ChannelSettings {
            channels: another(channels),
            backlog,
            slow_consumer,
            heartbeat: Duration::ZERO,
        },
        settings(),
    )
}

pub(super) fn bench_with(channels: ChannelSettings, settings: WorkerSettings) -> Bench {
    Bench::new(WorkerSettings {
        channels: Some(channels),
        ..settings
    })
}

pub(super) fn bench(channels: &Channels) -> Bench {
    bench_on(channels, 64 * KIB, SlowConsumer::Close)
}

pub(super) fn join(connection: &Arc<Connection>, name: &str) {
    connection.join(name, JoinOptions::default()).unwrap();
}

pub(super) fn numbered(since: Option<u64>) -> JoinOptions {
    JoinOptions {
        since,
        style: Style::Numbered,
        slow_consumer: None,
    }
}

pub(super) fn publish(channels: &Channels, name: &str, text: &str) -> u64 {
    channels.publish(name, Kind::Text, text.as_bytes()).unwrap()
}

/// A server's frames: first byte and payload.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (length, header) = match bytes[1] {
            126 => (u16::from_be_bytes([bytes[2], bytes[3]]) as usize, 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
            short => (short as usize, 2),
        };
        all.push((bytes[0], bytes[header..header + length].to_vec()));
        bytes = &bytes[header + length..];
    }
    all
}

pub(super) fn texts(client: &mut UnixStream) -> Vec<String> {
    frames(&received(client))
        .into_iter()
        .map(|(first, payload)| {
            assert_eq!(first, 0x81);
            String::from_utf8(payload).unwrap()
        })
        .collect()
}

#[test]
fn members_get_it_and_nobody_else_does() {
    let channels = channels();
    let (here, there) = (bench(&channels), bench(&channels));
    let (one, mut one_client) = here.join();
    let (_two, mut two_client) = here.join();
    let (three, mut three_client) = there.join();
    join(&one, "room");
    join(&three, "room");
    publish(&channels, "room", "to the room");
    publish(&channels, "other", "to nobody");
    channels.publish("room", Kind::Binary, b"\0binary").unwrap();
    here.turn();
    there.turn();
    for client in [&mut one_client, &mut three_client] {
        let expected = vec![(0x81, b"to the room".to_vec()), (0x82, b"\0binary".to_vec())];
        assert_eq!(frames(&received(client)), expected);
    }
    assert!(received(&mut two_client).is_empty());
    assert_eq!(one.counters().messages_out, 2);
}

#[test]
fn joining_twice_is_joining_once() {
    let channels = channels();
    let bench = bench(&channels);
    let (connection, mut client) = bench.join();
    join(&connection, "room");
    let offset = publish(&channels, "room", "x");
    bench.turn();
    let again = connection.join("room", numbered(Some(0))).unwrap();
    assert_eq!((again.offset, again.replayed), (offset, 0));
    assert_eq!(channels.members("room").unwrap(), 1);
    bench.turn();
    assert_eq!(texts(&mut client), ["x"]);
}

#[test]
fn since_begins_with_what_was_missed_and_goes_on_without_a_gap() {
    let channels = channels();
    let bench = bench(&channels);
    let first = publish(&channels, "room", "0");
    for number in 1..2500 {
        publish(&channels, "room", &number.to_string());
    }
    let (connection, mut client) = bench.join();
    let answer = connection
        .join(
            "room",
            JoinOptions {
                since: Some(first + 99),
                ..JoinOptions::default()
            },
        )
        .unwrap();
    assert_eq!(
        (answer.offset, answer.replayed, answer.missed),
        (first + 99, 2400, Missed::Nothing)
    );
    for number in 2500..2600 {
        publish(&channels, "room", &number.to_string());
        if number % 7 == 0 {
            bench.turn();
        }
    }
    bench.turn();
    bench.turn();
    let expected: Vec<String> = (100..2600).map(|number: u32| number.to_string()).collect();
    assert_eq!(texts(&mut client), expected);
}

#[test]
fn a_numbered_member_sees_where_it_is() {
    let channels = channels();
    let bench = bench(&channels);
    let first = publish(&channels, "a room", "past");
    let (connection, mut client) = bench.join();
    connection.join("a room", numbered(Some(0))).unwrap();
    publish(&channels, "a room", "news\nof two lines");
    bench.turn();
    bench.turn();
    assert_eq!(
        texts(&mut client),
        [
            format!("\x1ejoined {} 0 a room\n", first - 1),
            format!("\x1e{first} a room\npast"),
            format!("\x1e{} a room\nnews\nof two lines", first + 1),
        ]
    );
    let (late, mut late_client) = bench.join();
    let answer = late.join("a room", numbered(Some(7))).unwrap();
    assert_eq!((answer.missed, answer.replayed), (Missed::Unknown, 2));
    bench.turn();
    assert_eq!(
        texts(&mut late_client)[0],
        format!("\x1ejoined {} ? a room\n", first - 1)
    );
}

/// A member that reads nothing, and publishes until it is `much` behind in bytes beyond what its socket takes.
fn stalled(channels: &Channels, bench: &Bench, messages: usize) -> (Arc<Connection>, UnixStream, Vec<u64>) {
    let (connection, client) = bench.join();
    join(&connection, "busy");
    let offsets = (0..messages)
        .map(|number| {
            let text = format!("{number:08}").repeat(1000);
            let offset = publish(channels, "busy", &text);
            bench.turn();
            offset
        })
        .collect();
    (connection, client, offsets)
}

/// All that comes while the client reads again, by the number in each message.
fn drained(bench: &Bench, client: &mut UnixStream) -> (Vec<usize>, Option<Vec<u8>>) {
    let mut bytes = Vec::new();
    for _ in 0..400 {
        bytes.extend(received(client));
        bench.turn();
    }
    let mut numbers = Vec::new();
    let mut close = None;
    for (first, payload) in frames(&bytes) {
        match first {
            0x81 => {
                let text = String::from_utf8(payload).unwrap();
                assert_eq!(text, text[..8].repeat(1000));
                numbers.push(text[..8].parse().unwrap());
            }
            _ => close = Some(payload),
        }
    }
    (numbers, close)
}

#[test]
fn a_slow_member_within_its_bounds_gets_everything_later() {
    let channels = channels();
    let bench = bench_on(&channels, 2 << 20, SlowConsumer::Close);
    let (connection, mut client, offsets) = stalled(&channels, &bench, 200);
    let (numbers, close) = drained(&bench, &mut client);
    assert_eq!(numbers, (0..offsets.len()).collect::<Vec<_>>());
    assert_eq!((close, connection.missed()), (None, 0));
}

#[test]
fn a_slow_member_is_closed_with_the_reason() {
    let channels = channels();
    let bench = bench(&channels);
    let (quick, mut quick_client) = bench.join();
    join(&quick, "busy");
    let (slow, mut client, _) = {
        let (slow, client) = bench.join();
        join(&slow, "busy");
        let mut quick_count = 0;
        for number in 0..200 {
            publish(&channels, "busy", &format!("{number:08}").repeat(1000));
            bench.turn();
            quick_count += frames(&received(&mut quick_client)).len();
        }
        assert_eq!(quick_count, 200, "the others get all");
        (slow, client, ())
    };
    let closure = slow.closure();
    let (numbers, close) = drained(&bench, &mut client);
    assert_eq!(
        numbers,
        (0..numbers.len()).collect::<Vec<_>>(),
        "what it got has no hole"
    );
    assert!(numbers.len() < 200);
    let close = close.expect("it is told why");
    assert_eq!(&close[..2], &1013u16.to_be_bytes());
    let reason = String::from_utf8_lossy(&close[2..]).into_owned();
    assert!(reason.starts_with("slow consumer"), "{reason}");
    assert!(closure.is_none() || closure.unwrap().code == 1013);
    assert!(slow.missed() > 0);
}

#[test]
fn a_burst_far_over_the_limit_closes_nobody_who_reads_on() {
    for (limit, burst) in [(64 * KIB, 350), (KIB, 350), (1024 * KIB, 350)] {
        let channels = channels();
        let bench = bench_on(&channels, limit, SlowConsumer::Close);
        let (connection, mut client) = bench.join();
        join(&connection, "busy");
        // Unsent bytes of the app's own, and one message that is longer than the limit.
        connection.send(MessageKind::Binary, &[0; 12_000]);
        for number in 0..burst {
            publish(&channels, "busy", &format!("{number:08}").repeat(1000));
        }
        let mut bytes = Vec::new();
        for _ in 0..burst {
            bench.turn();
            bytes.extend(received(&mut client));
        }
        assert_eq!(
            connection.closure().map(|closure| closure.reason),
            None,
            "{limit}"
        );
        let count = frames(&bytes).len();
        assert_eq!((count, connection.missed()), (burst + 1, 0), "{limit}");
    }
}

#[test]
fn a_slow_member_may_lose_the_newest_or_the_oldest_instead() {
    for (policy, keeps_newest) in [
        (SlowConsumer::DropNewest, false),
        (SlowConsumer::DropOldest, true),
    ] {
        let channels = channels();
        let bench = bench_on(&channels, 64 * KIB, policy);
        let (connection, mut client, _) = stalled(&channels, &bench, 200);
        let (numbers, close) = drained(&bench, &mut client);
        assert_eq!(close, None);
        assert_eq!(numbers.len() as u64 + connection.missed(), 200);
        assert!(connection.missed() > 50);
        assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
        assert_eq!(*numbers.last().unwrap() == 199, keeps_newest);
        assert_eq!(channels.workers()[0].dropped, connection.missed());
        // It has caught up: the next one comes.
        publish(&channels, "busy", "next");
        bench.turn();
        assert_eq!(texts(&mut client), ["next"]);
    }
}

#[test]
fn a_backlog_that_the_log_has_forgotten_is_counted() {
    let channels = channels();
    let bench = bench_on(&channels, 100 << 20, SlowConsumer::Close);
    let (connection, mut client, _) = stalled(&channels, &bench, 1000);
    let (numbers, _) = drained(&bench, &mut client);
    assert!(numbers.windows(2).all(|two| two[0] < two[1]));
    assert!(connection.missed() > 0);
    assert_eq!(numbers.len() as u64 + connection.missed(), 1000);
}

#[test]
fn a_loop_that_came_too_late_counts_what_its_members_missed() {
    let channels = channels();
    let bench = bench_on(&channels, 8 << 20, SlowConsumer::Close);
    let (connection, mut client) = bench.join();
    join(&connection, "busy");
    for number in 0..1000 {
        publish(&channels, "busy", &format!("{number:08}").repeat(1000));
    }
    let (numbers, _) = drained(&bench, &mut client);
    assert!(
        numbers.windows(2).all(|two| two[0] + 1 == two[1]),
        "no hole but one at the start"
    );
    assert_eq!(numbers.last(), Some(&999));
    assert_eq!(numbers.len() as u64 + connection.missed(), 1000);
    assert!(channels.workers()[0].overtaken > 0);
}

#[test]
fn a_giant_goes_through_an_empty_outbox() {
    let channels = channels();
    let bench = bench(&channels);
    let (connection, mut client) = bench.join();
    join(&connection, "room");
    let giant = "g".repeat(800 * KIB);
    publish(&channels, "room", &giant);
    let mut bytes = Vec::new();
    for _ in 0..100 {
        bench.turn();
        bytes.extend(received(&mut client));
    }
    assert_eq!(bytes.len(), giant.len() + 10, "{:?}", &bytes[..20]);
    assert_eq!(frames(&bytes), [(0x81, giant.into_bytes())]);
    assert!(connection.closure().is_none());
}

#[test]
fn what_the_app_sends_and_what_channels_bring_do_not_mix() {
    let channels = channels();
    let bench = bench(&channels);
    let (connection, mut client) = bench.join();
    join(&connection, "room");
    let mut bytes = Vec::new();
    for number in 0..300 {
        publish(&channels, "room", &format!("{number:08}").repeat(700));
        let own = format!("{number:08}").repeat(900);
        while !matches!(
            connection.send(MessageKind::Binary, own.as_bytes()),
            crate::Sent::Done
        ) {
            bench.turn();
            bytes.extend(received(&mut client));
        }
        bench.turn();
        bytes.extend(received(&mut client));
    }
    for _ in 0..20 {
        bench.turn();
        bytes.extend(received(&mut client));
    }
    let mut next: HashMap<u8, u32> = HashMap::new();
    for (first, payload) in frames(&bytes) {
        let number = next.entry(first).or_default();
        assert_eq!(String::from_utf8_lossy(&payload[..8]), format!("{number:08}"));
        *number += 1;
    }
    assert_eq!(next, HashMap::from([(0x81, 300), (0x82, 300)]));
}

#[test]
fn a_loop_sleeps_only_when_its_channels_are_quiet() {
    let channels = channels();
    let bench = bench(&channels);
    let (connection, mut client) = bench.join();
    join(&connection, "room");
    bench.turn();
    bench.turn();
    let asked = || bench.dials.asked.load(std::sync::atomic::Ordering::SeqCst);
    assert!(asked() > 0, "nothing to do");
    // More than one batch: the loop looks at its sockets in between, and does not wait.
    for _ in 0..40 {
        publish(&channels, "room", &"x".repeat(10_000));
    }
    bench.turn();
    assert_eq!(asked(), 0);
    let mut bytes = Vec::new();
    for _ in 0..10 {
        bytes.extend(received(&mut client));
        bench.turn();
    }
    assert_eq!(frames(&bytes).len(), 40);
    assert!(asked() > 0);
}

#[test]
fn a_worker_that_is_dropped_leaves_its_channels() {
    let channels = channels();
    let bench = bench(&channels);
    let (connection, _client) = bench.join();
    join(&connection, "room");
    let (subscriber, _) = bench.worker.subscribe("room", None, 10, Drops::Oldest).unwrap();
    assert_eq!(channels.members("room").unwrap(), 2);
    drop((bench, connection, subscriber));
    assert_eq!(channels.members("room").unwrap(), 0);
    assert!(channels.workers().is_empty(), "its place is free");
}

#[test]
fn without_channels_joining_says_so() {
    let bench = Bench::new(settings());
    let (connection, _client) = bench.join();
    assert!(matches!(
        connection.join("room", JoinOptions::default()),
        Err(JoinError::NoChannels)
    ));
}

/// Real loops that really sleep, in one process: each message wakes the other side, and none is slept through.
#[test]
fn a_sleeping_loop_is_woken_for_its_members() {
    let channels = channels();
    let start = || {
        crate::Worker::start(WorkerSettings {
            channels: Some(ChannelSettings {
                channels: another(&channels),
                backlog: 64 * KIB,
                slow_consumer: SlowConsumer::Close,
                heartbeat: Duration::ZERO,
            }),
            threads_read: true,
            ..settings()
        })
        .unwrap()
    };
    let workers = [start(), start()];
    let mut clients: Vec<(Arc<Connection>, UnixStream)> = workers
        .iter()
        .map(|worker| {
            let (ours, client) = UnixStream::pair().unwrap();
            let connection = worker.connection(Negotiated::default(), "peer /path".into(), None);
            worker.join(&connection, ours.into(), Vec::new());
            join(&connection, "room");
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            (connection, client)
        })
        .collect();
    for number in 0..2000u32 {
        publish(&channels, "room", &format!("{number:06}"));
        for (_, client) in &mut clients {
            let mut frame = [0; 8];
            client
                .read_exact(&mut frame)
                .expect("a loop slept through a message");
            assert_eq!(&frame[2..], format!("{number:06}").as_bytes());
        }
    }
}
