//! Paths in normal form and encoded again, by the properties that the fuzz target checks (`fuzz/src/path.rs`), over its committed
//! seeds and over paths made at random.

#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../fuzz/src/path.rs"]
mod property;
#[path = "../../../fuzz/replay.rs"]
mod seeds;

use proptest::prelude::*;

#[test]
fn the_seeds_pass() {
    seeds::replay("path", property::run);
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
