//! Readers while somebody writes: threads on one region, with a log so small that it wraps all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::{another, channels};
use crate::reader::{Next, Place};
use crate::Kind;

/// A payload that shows whether it is whole: all its bytes follow from its first eight.
fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..length).map(|at| (number as u8).wrapping_mul(31).wrapping_add(at as u8)));
    bytes
}

#[test]
fn nobody_ever_reads_half_a_record() {
    let channels = channels();
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (channels, ended) = (another(&channels), Arc::clone(&ended));
            std::thread::spawn(move || {
                let place = Place::claim(channels).unwrap();
                let mut cursor = place.cursor();
                let (mut whole, mut overtaken) = (0u64, 0u64);
                let mut last = 0;
                loop {
                    let is_over = ended.load(Ordering::SeqCst);
                    match place.next(&mut cursor) {
                        Next::Record(record) => {
                            let mut bytes = Vec::new();
                            if !place.payload(&record, &mut bytes) {
                                overtaken += 1;
                                continue;
                            }
                            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                            assert_eq!(bytes, payload(number, record.length - 8));
                            assert!(record.offset > last, "{} after {last}", record.offset);
                            last = record.offset;
                            whole += 1;
                        }
                        Next::Overtaken => overtaken += 1,
                        Next::Nothing if is_over => return (whole, overtaken),
                        Next::Nothing => std::thread::yield_now(),
                    }
                }
            })
        })
        .collect();
    for number in 0..12_000u64 {
        let length = (number * 7919 % 20_000) as usize;
        channels
            .publish("room", Kind::Binary, &payload(number, length))
            .unwrap();
    }
    ended.store(true, Ordering::SeqCst);
    for reader in readers {
        let (whole, overtaken) = reader.join().unwrap();
        assert!(whole > 100, "read {whole}, overtaken {overtaken}");
    }
}

#[test]
fn writers_of_one_channel_take_turns() {
    let channels = channels();
    let threads: Vec<_> = (0..4u8)
        .map(|thread| {
            let channels = another(&channels);
            std::thread::spawn(move || {
                (0..2000u32)
                    .map(|_| channels.publish("room", Kind::Binary, &[thread]).unwrap())
                    .collect::<Vec<u64>>()
            })
        })
        .collect();
    let mut offsets: Vec<u64> = threads
        .into_iter()
        .flat_map(|thread| {
            let own = thread.join().unwrap();
            assert!(own.windows(2).all(|two| two[0] < two[1]));
            own
        })
        .collect();
    offsets.sort_unstable();
    assert!(offsets.windows(2).all(|two| two[0] + 1 == two[1]));
    assert_eq!(offsets.len(), 8000);
}
