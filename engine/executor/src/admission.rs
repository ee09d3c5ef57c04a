//! The entrance of runs into their concurrency groups.
//!
//! Which runs of a group go on is decided by `flow`'s [`yuanli_flow::Admission`], one for all runs of the engine. It is
//! not stored: what a run says of itself, that it was let in, is.

use std::sync::PoisonError;

use yuanli_flow::{Command, Run, Standing};
use yuanli_model::RunId;
use yuanli_model::workflow::Older;

use crate::executor::{Executor, Shared};
use crate::owner::Message;

/// How a run comes into its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entrance {
    group: String,
    limit: usize,
    older: Older,
}

impl Entrance {
    /// That of a run, if it has a group.
    pub(crate) fn of(run: &Run) -> Option<Self> {
        let concurrency = run.workflow().settings().concurrency.as_ref();
        // A history tells the group and not what its workflow says of it; then it waits for its turn, alone.
        let (limit, older) = concurrency
            .map_or((1, Older::Finish), |concurrency| (concurrency.limit.get() as usize, concurrency.older));
        Some(Self { group: run.group()?.to_owned(), limit, older })
    }

    /// The same for one that waits for its turn, whatever it did to others when it first came.
    pub(crate) fn after_others(self) -> Self {
        Self { older: Older::Finish, ..self }
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }
}

impl Executor {
    /// What a run that is active here waits for in its concurrency group; `None` when it does not wait for that.
    #[must_use]
    pub fn standing(&self, group: &str, run: RunId) -> Option<Standing> {
        self.shared.admission.lock().unwrap_or_else(PoisonError::into_inner).standing(group, run)
    }
}

impl Shared {
    /// A run that is durable comes to its group.
    pub(crate) fn enter(&self, run: RunId, Entrance { group, limit, older }: &Entrance) {
        let entry =
            self.admission.lock().unwrap_or_else(PoisonError::into_inner).enter(group, run, *limit, *older);
        for older in entry.cancelled {
            let reason = format!("run {run} of the same concurrency group came after it");
            let _ = self.send(older, Message::Command(Command::Cancel { reason }));
        }
        self.admit(&entry.admitted);
        // One that was cancelled before it came here has left already, and would never leave again.
        if !self.is_active(run) {
            self.leave(run, group);
        }
    }

    /// A run that was let in under an engine before this one is in its group again.
    pub(crate) fn enter_again(&self, run: RunId, entrance: &Entrance) {
        let mut admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        admission.resume(&entrance.group, run, entrance.limit, true);
    }

    /// A run has left its group.
    pub(crate) fn leave(&self, run: RunId, group: &str) {
        let admitted = self.admission.lock().unwrap_or_else(PoisonError::into_inner).leave(group, run);
        self.admit(&admitted);
    }

    /// What cannot be reached any more has ended, and leaves by itself.
    fn admit(&self, runs: &[RunId]) {
        for run in runs {
            let _ = self.send(*run, Message::Command(Command::Admit));
        }
    }
}
