//! The crate against a real Docker engine, and its fake against the same promises.
//!
//! Needs a Docker engine and Debian's `busybox-static`; without them the tests fail and say so. The image that they
//! run is made from busybox by our own build and stays on the engine as `yuanli-test-busybox`.

#![allow(clippy::disallowed_methods, reason = "tests and measurements meet the real clock and runtime")]

mod archive;
mod bound;
mod build;
mod buildkit;
mod carry;
mod contract;
mod cut_log;
mod execution;
mod fault;
mod helper;
mod image_file;
mod proxy;
mod registry;
mod remote;
mod replica;
mod replica_contract;
mod restart;
mod run;
mod service;
mod support;
