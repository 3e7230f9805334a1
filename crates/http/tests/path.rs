//! Paths in normal form and encoded again, by the properties that the fuzz target checks (`fuzz/src/path.rs`), over its committed
//! seeds and over paths made at random.

#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../fuzz/src/path.rs"]
mod property;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[test]
fn the_seeds_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/path");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the folder of seeds") {
        let path = entry.expect("a seed").path();
        println!("{}", path.display()); // shown when it fails
        property::run(&fs::read(&path).expect("a seed is a file"));
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}

proptest! {
    #[test]
    fn the_properties_hold_for_paths(path in "/?((\\.|\\.\\.|%2e|%2F|[a-c.%?#\\\\]{0,3})/?){0,8}") {
        property::run(path.as_bytes());
    }

    #[test]
    fn the_properties_hold_for_any_bytes(path in proptest::collection::vec(any::<u8>(), 0..100)) {
        property::run(&path);
        property::run(&[b"/", &path[..]].concat());
    }
}
