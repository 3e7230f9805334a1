//! A loop that sleeps is woken for its channels, and for no others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{another, channels, publish, read};
use crate::reader::Place;
use crate::region::PATIENCE;

#[test]
fn only_members_that_sleep_are_called() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    let mut cursor = place.cursor();
    let wakes = place.wakes();
    assert!(place.fall_asleep(&cursor));
    publish(&channels, "room", b"x");
    assert_eq!(place.wakes(), wakes, "it has no member");
    place.skip(&mut cursor);
    let joined = place.join("room", PATIENCE).unwrap();
    assert!(place.fall_asleep(&cursor));
    publish(&channels, "room", b"x");
    publish(&channels, "room", b"x");
    assert_eq!(place.wakes(), wakes + 1, "once for each sleep");
    assert_eq!(read(&place, &mut cursor).len(), 2);
    publish(&channels, "room", b"x");
    assert_eq!(place.wakes(), wakes + 1, "it is awake");
    assert!(!place.fall_asleep(&cursor), "there is something to read");
    read(&place, &mut cursor);
    place.leave(joined.id);
    assert!(place.fall_asleep(&cursor));
    publish(&channels, "room", b"x");
    assert_eq!(place.wakes(), wakes + 1);
}

#[test]
fn the_own_loop_is_rung_without_a_call() {
    let channels = channels();
    let place = Place::claim(Arc::clone(&channels)).unwrap();
    let woken = Arc::new(AtomicUsize::new(0));
    let wake = Arc::clone(&woken);
    place.wake_with(move || {
        wake.fetch_add(1, Ordering::SeqCst);
    });
    place.join("room", PATIENCE).unwrap();
    assert!(place.fall_asleep(&place.cursor()));
    let wakes = place.wakes();
    publish(&channels, "room", b"x");
    assert_eq!((woken.load(Ordering::SeqCst), place.wakes()), (1, wakes));
}

#[test]
fn no_wake_up_is_lost() {
    let channels = channels();
    let place = Place::claim(another(&channels)).unwrap();
    place.join("room", PATIENCE).unwrap();
    let mut cursor = place.cursor();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let sleeper = std::thread::spawn(move || {
        while count.load(Ordering::SeqCst) < 5_000 {
            let wakes = place.wakes();
            if place.fall_asleep(&cursor) {
                let begun = Instant::now();
                place.wait_for_wake(wakes, None);
                assert!(
                    begun.elapsed() < Duration::from_secs(10),
                    "slept through a message"
                );
            }
            place.wake_up();
            count.fetch_add(read(&place, &mut cursor).len(), Ordering::SeqCst);
        }
    });
    // One at a time, so that each finds the sleeper asleep, or about to be: none can make up for one that was lost.
    for sent in 1..=5_000 {
        publish(&channels, "room", b"x");
        while seen.load(Ordering::SeqCst) < sent {
            assert!(!sleeper.is_finished(), "it has slept through a message");
            std::hint::spin_loop();
        }
    }
    sleeper.join().unwrap();
}
