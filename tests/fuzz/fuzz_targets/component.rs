//! Reading the rights of a component and compiling it: whatever it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| yuanli_wasm::fuzzing::component(case));
