//! One process: what is published is read, and looked back at, until the log needs the room.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{another, channels, publish, read};
use crate::reader::{Next, Place};
use crate::region::PATIENCE;
use crate::{ChannelError, Channels, Kind, Missed, RegionError, LONGEST_NAME};

#[test]
fn a_message_is_read_as_it_was_published() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let mut cursor = place.cursor();
    let first = channels.publish("room", Kind::Text, "grüße".as_bytes()).unwrap();
    assert_eq!(channels.publish("room", Kind::Binary, b"").unwrap(), first + 1);
    assert!(first > channels.epoch());
    let Next::Record(record) = place.next(&mut cursor) else {
        panic!("nothing to read");
    };
    assert_eq!((record.kind, record.offset), (Kind::Text, first));
    let mut payload = b"before ".to_vec();
    assert!(place.payload(&record, &mut payload));
    assert_eq!(payload, "before grüße".as_bytes());
    assert_eq!(read(&place, &mut cursor), [(first + 1, vec![])]);
    assert_eq!(place.next(&mut cursor), Next::Nothing);
}

#[test]
fn no_two_logs_share_numbers_and_all_are_exact_in_javascript() {
    let mut first: Vec<u64> = (0..40).map(|_| publish(&channels(), "room", b"x")).collect();
    assert!(first
        .iter()
        .all(|offset| (1 << 51..(1 << 52) + 2).contains(offset)));
    assert!(!first.is_sorted(), "they tell a time");
    first.sort_unstable();
    assert!(first.windows(2).all(|two| two[1] - two[0] > 1 << 16), "{first:?}");
}

#[test]
fn numbers_are_those_of_the_channel() {
    let channels = channels();
    let a = publish(&channels, "a", b"1");
    let b = publish(&channels, "b", b"1");
    assert_eq!(publish(&channels, "a", b"2"), a + 1);
    assert_eq!(publish(&channels, "b", b"2"), b + 1);
}

#[test]
fn history_begins_behind_since_and_ends_at_the_limit() {
    let channels = channels();
    let first = publish(&channels, "room", b"0");
    for number in 1..10u8 {
        publish(&channels, "other", b"x");
        publish(&channels, "room", &[b'0' + number]);
    }
    let look = |since, limit| -> String {
        let messages = channels.history("room", since, limit).unwrap();
        messages.iter().map(|(_, payload)| payload[0] as char).collect()
    };
    assert_eq!(look(None, 100), "0123456789");
    assert_eq!(look(None, 3), "789");
    assert_eq!(look(Some(first + 4), 100), "56789");
    assert_eq!(look(Some(first + 4), 2), "56");
    assert_eq!(look(Some(first + 9), 100), "");
    // Of another log, whose numbers are larger.
    assert_eq!(look(Some(first + 1000), 100), "0123456789");
    assert_eq!(channels.history("nobody", None, 9).unwrap(), []);
}

#[test]
fn who_comes_back_is_told_what_is_lost() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let first = publish(&channels, "room", b"first");
    let missed = |since| {
        let joined = place.join("room", PATIENCE).unwrap();
        channels.look_back(&joined, since, usize::MAX).missed
    };
    assert_eq!(missed(0), Missed::Nothing);
    assert_eq!(missed(first), Missed::Nothing);
    assert_eq!(missed(first - 1), Missed::Nothing);
    assert_eq!(missed(first - 2), Missed::Unknown); // another log's
    assert_eq!(missed(first + 1), Missed::Unknown);
    let large = vec![0; 100_000];
    for _ in 0..30 {
        publish(&channels, "room", &large);
    }
    let joined = place.join("room", PATIENCE).unwrap();
    let history = channels.look_back(&joined, first, usize::MAX);
    let oldest = history.records[0].offset;
    assert!(oldest > first + 1);
    assert_eq!(history.missed, Missed::Messages(oldest - first - 1));
    assert_eq!(history.records.last().unwrap().offset, first + 30);
    assert_eq!(missed(oldest - 1), Missed::Nothing);
}

#[test]
fn a_reader_that_is_too_late_is_told_so_and_goes_on_with_the_oldest() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let mut cursor = place.cursor();
    let mut stale = place.cursor();
    publish(&channels, "room", b"small");
    let Next::Record(record) = place.next(&mut cursor) else {
        panic!("nothing to read");
    };
    let large = vec![7; 100_000];
    for _ in 0..30 {
        publish(&channels, "room", &large);
    }
    let mut payload = Vec::new();
    assert!(!place.payload(&record, &mut payload) && payload.is_empty());
    assert_eq!(place.next(&mut stale), Next::Overtaken);
    let rest = read(&place, &mut stale);
    assert_eq!(rest.last().unwrap().0, record.offset + 30);
    assert!(rest.len() < 30 && rest.windows(2).all(|two| two[0].0 + 1 == two[1].0));
    assert_eq!(channels.workers()[0].overtaken, 1);
}

#[test]
fn what_cannot_be_published_changes_nothing() {
    let channels = channels();
    let longest = channels.longest_message();
    let refused = |name: &str, payload: &[u8]| channels.publish(name, Kind::Binary, payload).unwrap_err();
    assert!(matches!(refused("", b"x"), ChannelError::Name(_)));
    assert!(matches!(refused("a\nb", b"x"), ChannelError::Name(_)));
    let long = "ä".repeat(LONGEST_NAME / 2) + "bc";
    assert!(matches!(refused(&long, b"x"), ChannelError::Name(_)));
    assert!(matches!(
        refused("a", &vec![0; longest + 1]),
        ChannelError::TooLong { .. }
    ));
    assert!(channels.list().is_empty());
    publish(&channels, &long[..LONGEST_NAME], b"x");
    publish(&channels, "a", &vec![1; longest]);
    assert_eq!(channels.history("a", None, 1).unwrap()[0].1, vec![1; longest]);
}

