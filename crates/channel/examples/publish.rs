//! How fast one process publishes when nobody listens, and how fast a reader reads: prints messages per second.
//!
//! ```text
//! cargo run --release -p fairlead-channel --example publish -- [bytes] [seconds]
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_channel::{Channels, Kind, Next, Place};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u64| {
        arguments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(usual)
    };
    let (bytes, seconds) = (number(64) as usize, number(2));
    let channels = Arc::new(Channels::in_memory(64 << 20, 1 << 20).expect("64 MiB of shared memory"));
    let place = Place::claim(Arc::clone(&channels)).expect("a free place");
    let payload = vec![b'x'; bytes];
    let publish = |count: &mut u64| {
        for _ in 0..256 {
            channels
                .publish("room", Kind::Binary, &payload)
                .expect("a name and a length that are allowed");
        }
        *count += 256;
    };
    println!(
        "publish, no member: {:.2} M/s",
        per_second(seconds, publish) / 1e6
    );

    place
        .join("room", std::time::Duration::from_secs(5))
        .expect("room for a channel");
    let mut cursor = place.cursor();
    let mut buffer = Vec::new();
    let publish_and_read = |count: &mut u64| {
        publish(count);
        while let Next::Record(record) = place.next(&mut cursor) {
            buffer.clear();
            assert!(place.payload(&record, &mut buffer));
        }
    };
    println!(
        "publish and read: {:.2} M/s",
        per_second(seconds, publish_and_read) / 1e6
    );
}

fn per_second(seconds: u64, mut work: impl FnMut(&mut u64)) -> f64 {
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        work(&mut count);
    }
    count as f64 / begun.elapsed().as_secs_f64()
}
