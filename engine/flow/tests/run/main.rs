//! The run as pure decisions: tables of what follows from what, and random histories.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod again;
mod combination;
mod outcome;
mod random;
mod support;
mod table;
