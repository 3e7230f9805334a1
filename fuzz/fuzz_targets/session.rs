#![no_main]
//! Feeds the property in `src/session.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::session::run(data));
