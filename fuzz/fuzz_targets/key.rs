//! Runs `checks/key.rs` on whatever the fuzzer makes up.
#![no_main]

#[path = "../checks/key.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
