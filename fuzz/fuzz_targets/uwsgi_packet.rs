#![no_main]
//! Feeds the property in `src/uwsgi_packet.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::uwsgi_packet::run(data));
