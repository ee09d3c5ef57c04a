//! What the authors of plugins are given: a plugin to begin with (`template.rs`), and the way from a folder to a component
//! (`build.rs`) by the tools of its language (`tool.rs`). Knows no engine; `command/author.rs` says what was done.

pub(crate) mod build;
pub(crate) mod template;
mod tool;
