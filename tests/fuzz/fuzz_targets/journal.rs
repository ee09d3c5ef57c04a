//! The reader of the journal: whatever its segments hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| yuanli_store::fuzzing::journal(case));
