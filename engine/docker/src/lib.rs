//! Containers and images on a Docker engine: the only crate that knows bollard.
//!
//! [`Docker`] implements [`yuanli_ports::Containers`] and [`yuanli_ports::Images`]. It connects at first use, so that
//! a workflow which needs no Docker runs without one. Everything that it creates carries the labels of [`label`] and
//! is found again by them. Start reading in [`connection`], then `container` and `build`.
//!
//! Absent on purpose: pulling and pushing, BuildKit, `exec`, TLS and ssh to remote engines.

mod build;
pub mod connection;
mod container;
mod context;
mod fault;
mod ignore;
mod image;
pub mod label;
mod output;
mod reference;
mod request;

#[cfg(feature = "fake")]
pub mod fake;

pub use connection::{Docker, Options};
