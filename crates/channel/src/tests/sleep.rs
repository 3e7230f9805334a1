//! A publisher dies at any store of an append and of the wake-up behind it: whoever comes next wakes the loop that sleeps.

use std::sync::Arc;

use super::{another, channels, publish};
use crate::channels::Channels;
use crate::reader::{Cursor, Place};
use crate::region::PATIENCE;
use crate::words::crash;
use crate::Kind;

/// A publisher dies after each of its stores, with a loop that sleeps; `next` is what comes then, and has to wake it.
fn at_every_store(next: impl Fn(&Channels)) {
    for stores in 0.. {
        let channels = channels();
        let (place, cursor) = sleeper(&channels);
        let wakes = place.wakes();
        let publish = || channels.publish("room", Kind::Text, b"x").unwrap();
        let done = crash::after(stores, publish).is_some();
        next(&channels);
        assert!(
            place.wakes() != wakes || !place.has_news(&cursor),
            "it sleeps through what was published before a death after {stores} stores"
        );
        if done {
            assert!(stores > 12, "the crash points are not reached");
            return;
        }
    }
}

fn sleeper(channels: &Channels) -> (Place, Cursor) {
    let place = Place::claim(another(channels)).unwrap();
    place.join("room", PATIENCE).unwrap();
    let cursor = place.cursor();
    assert!(place.fall_asleep(&cursor));
    (place, cursor)
}

#[test]
fn the_next_publisher_wakes_it() {
    at_every_store(|channels| {
        publish(channels, "room", b"next");
    });
}

#[test]
fn who_puts_the_region_in_order_wakes_it() {
    at_every_store(|channels| channels.region.put_in_order());
}

#[test]
fn who_forgets_the_dead_wakes_it() {
    at_every_store(|channels| {
        channels.forget_dead(PATIENCE).unwrap();
    });
}

#[test]
fn the_loop_of_the_own_process_is_woken_by_the_next_publisher() {
    for stores in 0.. {
        let channels = channels();
        let place = Place::claim(Arc::clone(&channels)).unwrap();
        let (sender, woken) = std::sync::mpsc::channel();
        place.wake_with(move || {
            crash::point();
            sender.send(()).unwrap();
        });
        place.join("room", PATIENCE).unwrap();
        assert!(place.fall_asleep(&place.cursor()));
        let publish_first = || channels.publish("room", Kind::Text, b"x").unwrap();
        let done = crash::after(stores, publish_first).is_some();
        publish(&channels, "room", b"next");
        assert!(woken.try_recv().is_ok(), "a death after {stores} stores");
        if done {
            return;
        }
    }
}

#[test]
fn a_loop_that_has_nothing_to_read_is_left_alone() {
    let channels = channels();
    let (place, _) = sleeper(&channels);
    let wakes = place.wakes();
    channels.forget_dead(PATIENCE).unwrap();
    assert_eq!(place.wakes(), wakes);
}
