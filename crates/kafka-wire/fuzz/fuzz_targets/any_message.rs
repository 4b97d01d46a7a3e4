#![no_main]

#[path = "../../tests/messages/checks.rs"]
#[allow(dead_code)]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::any_message(data));
