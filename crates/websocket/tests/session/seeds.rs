//! Replays the committed seeds of the fuzz targets through the very functions that the fuzzer calls.

use std::fs;
use std::path::Path;

use crate::{handshake_property, session_property};

fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the folder of seeds") {
        let path = entry.expect("a seed").path();
        println!("{}", path.display()); // shown when it fails
        run(&fs::read(&path).expect("a seed is a file"));
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}

#[test]
fn the_seeds_of_the_session_target_pass() {
    replay("session", session_property::run);
}

#[test]
fn the_seeds_of_the_handshake_target_pass() {
    replay("handshake", handshake_property::run);
}
