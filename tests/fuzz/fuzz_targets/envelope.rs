//! The decoder of stored values: whatever an entry of the store holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| yuanli_executor::fuzzing::envelope(case));
