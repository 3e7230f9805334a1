#![no_main]
//! Feeds the property in `src/channel_region.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::channel_region::run(data));
