//! What stages see of each other's files, through the public interface only.

mod content;
mod life;
mod merge;
mod support;
