//! The file of the channels is cut short, emptied or made anew while it is mapped: nobody dies, nobody reads what is no
//! longer there, and all are told.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{publish, read};
use crate::channels::Channels;
use crate::layout::SMALLEST_REGION;
use crate::reader::Place;
use crate::region::PATIENCE;
use crate::{ChannelError, Kind, RegionError};

/// Removed when the test ends, in whatever way.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("fairlead-lost-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn open(&self) -> Result<Arc<Channels>, RegionError> {
        Channels::in_file(&self.0.join("region"), SMALLEST_REGION, usize::MAX).map(Arc::new)
    }

    fn cut(&self, length: u64) {
        let file = File::options().write(true).open(self.0.join("region")).unwrap();
        file.set_len(length).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_lost(channels: &Channels) -> bool {
    matches!(
        channels.publish_within("room", Kind::Text, b"x", Duration::ZERO),
        Err(ChannelError::Lost)
    )
}

#[test]
fn a_file_that_is_cut_short_anywhere_kills_nobody() {
    for length in [0, 4096, 300_000] {
        let folder = Folder::new(&format!("cut-{length}"));
        let channels = folder.open().unwrap();
        let place = Place::claim(Arc::clone(&channels)).unwrap();
        let mut cursor = place.cursor();
        place.join("room", PATIENCE).unwrap();
        for _ in 0..10 {
            publish(&channels, "room", &[1; 50_000]);
        }
        folder.cut(length);
        // It reads what is there still, and comes to an end.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&place, &mut cursor)));
        let _ = channels.history("room", None, usize::MAX);
        let _ = channels.list();
        while !is_lost(&channels) {
            let _ = channels.publish_within("room", Kind::Text, &[2; 50_000], Duration::ZERO);
        }
        assert!(channels.is_damaged());
        assert!(
            !place.has_news(&cursor) && place.fall_asleep(&cursor),
            "a loop can sleep"
        );
        let wakes = place.wakes();
        assert_eq!(place.wait_for_wake(wakes, Some(Duration::from_millis(1))), wakes);
        place.wake_self();
        assert_ne!(place.wait_for_wake(wakes, None), wakes);
    }
}

#[test]
fn a_log_that_somebody_makes_in_an_emptied_file_is_left_alone() {
    let folder = Folder::new("emptied");
    let old = folder.open().unwrap();
    let place = Place::claim(Arc::clone(&old)).unwrap();
    let cursor = place.cursor();
    publish(&old, "room", b"old");
    folder.cut(0);
    let new = folder.open().unwrap();
    let offset = publish(&new, "room", b"new");
    assert!(is_lost(&old));
    assert!(old.history("room", None, 9).is_err());
    drop((cursor, place, old));
    assert!(!new.is_damaged());
    assert_eq!(publish(&new, "room", b"new"), offset + 1);
}

#[test]
fn who_finds_somebody_making_the_file_waits_no_longer_than_for_a_lock() {
    let folder = Folder::new("made");
    drop(folder.open().unwrap());
    let other = File::open(folder.0.join("region")).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(folder.open(), Err(RegionError::BeingMade)));
    drop(other);
    folder.open().unwrap();
}

#[test]
fn all_processes_are_told_when_their_file_has_lost_its_name() {
    let folder = Folder::new("name");
    let (one, other) = (folder.open().unwrap(), folder.open().unwrap());
    publish(&one, "room", b"x");
    one.abandon();
    assert!(is_lost(&one) && is_lost(&other));
    assert!(matches!(folder.open(), Err(RegionError::Damaged)));
}
