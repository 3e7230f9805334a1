//! A process that has the lock of the channels' region is stopped: the loop, its clients and those who leave go on.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::channels::{another, bench, channels, join, numbered, publish, texts};
use crate::{Drops, JoinError};

/// Far less than anybody's patience, far more than a machine under load needs for what is done meanwhile.
const SOON: Duration = Duration::from_secs(3);

#[test]
fn members_that_go_hold_up_nobody_and_are_counted_out_when_the_lock_is_free() {
    let channels = channels();
    let other = another(&channels);
    let bench = bench(&channels);
    let (stays, mut client) = bench.join();
    join(&stays, "room");
    let gone: Vec<_> = (0..10).map(|_| bench.join()).collect();
    for (connection, _) in &gone {
        join(connection, "room");
    }
    publish(&channels, "room", "before");
    let held = other.hold();
    let begun = Instant::now();
    assert!(gone[0].0.leave_channel("room"));
    drop(gone);
    bench.turn();
    bench.turn();
    assert_eq!(texts(&mut client), ["before"]);
    let own = stays.subscriptions.as_ref().unwrap().place().channels();
    assert_eq!(own.members("room").unwrap(), 1, "this process knows its own");
    assert_eq!(other.members("room").unwrap(), 11, "the others do not, so far");
    assert!(begun.elapsed() < SOON);
    drop(held);
    while other.members("room").unwrap() != 1 {
        assert!(begun.elapsed() < SOON * 3, "nobody counts them out");
        std::thread::yield_now();
    }
    publish(&channels, "room", "after");
    bench.turn();
    assert_eq!(texts(&mut client), ["after"]);
}

#[test]
fn who_joins_is_told_soon_and_keeps_the_table_from_nobody() {
    let channels = channels();
    let other = another(&channels);
    let bench = bench(&channels);
    let (one, mut client) = bench.join();
    join(&one, "room");
    publish(&channels, "room", "before");
    let held = other.hold();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let joins = scope.spawn(|| one.join("another room", numbered(None)));
        bench.turn();
        assert_eq!(texts(&mut client), ["before"]);
        let error = joins.join().unwrap().unwrap_err();
        assert!(matches!(error, JoinError::Channel(_)), "{error:?}");
    });
    assert!(bench.worker.subscribe("room", None, 10, Drops::Oldest).is_err());
    assert!(begun.elapsed() < SOON);
    drop(held);
    one.join("another room", numbered(None)).unwrap();
    assert_eq!(other.members("another room").unwrap(), 1);
}

#[test]
fn who_joins_without_a_thread_for_wake_ups_is_told() {
    let channels = channels();
    let bench = bench(&channels);
    let (one, _client) = bench.join();
    let subscriptions = one.subscriptions.as_ref().unwrap();
    subscriptions.is_short_of_threads.store(true, Ordering::SeqCst);
    let error = one.join("room", numbered(None)).unwrap_err();
    assert!(matches!(error, JoinError::Channel(_)), "{error:?}");
    assert_eq!(channels.members("room").unwrap(), 0, "nothing was changed");
    subscriptions.is_short_of_threads.store(false, Ordering::SeqCst);
    join(&one, "room");
}
