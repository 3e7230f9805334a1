//! Tasks as members of channels: they take messages in order, wait for the next, and lose what they were told they may.

use super::channels::{bench, channels, publish};
use crate::{Drops, Event, Taken, Waiting};

#[test]
fn a_subscription_takes_messages_in_order_and_waits() {
    let channels = channels();
    let bench = bench(&channels);
    let first = publish(&channels, "room", "past");
    let (subscriber, answer) = bench
        .worker
        .subscribe("room", Some(0), 10, Drops::Oldest)
        .unwrap();
    assert_eq!((answer.offset, answer.replayed), (first - 1, 1));
    let Taken::Message(message) = subscriber.receive(None) else {
        panic!("nothing was replayed");
    };
    assert_eq!((message.offset, message.payload), (first, b"past".to_vec()));
    assert_eq!(subscriber.wait(5), Waiting::Registered);
    assert_eq!(subscriber.wait(6), Waiting::Taken);
    publish(&channels, "room", "news");
    assert_eq!(bench.turn(), [Event::Wake(5)]);
    assert!(matches!(subscriber.receive(None), Taken::Message(message) if message.payload == b"news"));
    assert_eq!(subscriber.receive(Some(7)), Taken::Empty);
    subscriber.close();
    assert_eq!(bench.turn(), [Event::Wake(7)]);
    assert_eq!(subscriber.receive(None), Taken::Closed);
    assert_eq!(channels.members("room").unwrap(), 0);
}

#[test]
fn a_full_subscription_drops_as_it_was_told() {
    for (drops, expected) in [(Drops::Newest, 0..10), (Drops::Oldest, 20..30)] {
        let channels = channels();
        let bench = bench(&channels);
        let (subscriber, _) = bench.worker.subscribe("room", None, 10, drops).unwrap();
        for number in 0..30 {
            publish(&channels, "room", &number.to_string());
        }
        bench.turn();
        assert_eq!((subscriber.missed(), subscriber.queued()), (20, 10));
        let taken: Vec<String> = std::iter::from_fn(|| match subscriber.receive(None) {
            Taken::Message(message) => Some(String::from_utf8(message.payload).unwrap()),
            _ => None,
        })
        .collect();
        assert_eq!(
            taken,
            expected.map(|number: u32| number.to_string()).collect::<Vec<_>>()
        );
    }
}
