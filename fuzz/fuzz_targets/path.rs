#![no_main]
//! Feeds the properties in `src/path.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::path::run(data));
