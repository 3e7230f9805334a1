//! Replays the committed seeds of the fuzz targets through the very functions that the fuzzer calls.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use crate::{handshake_property, session_property};
use replay::replay;

#[test]
fn the_seeds_of_the_session_target_pass() {
    replay("session", session_property::run);
}

#[test]
fn the_seeds_of_the_handshake_target_pass() {
    replay("handshake", handshake_property::run);
}
