#![no_main]
//! Feeds the property in `src/proxy_header.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::proxy_header::run(data));
