//! What several tests of the store share. Each of them uses a part of it.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod beside;
pub(crate) mod child;
pub(crate) mod data;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod model;

/// Set for a run that takes its time: `make soak`.
pub(crate) const SOAK: &str = "YUANLI_SOAK";

/// One number for `make test`, and one for `make soak`.
pub(crate) fn at_length<T>(test: T, soak: T) -> T {
    if std::env::var_os(SOAK).is_some() { soak } else { test }
}
