#![no_main]
//! Feeds the property in `src/handshake.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::handshake::run(data));
