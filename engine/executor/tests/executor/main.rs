//! The executor through its public face, over a store in memory that can be held up or broken, real logs and
//! workspaces, and plugins that do what a test says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod cache;
mod child;
mod durable;
mod follow;
mod history;
mod journal_blobs;
mod journals;
mod keeper;
mod language;
mod many;
mod patience;
mod records;
mod retry;
mod run;
mod support;
mod unneeded;
