//! The log and its directory as one: every moment to die, every moment to be overtaken, and a model to agree with.

mod crashes;
mod files;
mod lock;
mod log;
mod pages;
mod readers;
mod sleep;
mod wakes;

use std::sync::Arc;

use crate::channels::Channels;
use crate::layout::SMALLEST_REGION;
use crate::reader::{Cursor, Next, Place};
use crate::Kind;

fn channels() -> Arc<Channels> {
    Arc::new(Channels::in_memory(SMALLEST_REGION, usize::MAX).unwrap())
}

/// The same region, as another process would have it.
fn another(channels: &Channels) -> Arc<Channels> {
    let descriptor = channels.descriptor().try_clone_to_owned().unwrap();
    Arc::new(Channels::inherited(descriptor, usize::MAX).unwrap())
}

fn publish(channels: &Channels, name: &str, payload: &[u8]) -> u64 {
    channels.publish(name, Kind::Binary, payload).unwrap()
}

/// Everything new: offsets and payloads.
fn read(place: &Place, cursor: &mut Cursor) -> Vec<(u64, Vec<u8>)> {
    let mut messages = Vec::new();
    while let Next::Record(record) = place.next(cursor) {
        let mut payload = Vec::new();
        assert!(place.payload(&record, &mut payload));
        messages.push((record.offset, payload));
    }
    messages
}
