//! Containers, replicas, images and volumes on a Docker engine: the only crate that knows bollard.
//!
//! [`Docker`] implements [`yuanli_ports::Containers`], [`yuanli_ports::Images`], [`yuanli_ports::Registries`],
//! [`yuanli_ports::Replicas`] and [`yuanli_ports::Volumes`]. It connects at first use, so that a workflow which needs no Docker runs without one.
//! Everything that it creates carries the labels of [`label`] and is found again by them. Start reading in
//! [`connection`], then `container` and `build`, or `replica`.
//!
//! Absent on purpose: BuildKit's sessions (secrets and ssh of builds).

mod adoption;
mod archive;
mod build;
mod buildkit;
mod carry;
pub mod connection;
mod container;
mod context;
mod credentials;
mod execution;
mod fault;
pub mod figure;
mod file;
mod ignore;
mod image;
mod image_file;
pub mod label;
mod leftover;
mod lending;
mod output;
mod place;
mod private;
mod probe;
mod reference;
mod refusal;
mod registry;
mod replica;
mod request;
mod shell;
mod ssh;
mod tls;
mod transport;
mod volume;

#[cfg(feature = "fake")]
pub mod fake;

pub use connection::{Docker, Options};
pub use leftover::Leftover;
pub use place::{Place, Tls};
pub use shell::{Said, Shell};
