//! What happened, in order: a digest of all of it, and the end of it in words for whoever looks at a seed that failed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// Lines that are kept.
const KEPT: usize = 4_000;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    digest: DefaultHasher,
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn note(&mut self, at: Duration, what: &str) {
        (at, what).hash(&mut self.digest);
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>10.3}s {what}", at.as_secs_f64()));
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
