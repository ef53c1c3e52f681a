//! Runs `checks/translate.rs` on whatever the fuzzer makes up.
#![no_main]

#[path = "../checks/translate.rs"]
mod check;
#[path = "../checks/framing.rs"]
mod framing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
