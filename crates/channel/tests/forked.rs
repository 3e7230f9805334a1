//! What a forked process may still do, in a test of its own: whoever is one stays one.

use std::sync::Arc;

use fairlead_channel::{note_fork, Channels, Kind, Missed, Place, BRIEFLY, SMALLEST_REGION};

#[test]
fn a_forked_process_publishes_looks_far_back_and_counts_members() {
    let channels = Arc::new(Channels::in_memory(SMALLEST_REGION, usize::MAX).unwrap());
    let place = Place::claim(Arc::clone(&channels)).unwrap();
    let first = channels.publish("room", Kind::Text, b"x").unwrap();
    for _ in 1..2000 {
        channels.publish("room", Kind::Text, b"x").unwrap();
    }
    let joined = place.join("room", BRIEFLY).unwrap();
    // What the parent knows of the past is not the child's to ask.
    channels.prepare_replay("room", first);
    note_fork();
    channels.publish("room", Kind::Text, b"child").unwrap();
    let found = channels.history("room", Some(first), usize::MAX).unwrap();
    let offsets = found.iter().map(|(record, _)| record.offset);
    assert!(offsets.eq(first + 1..=first + 2000));
    let page = channels
        .page("room", Some(first), 10, usize::MAX)
        .unwrap()
        .unwrap();
    assert_eq!((page.messages.len(), page.missed), (10, Missed::Nothing));
    place.leave(joined.id);
    drop(place);
    // Its member is the parent's, and stays.
    assert_eq!(channels.members("room").unwrap(), 1);
}
