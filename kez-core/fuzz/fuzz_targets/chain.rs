#![no_main]
#[path = "../src/targets.rs"]
#[allow(dead_code, reason = "each fuzzer uses its part of the file")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::chain(data));
