//! A small shop: items that can be listed and added over HTTP. Standard library only.

pub mod http;
pub mod items;
pub mod service;
pub mod settings;
