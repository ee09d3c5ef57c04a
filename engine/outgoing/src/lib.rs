//! HTTP requests of plugins: the policy is asked, the name is looked up, and what is connected to is an address that was
//! looked at.
//!
//! Start reading in `client.rs`, which sends a request and follows redirects. `target.rs` reads URLs into what the policy
//! decides on; `header.rs` says which headers may be set; `connection.rs` makes one connection for one exchange. The policy
//! itself is `yuanli_model::http`. No connection is kept: a pool would outlive the decision that it was opened for.

mod client;
mod connection;
mod header;
mod resolve;
mod target;

pub use client::{HttpClient, Options, authorities};
pub use header::MAX_HEADERS;
pub use resolve::{Resolve, SystemResolver};
pub use rustls::pki_types::CertificateDer;
