#![no_main]
//! Feeds the property in `src/proxy_request.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::proxy_request::run(data));
