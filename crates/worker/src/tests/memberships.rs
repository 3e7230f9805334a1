//! Who counts as a member: nobody who has left, and no connection that is over, from the moment in which the app can know.

use fairlead_websocket::CloseCode;

use super::channels::{bench, channels, frames, join, numbered, publish, texts};
use super::support::*;
use crate::JoinError;

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
    drop(three_client);
    bench.turn();
    bench.turn();
    assert_eq!(channels.members("room").unwrap(), 1);
    assert!(texts(&mut one_client).is_empty());
    assert_eq!(texts(&mut two_client), ["first"]);
    two.release(CloseCode::NORMAL, "");
    assert_eq!(channels.members("room").unwrap(), 0);
    publish(&channels, "room", "second");
    bench.turn();
    let left = frames(&received(&mut two_client));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, 0x88, "nothing follows the Close");
    assert!(matches!(two.join("room", numbered(None)), Err(JoinError::Closed)));
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
