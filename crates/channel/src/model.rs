//! The log in loom's model of memory: every order in which two threads can run, and all that weak memory allows them to
//! see. The ring is so small that each append overwrites.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p fairlead-channel model
//! ```

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::directory::{ChannelId, Directory};
use crate::layout::{Layout, WORKERS};
use crate::log::{Kind, Log, Look, Writer};
use crate::sleep;
use crate::sync::AtomicU64;
use crate::words::Words;

struct Memory {
    words: Vec<AtomicU64>,
    lock: Mutex<()>,
}

/// Two records of one payload word fit.
const LAYOUT: Layout = Layout {
    channels: 1,
    buckets: 1,
    capacity: 16,
};

impl Memory {
    fn new() -> (Arc<Memory>, ChannelId) {
        let words = (0..LAYOUT.words()).map(|_| AtomicU64::new(0)).collect();
        let memory = Memory {
            words,
            lock: Mutex::new(()),
        };
        let id = memory.directory().find_or_create("c").unwrap();
        (Arc::new(memory), id)
    }

    fn words(&self) -> Words<'_> {
        Words::new(&self.words)
    }

    fn log(&self) -> Log<'_> {
        Log {
            words: self.words(),
            layout: LAYOUT,
        }
    }

    fn directory(&self) -> Directory<'_> {
        Directory {
            words: self.words(),
            layout: LAYOUT,
        }
    }

    /// The number of the last sleep.
    fn sleep_number(&self, place: usize) -> u64 {
        let at = Layout::worker(place) + crate::layout::worker::ASLEEP;
        self.words().get(at) >> 1
    }

    fn publish(&self, id: ChannelId, value: u64) -> u64 {
        self.publish_bytes(id, &value.to_ne_bytes())
    }

    fn publish_bytes(&self, id: ChannelId, payload: &[u8]) -> u64 {
        let _held = self.lock.lock().unwrap();
        let writer = Writer::new(self.log());
        writer.append(id.index(), Kind::Binary, payload).unwrap()
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Beyond this the number of orders explodes; errors of such code show with two.
    builder.preemption_bound = Some(2);
    builder.check(check);
}

/// All that a reader gets is whole, in order, and right, however often it is overtaken.
#[test]
fn a_reader_gets_whole_records_or_none() {
    model(|| {
        let (memory, id) = Memory::new();
        memory.publish(id, 101);
        let writer = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                memory.publish(id, 102);
                memory.publish(id, 103);
            })
        };
        let mut position = 0;
        let mut last = 0;
        for _ in 0..3 {
            match memory.log().look(position) {
                Look::Nothing => {}
                Look::Damaged => panic!("nobody scribbles here"),
                Look::Overtaken(head) => {
                    assert!(head > position);
                    position = head;
                }
                Look::Record(record) => {
                    assert!(record.is_of(id));
                    assert!(record.offset > last);
                    let mut payload = Vec::new();
                    if memory.log().payload(&record, &mut payload) {
                        let value = u64::from_ne_bytes(payload.try_into().unwrap());
                        assert_eq!(value, 100 + record.offset);
                        last = record.offset;
                    }
                    position = record.next;
                }
            }
        }
        writer.join().unwrap();
    });
}

/// An append may find room that another thread's append has made before, and move no head: who reads what it overwrites
/// still sees that the head has moved.
#[test]
fn room_that_an_earlier_append_has_made_is_no_trap() {
    model(|| {
        let (memory, id) = Memory::new();
        // The whole ring: the next record makes room for two.
        let old = [7; 80];
        memory.publish_bytes(id, &old);
        let reader = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || match memory.log().look(0) {
                Look::Record(record) if record.offset == 1 => {
                    let mut payload = Vec::new();
                    if memory.log().payload(&record, &mut payload) {
                        assert_eq!(payload, old, "torn, and not seen");
                    }
                }
                Look::Record(_) | Look::Overtaken(_) => {}
                other => panic!("{other:?}"),
            })
        };
        memory.publish(id, 102);
        let second = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.publish(id, 103))
        };
        second.join().unwrap();
        reader.join().unwrap();
    });
}

/// Two writers take turns, and both messages are there.
#[test]
fn writers_lose_nothing() {
    model(|| {
        let (memory, id) = Memory::new();
        let other = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.publish(id, 7))
        };
        let mine = memory.publish(id, 7);
        let theirs = other.join().unwrap();
        assert_eq!(mine.max(theirs), 2);
        assert_eq!(mine.min(theirs), 1);
        let Look::Record(first) = memory.log().look(0) else {
            panic!("the first message is gone");
        };
        let Look::Record(second) = memory.log().look(first.next) else {
            panic!("the second message is gone");
        };
        assert_eq!(
            (first.offset, second.offset, second.previous),
            (1, 2, Some(first.position))
        );
    });
}

/// A loop that falls asleep while somebody publishes is woken, or sees the message.
#[test]
fn no_message_is_slept_through() {
    model(|| {
        let (memory, id) = Memory::new();
        memory.directory().set_members(id.index(), WORKERS - 1, 1);
        let publisher = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                memory.publish(id, 1);
                sleep::before_waking();
                sleep::sleep_of(memory.words(), WORKERS - 1).is_some()
            })
        };
        let sleeps = sleep::fall_asleep(memory.log(), WORKERS - 1, 0);
        let is_woken = publisher.join().unwrap();
        assert!(!sleeps || is_woken, "it sleeps, and nobody wakes it");
    });
}

/// A publisher that comes late ends no sleep but the one that it has woken the loop from.
#[test]
fn a_later_sleep_is_woken_as_well() {
    model(|| {
        let place = WORKERS - 1;
        let (memory, id) = Memory::new();
        let publishers = [1, 2].map(|value| {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                memory.publish(id, value);
                sleep::before_waking();
                let sleep = sleep::sleep_of(memory.words(), place);
                if let Some(sleep) = sleep {
                    sleep::is_over(memory.words(), place, sleep);
                }
                sleep
            })
        });
        // It is woken, by whoever, reads what it finds, and sleeps again.
        sleep::fall_asleep(memory.log(), place, 0);
        sleep::wake_up(memory.words(), place);
        let cursor = memory.log().tail();
        let sleeps = sleep::fall_asleep(memory.log(), place, cursor);
        let own = memory.sleep_number(place);
        let woken = publishers.map(|publisher| publisher.join().unwrap());
        if sleeps && memory.log().tail() > cursor {
            assert!(
                woken.iter().flatten().any(|sleep| sleep.number() == own),
                "it sleeps, and nobody wakes it"
            );
        }
    });
}
