//! Runs `checks/form.rs` on whatever the fuzzer makes up.
#![no_main]

#[path = "../checks/form.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
