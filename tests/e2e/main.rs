//! The real binary, as its users meet it: real files, real Docker, real signals. One test binary, one link step.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod admin;
mod afar;
mod apps;
mod audit;
mod authors;
mod cache;
mod cancel;
mod conduct;
mod crash;
mod documents;
mod durable;
mod editor;
mod examples;
mod fetched;
mod handover;
mod histories;
mod history;
mod hooks;
mod identity;
mod interrupt;
mod killed;
mod kit;
mod layers;
mod openapi;
mod pipe;
mod plan;
mod plugins;
mod publish;
mod quickstart;
mod records;
#[path = "../registry.rs"]
mod registry;
mod remote;
mod replay;
mod reports;
mod requests;
mod retry;
mod rights;
mod runs;
mod schedules;
mod secrets;
mod serve;
mod served;
mod services;
mod streams;
mod support;
mod terminal;
mod tests;
mod tried;
mod triggers;
mod unruly;
mod validate;
mod why;
mod workflows;
