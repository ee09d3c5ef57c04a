//! What stages see of each other's files, through the public interface only.

#![allow(clippy::disallowed_methods, reason = "tests and measurements meet the real clock and runtime")]

mod content;
mod life;
mod merge;
mod share;
mod support;
