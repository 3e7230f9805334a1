//! A region in which somebody has scribbled: the seeds of the fuzz target, and random words.

#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../fuzz/src/channel_region.rs"]
mod property;
#[path = "../../../fuzz/replay.rs"]
mod seeds;

use proptest::prelude::*;

#[test]
fn the_seeds_pass() {
    seeds::replay("channel_region", property::run);
}

/// Values that mean something somewhere: positions, sizes with a kind above, numbers of entries.
fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..64u64,
        (0..512u64).prop_map(|value| value * 2),
        (0..64u64, 0..4u64).prop_map(|(size, kind)| (size * 2) | (kind << 32)),
        (0..128u64, 0..2048u64).prop_map(|(channel, length)| channel | (length << 32)),
        Just(u64::MAX),
        Just(1 << 62),
    ]
}

proptest! {
    #[test]
    fn whatever_is_scribbled_somewhere(
        changes in proptest::collection::vec((0..6u8, any::<u16>(), values()), 1..12)
    ) {
        let mut data = Vec::new();
        for (area, place, value) in changes {
            data.push(area);
            data.extend(place.to_le_bytes());
            data.extend(value.to_le_bytes());
        }
        property::run(&data);
    }
}
