//! A writer dies after each of its stores, one after the other: nobody sees half of anything, and all goes on.

use super::{another, channels, publish, read};
use crate::channels::Channels;
use crate::reader::Place;
use crate::region::PATIENCE;
use crate::words::crash;
use crate::Kind;

/// What the next one does who gets the lock of a dead holder. (The test's writer only panics, and its lock is released
/// in order; that the system reports a real death is shown with real processes.)
fn find_dead(channels: &Channels) {
    channels.region.directory().repair();
    channels
        .region
        .writer(&channels.region.lock(PATIENCE).unwrap())
        .enter_last()
        .unwrap();
}

/// Everything that has to be true between two operations.
fn check(channels: &Channels) {
    let mut names = Vec::new();
    for facts in channels.list() {
        let history = channels.history(&facts.name, None, usize::MAX).unwrap();
        let offsets: Vec<u64> = history.iter().map(|(record, _)| record.offset).collect();
        assert!(
            offsets.windows(2).all(|two| two[0] + 1 == two[1]),
            "{facts:?}: {offsets:?}"
        );
        if facts.messages > 0 && !offsets.is_empty() {
            assert_eq!(*offsets.last().unwrap(), facts.offset, "{facts:?}");
        }
        let members: u64 = (0..crate::layout::WORKERS)
            .map(|place| {
                let directory = channels.region.directory();
                directory.members_of(directory.find(&facts.name).unwrap().index(), place)
            })
            .sum();
        assert_eq!(members, facts.members, "{facts:?}");
        names.push(facts.name);
    }
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a channel stands twice in the directory");
}

/// Runs `work` in many regions, dying at another store in each, and `then` looks at what is left; it is told whether
/// `work` was done.
fn at_every_store(
    prepare: impl Fn(&Channels, &Place),
    work: impl Fn(&Channels, &Place),
    then: impl Fn(&Channels, &Place, bool),
) {
    for stores in 0.. {
        let channels = channels();
        let place = Place::claim(another(&channels)).unwrap();
        prepare(&channels, &place);
        let done = crash::after(stores, || work(&channels, &place)).is_some();
        find_dead(&channels);
        check(&channels);
        then(&channels, &place, done);
        check(&channels);
        if done {
            assert!(stores > 3, "the crash points are not reached");
            return;
        }
    }
}

#[test]
fn a_publisher_dies_at_any_store() {
    at_every_store(
        |channels, _| {
            for number in 0..5u8 {
                publish(channels, "room", &[number; 40]);
            }
        },
        |channels, _| {
            publish(channels, "room", &[9; 100]);
        },
        |channels, place, _| {
            let before = channels.history("room", None, 99).unwrap();
            assert!(before.len() == 5 || before.len() == 6 && before[5].1 == [9; 100]);
            let mut cursor = place.cursor();
            let next = publish(channels, "room", b"next");
            assert_eq!(next, before.last().unwrap().0.offset + 1);
            assert_eq!(read(place, &mut cursor), [(next, b"next".to_vec())]);
        },
    );
}

#[test]
fn a_publisher_dies_while_it_overwrites_and_pads() {
    // Sizes that leave the last record short of the end, so that the next one needs a padding and displaces old ones.
    at_every_store(
        |channels, _| {
            let capacity = channels.region.layout().capacity as u64;
            while channels.region.log().tail() < capacity * 2 - 40 {
                publish(channels, "room", &[1; 77]);
            }
        },
        |channels, _| {
            publish(channels, "room", &[2; 400]);
        },
        |channels, _, _| {
            let history = channels.history("room", None, usize::MAX).unwrap();
            let newest = &history.last().unwrap().1;
            assert!(*newest == [1; 77] || *newest == [2; 400]);
            assert!(history.len() > 100);
            for (_, payload) in &history[..history.len() - 1] {
                assert_eq!(*payload, [1; 77]);
            }
            let next = publish(channels, "room", b"next");
            assert_eq!(next, history.last().unwrap().0.offset + 1);
        },
    );
}

#[test]
fn the_maker_of_a_channel_dies_at_any_store() {
    at_every_store(
        |channels, _| {
            publish(channels, "before", b"x");
        },
        |channels, _| {
            publish(channels, "a new one", b"first");
        },
        |channels, _, done| {
            assert_eq!(
                publish(channels, "before", b"y") % 1_000_000_000,
                publish(channels, "before", b"z") % 1_000_000_000 - 1
            );
            let first = channels.history("a new one", None, 9).unwrap();
            assert!(first.len() <= 1);
            assert!(!done || first[0].1 == b"first");
            publish(channels, "a new one", b"second");
            assert_eq!(
                channels.history("a new one", None, 9).unwrap().len(),
                first.len() + 1
            );
        },
    );
}

#[test]
fn who_frees_an_entry_dies_at_any_store() {
    at_every_store(
        |channels, _| {
            for number in 0..channels.region.layout().channels {
                publish(channels, &format!("room {number}"), b"x");
            }
        },
        |channels, _| {
            publish(channels, "a new one", b"first");
        },
        |channels, _, _| {
            let all = channels.list();
            assert!(all.len() >= channels.region.layout().channels - 1);
            for number in 0..20 {
                publish(channels, &format!("another {number}"), b"x");
            }
            assert_eq!(channels.list().len(), channels.region.layout().channels);
        },
    );
}

#[test]
fn a_member_dies_while_it_joins_or_leaves() {
    at_every_store(
        |channels, place| {
            place.join("room", PATIENCE).unwrap();
            publish(channels, "room", b"x");
        },
        |_, place| {
            let joined = place.join("room", PATIENCE).unwrap();
            place.leave(joined.id);
            place.leave(joined.id);
        },
        |channels, place, done| {
            let members = channels.members("room").unwrap();
            assert!(members <= 2 && (!done || members == 0));
            let joined = place.join("room", PATIENCE).unwrap();
            assert_eq!(channels.members("room").unwrap(), members + 1);
            for _ in 0..=members {
                place.leave(joined.id);
            }
            assert_eq!(channels.members("room").unwrap(), 0);
        },
    );
}

#[test]
fn a_death_between_tail_and_directory_is_told_by_the_next_writer() {
    let seen = (0..)
        .map_while(|stores| {
            let channels = channels();
            publish(&channels, "room", b"first");
            let tail = channels.region.log().tail();
            let done = crash::after(stores, || channels.publish("room", Kind::Text, b"second")).is_some();
            let is_visible = channels.region.log().tail() > tail;
            find_dead(&channels);
            let history = channels.history("room", None, 9).unwrap();
            assert_eq!(history.len(), if is_visible { 2 } else { 1 });
            (!done).then_some(is_visible)
        })
        .filter(|is_visible| *is_visible)
        .count();
    assert!(seen >= 3, "{seen} deaths after the tail moved");
}
