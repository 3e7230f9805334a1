//! Replays the committed seeds of a fuzz target, in an ordinary test and without a fuzzer.
//!
//! The tests of the crates include this file, as they include the properties in `src/`; so a path is looked for from a crate.

use std::fs;
use std::path::Path;

/// Runs a property on every seed of its target.
pub(crate) fn replay(target: &str, run: impl Fn(&[u8])) {
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
