//! Importing a stream: whatever it holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| yuanli_store::fuzzing::stream(case));
