//! Reading, checking and evaluating an expression: whatever it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| yuanli_fuzz::language::expression(case));
