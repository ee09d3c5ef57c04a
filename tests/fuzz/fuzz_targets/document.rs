//! Compiling a document: whatever is in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| yuanli_fuzz::language::document(case));
