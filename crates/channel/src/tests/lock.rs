//! Somebody has the lock and does not move: who looks is answered, who leaves is counted out later, and who publishes or
//! joins is told after the time that it wanted to wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{another, channels, publish, read};
use crate::reader::Place;
use crate::region::PATIENCE;
use crate::{ChannelError, Kind};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn who_looks_needs_no_lock() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let mut cursor = place.cursor();
    place.join("room", PATIENCE).unwrap();
    let offset = publish(&channels, "room", b"x");
    let stuck = another(&channels);
    let _held = stuck.region.lock(PATIENCE).unwrap();
    let begun = Instant::now();
    assert_eq!(channels.history("room", None, 9).unwrap()[0].0.offset, offset);
    assert_eq!(channels.history("nobody", None, 9).unwrap(), []);
    let page = channels.page("room", Some(offset - 1), 9, 1000).unwrap().unwrap();
    assert_eq!((page.offset, page.messages.len()), (offset, 1));
    assert!(channels.page("nobody", None, 9, 1000).unwrap().is_none());
    assert_eq!(channels.members("room").unwrap(), 1);
    assert_eq!(channels.list().len(), 1);
    assert_eq!(read(&place, &mut cursor), [(offset, b"x".to_vec())]);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn an_entry_whose_list_leads_nowhere_is_found_without_the_lock() {
    let channels = channels();
    let offset = publish(&channels, "room", b"x");
    let stuck = another(&channels);
    let _held = stuck.region.lock(PATIENCE).unwrap();
    for bucket in 0..channels.region.layout().buckets {
        channels
            .region
            .words()
            .put(channels.region.layout().bucket(bucket), 0);
    }
    assert_eq!(channels.history("room", None, 9).unwrap()[0].0.offset, offset);
}

#[test]
fn who_publishes_or_joins_is_told_who_has_the_lock() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let stuck = another(&channels);
    let held = stuck.region.lock(PATIENCE).unwrap();
    let own = std::process::id();
    let check = |error: ChannelError| {
        assert!(
            matches!(&error, ChannelError::Busy(Some(holder)) if holder.process == own && !holder.is_stopped),
            "{error:?}"
        );
        assert!(
            error.to_string().starts_with(&format!("process {own} (")),
            "{error}"
        );
    };
    check(
        channels
            .publish_within("room", Kind::Text, b"x", SHORT)
            .unwrap_err(),
    );
    check(place.join("room", SHORT).unwrap_err());
    check(channels.wait_free(SHORT).unwrap_err());
    drop(held);
    channels.wait_free(SHORT).unwrap();
    assert_eq!(channels.history("room", None, 9).unwrap(), []);
    place.join("room", SHORT).unwrap();
    assert_eq!(channels.members("room").unwrap(), 1);
}

#[test]
fn who_leaves_waits_for_nothing_and_is_counted_out_later() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let ids: Vec<_> = (0..1000)
        .map(|number| place.join(&format!("room {}", number % 3), PATIENCE).unwrap().id)
        .collect();
    let stuck = another(&channels);
    let held = stuck.region.lock(PATIENCE).unwrap();
    let (begun, wakes) = (Instant::now(), place.wakes());
    for id in &ids[1..] {
        place.leave(*id);
    }
    assert!(begun.elapsed() < PATIENCE);
    assert_ne!(place.wakes(), wakes, "whoever settles is told");
    assert!(!place.settle());
    assert_eq!(place.channels().members("room 1").unwrap(), 0, "it knows its own");
    assert_eq!(channels.members("room 1").unwrap(), 333);
    drop(held);
    assert!(place.settle());
    let members: Vec<u64> = channels.list().iter().map(|facts| facts.members).collect();
    assert_eq!(members.iter().sum::<u64>(), 1);
    place.leave(ids[0]);
    assert_eq!(channels.members("room 0").unwrap(), 0);
}

#[test]
fn a_worker_comes_and_goes_meanwhile() {
    let channels = channels();
    let stuck = another(&channels);
    let old = Place::claim(another(&channels)).unwrap();
    old.join("room", PATIENCE).unwrap();
    let held = stuck.region.lock(PATIENCE).unwrap();
    let begun = Instant::now();
    let new = Place::claim(Arc::clone(&channels)).unwrap();
    assert_eq!(channels.workers().len(), 2);
    drop(old);
    assert!(begun.elapsed() < PATIENCE);
    assert!(matches!(
        channels.forget_dead(SHORT),
        Ok(0) | Err(ChannelError::Busy(_))
    ));
    drop(held);
    new.join("room", SHORT).unwrap();
}

#[test]
fn two_threads_never_have_one_place() {
    let channels = channels();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let channels = another(&channels);
            std::thread::spawn(move || {
                (0..16)
                    .map(|_| Place::claim(Arc::clone(&channels)).unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let places: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!((places.len(), channels.workers().len()), (64, 64));
}
