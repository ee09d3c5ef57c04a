//! The port's promises, kept with real folders, Debian's restic and processes that are killed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests and measurements meet the real clock and runtime")]

mod crash;
mod damage;
mod key;
mod refusal;
mod restic;
mod round_trip;
mod support;
