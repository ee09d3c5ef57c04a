//! Requests that start runs: who signs how (`signature.rs`), what happened (`fact.rs`), and which of them count (`filter.rs`).
//!
//! [`verify`] comes first, over the bytes as they came; nothing is read of a request that it refuses.

mod fact;
mod filter;
mod signature;

pub use fact::Facts;
pub use filter::{InvalidFilter, Passed, passes};
pub use signature::{Delivery, Refused, SIGNATURE_HEADER, TOLERANCE, delivery, verify};