#[test]
fn the_giant_that_fits_leaves_some_history() {
    let channels = channels();
    let giant = vec![0; channels.longest_message()];
    for _ in 0..10 {
        publish(&channels, "giant", &giant);
    }
    assert!(channels.history("giant", None, 10).unwrap().len() >= 3);
}

#[test]
fn an_idle_channel_goes_when_its_entry_is_needed_and_its_numbers_never_come_again() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    publish(&channels, "idle", b"x");
    let offset = publish(&channels, "idle", b"x");
    place.join("kept", PATIENCE).unwrap();
    let room = channels.region.layout().channels;
    for number in 0..room * 2 {
        publish(&channels, &format!("room {number}"), b"x");
    }
    let names: Vec<String> = channels.list().into_iter().map(|facts| facts.name).collect();
    assert_eq!(names.len(), room);
    assert!(names.contains(&"kept".to_owned()));
    assert!(!names.contains(&"idle".to_owned()));
    assert!(publish(&channels, "idle", b"x") > offset);
    let joined = place.join("idle", PATIENCE).unwrap();
    assert_eq!(channels.look_back(&joined, offset, 9).missed, Missed::Unknown);
}

#[test]
fn a_directory_full_of_members_is_an_error() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let room = channels.region.layout().channels;
    let joined: Vec<_> = (0..room)
        .map(|number| place.join(&format!("room {number}"), PATIENCE).unwrap())
        .collect();
    assert!(matches!(
        channels.publish("one more", Kind::Text, b""),
        Err(ChannelError::DirectoryFull { .. })
    ));
    assert!(matches!(
        place.join("one more", PATIENCE),
        Err(ChannelError::DirectoryFull { .. })
    ));
    place.leave(joined[7].id);
    publish(&channels, "one more", b"");
}

#[test]
fn members_are_counted_over_all_places_and_go_with_theirs() {
    let channels = channels();
    let first = Place::claim(another(&channels)).unwrap();
    let second = Place::claim(another(&channels)).unwrap();
    let joined = first.join("room", PATIENCE).unwrap();
    first.join("room", PATIENCE).unwrap();
    second.join("room", PATIENCE).unwrap();
    assert_eq!(channels.members("room").unwrap(), 3);
    first.leave(joined.id);
    assert_eq!(channels.members("room").unwrap(), 2);
    drop(second);
    assert_eq!(channels.members("room").unwrap(), 1);
    assert_eq!(channels.members("nobody").unwrap(), 0);
    assert_eq!(channels.workers().len(), 1);
}

#[test]
fn a_file_of_something_else_is_refused() {
    let folder = std::env::temp_dir().join(format!("fairlead-channels-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("region");
    let open = |size| Channels::in_file(&path, size, usize::MAX);
    std::fs::write(&path, vec![1; 2 << 20]).unwrap();
    assert!(matches!(open(1 << 20), Err(RegionError::NotARegion)));
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(open(1 << 20), Err(RegionError::NotARegion)));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open(1000), Err(RegionError::Size(1000))));
    let one = open(2 << 20).unwrap();
    let offset = publish(&one, "room", b"x");
    // It keeps its size, and its history.
    let other = open(1 << 20).unwrap();
    assert_eq!(other.log_size().0, one.log_size().0);
    assert_eq!(other.history("room", None, 9).unwrap()[0].0.offset, offset);
    drop((one, other));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(open(1 << 20), Err(RegionError::OtherVersion { .. })));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere", &path).unwrap();
    assert!(matches!(open(1 << 20), Err(RegionError::System(_))));
    std::fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    /// Whatever is published, each reader gets it all in order while it keeps up, and history is the newest part of it.
    #[test]
    fn readers_and_history_agree_with_a_model(
        messages in proptest::collection::vec((0..4usize, 0..60_000usize, any::<bool>()), 1..120)
    ) {
        let channels = channels();
        let place = Place::claim(another(&channels)).unwrap();
        let mut cursor = place.cursor();
        let mut model: HashMap<String, Vec<(u64, Vec<u8>)>> = HashMap::new();
        let mut unread = Vec::new();
        let mut unread_bytes = 0;
        for (step, (channel, length, reads)) in messages.into_iter().enumerate() {
            let name = format!("channel {channel}");
            let payload = vec![step as u8; length];
            let offset = publish(&channels, &name, &payload);
            let past = model.entry(name).or_default();
            if let Some((last, _)) = past.last() {
                prop_assert_eq!(offset, last + 1);
            }
            past.push((offset, payload.clone()));
            unread.push((offset, payload));
            unread_bytes += length + 100;
            if reads || unread_bytes > 500_000 {
                prop_assert_eq!(read(&place, &mut cursor), std::mem::take(&mut unread));
                unread_bytes = 0;
            }
        }
        for (name, past) in model {
            let history = channels.history(&name, None, usize::MAX).unwrap();
            prop_assert!(history.len() <= past.len());
            let newest = &past[past.len() - history.len()..];
            for ((record, payload), (offset, expected)) in history.iter().zip(newest) {
                prop_assert_eq!(record.offset, *offset);
                prop_assert_eq!(payload, expected);
            }
        }
    }
}

#[test]
fn who_does_not_want_to_wait_for_the_lock_is_told_that_it_is_taken() {
    let channels = channels();
    let other = another(&channels);
    let held = other.region.lock(PATIENCE).unwrap();
    assert_eq!(channels.try_publish("room", Kind::Text, b"x").unwrap(), None);
    drop(held);
    let offset = channels.try_publish("room", Kind::Text, b"x").unwrap().unwrap();
    assert_eq!(channels.history("room", None, 9).unwrap()[0].0.offset, offset);
}
