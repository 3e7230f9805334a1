//! The property of a channels' region in which somebody has scribbled: whoever reads it or writes to it comes to an end,
//! panics nowhere and takes no more bytes than the region has; what is found damaged once stays so.
//!
//! Input of a fuzzer: words to put into a region with some messages, each as an area of the layout, a place in it, and the
//! value. The C library's mutex is left alone: what that does when it is broken is not ours.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use fairlead_channel::{ChannelError, Channels, Cursor, Kind, Next, Place, SMALLEST_REGION};

/// First word and words of: the header, the first places of workers, the lists of the directory, the first channels'
/// entries, the log's beginning, everything (crates/channel/src/layout.rs, for the smallest region).
const AREAS: [(u64, u64); 6] = [
    (0, 32),
    (32, 64),
    (1056, 127),
    (1184, 3 * 128),
    (17_440, 512),
    (0, SMALLEST_REGION as u64 / 8),
];
const LOCK: std::ops::Range<u64> = 8..16;

/// Bytes of one change: area, place, value.
const CHANGE: usize = 1 + 2 + 8;

/// Checks the property for the input of a fuzzer.
pub fn run(data: &[u8]) {
    let channels = Arc::new(Channels::in_memory(SMALLEST_REGION, usize::MAX).expect("memory"));
    let place = Place::claim(Arc::clone(&channels)).expect("a place");
    let mut cursor = place.cursor();
    let first = place.join("a", Duration::ZERO).expect("a channel");
    for number in 0..6u8 {
        let name = if number % 2 == 0 { "a" } else { "b" };
        channels
            .publish(name, Kind::Binary, &[number; 200])
            .expect("sound so far");
    }
    scribble(&channels, data);
    read_all(&place, &mut cursor);
    look(&channels);
    let published =
        ["a", "a new one"].map(|name| channels.publish_within(name, Kind::Text, b"x", Duration::ZERO));
    let joined = place.join("b", Duration::ZERO);
    place.leave(first.id);
    if let Ok(joined) = &joined {
        place.leave(joined.id);
    }
    place.settle();
    let _ = channels.forget_dead(Duration::ZERO);
    let is_damaged = channels.is_damaged();
    read_all(&place, &mut cursor);
    look(&channels);
    if is_damaged {
        assert!(channels.is_damaged(), "it was damaged once");
        assert!(
            !place.has_news(&cursor) && place.fall_asleep(&cursor),
            "a loop can sleep"
        );
        let refused = channels.publish_within("a", Kind::Text, b"x", Duration::ZERO);
        let is_told = matches!(refused, Err(ChannelError::Damaged | ChannelError::Lost));
        assert!(is_told, "{refused:?}");
    }
    drop((published, joined));
}

fn scribble(channels: &Channels, data: &[u8]) {
    let descriptor = channels.descriptor().try_clone_to_owned().expect("a descriptor");
    let file = File::from(descriptor);
    for change in data.chunks_exact(CHANGE) {
        let (start, count) = AREAS[usize::from(change[0]) % AREAS.len()];
        // The area of everything is larger than what two bytes say.
        let place = u64::from(u16::from_le_bytes([change[1], change[2]]));
        let word = start + place * (count / 65_536).max(1) % count;
        if !LOCK.contains(&word) {
            file.write_all_at(&change[3..], word * 8)
                .expect("it is as long as before");
        }
    }
}

/// Reads to the end, and in no more steps than the log has room for records.
fn read_all(place: &Place, cursor: &mut Cursor) {
    let (mut steps, mut bytes) = (0, 0);
    let mut payload = Vec::new();
    loop {
        steps += 1;
        assert!(steps < SMALLEST_REGION / 16, "it reads in circles");
        match place.next(cursor) {
            Next::Nothing => break,
            Next::Overtaken => {}
            Next::Record(record) => {
                payload.clear();
                if place.payload(&record, &mut payload) {
                    assert_eq!(payload.len(), record.length);
                }
                bytes += payload.len();
                assert!(bytes <= SMALLEST_REGION, "it reads more than there is");
                let mut again = Vec::new();
                let _ = place.read_at(record.position, &mut again);
            }
        }
    }
    place.tell(cursor);
}

/// All that looks without writing.
fn look(channels: &Channels) {
    for name in ["a", "b", "nobody"] {
        let found = channels.history(name, None, usize::MAX).unwrap_or_default();
        let bytes: usize = found.iter().map(|(_, payload)| payload.len()).sum();
        assert!(bytes <= SMALLEST_REGION && found.len() <= SMALLEST_REGION / 48);
        for since in [0, 1, 1 << 51, u64::MAX] {
            if let Ok(Some(page)) = channels.page(name, Some(since), usize::MAX, usize::MAX) {
                let bytes: usize = page.messages.iter().map(|(_, payload)| payload.len()).sum();
                assert!(bytes <= SMALLEST_REGION);
            }
        }
        let _ = channels.members(name);
    }
    assert!(channels.list().len() <= SMALLEST_REGION / 1024);
    assert!(channels.workers().len() <= 128);
    let _ = channels.log_size();
}
