//! What the stages of ended runs left in their workspaces: kept for runs that take over from them, within bounds.

use std::sync::PoisonError;
use std::time::Duration;

use yuanli_model::{Outcome, RunId, Timestamp};

use super::Keeper;
use crate::executor::Error;

/// How much is kept of the workspaces of runs that have ended. What is exceeded removes those of whole runs: of those that
/// succeeded first, then of the oldest. The runs stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceBounds {
    /// Counted from the end of a run. Default 7 days.
    pub age: Option<Duration>,
    /// The most bytes of all runs together. What runs share that took over from each other counts for each. Default 10 GiB.
    pub bytes: Option<u64>,
}

impl Default for WorkspaceBounds {
    fn default() -> Self {
        Self { age: Some(Duration::from_secs(7 * 24 * 60 * 60)), bytes: Some(10 * 1024 * 1024 * 1024) }
    }
}

/// What is kept for an ended run.
struct Kept {
    run: RunId,
    ended: Timestamp,
    has_succeeded: bool,
    bytes: u64,
}

impl Keeper {
    /// Removes workspaces of ended runs until the rest is within bounds, and those of runs that there are not.
    pub(super) async fn bound_workspaces(&self) -> Result<(), Error> {
        let WorkspaceBounds { age, bytes: most } = self.shared.options.workspaces;
        let now = self.shared.ports.clock.now();
        let mut kept = self.kept(true).await?;
        // Those that go first come first.
        kept.sort_by_key(|kept| (!kept.has_succeeded, kept.ended));
        let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
        for Kept { run, ended, bytes: own, .. } in kept {
            let is_old = age.is_some_and(|age| ended.after(age) <= now);
            if is_old || most.is_some_and(|most| bytes > most) {
                self.remove_workspaces(run).await;
                bytes -= own;
            }
        }
        Ok(())
    }

    /// What is kept of runs that have ended, in bytes.
    pub(crate) async fn kept_workspaces(&self) -> Result<Vec<(RunId, u64)>, Error> {
        Ok(self.kept(false).await?.into_iter().map(|kept| (kept.run, kept.bytes)).collect())
    }

    async fn kept(&self, removes_strays: bool) -> Result<Vec<Kept>, Error> {
        let workspaces = &self.shared.ports.workspaces;
        let mut kept = Vec::new();
        for run in workspaces.runs().await? {
            match self.shared.history.summary(run).await? {
                // Its start was not committed, or retention has removed it.
                None if removes_strays && !self.is_in_doubt(run) => self.remove_workspaces(run).await,
                None => {}
                Some(summary) => {
                    let Some((ended, outcome)) = summary.ended else { continue };
                    let has_succeeded = outcome == Outcome::Succeeded;
                    // What cannot be read keeps nothing else.
                    let bytes = workspaces.size(run).await.unwrap_or_else(|error| {
                        tracing::warn!(%run, %error, "what is kept of the workspaces of a run cannot be told");
                        0
                    });
                    kept.push(Kept { run, ended, has_succeeded, bytes });
                }
            }
        }
        Ok(kept)
    }

    /// Whether it may be found at the next start.
    fn is_in_doubt(&self, run: RunId) -> bool {
        self.shared.in_doubt.lock().unwrap_or_else(PoisonError::into_inner).contains(&run)
    }

    async fn remove_workspaces(&self, run: RunId) {
        match self.shared.ports.workspaces.remove(run).await {
            Ok(()) => tracing::debug!(%run, "the workspaces of a run were removed"),
            Err(error) => tracing::warn!(%run, %error, "the workspaces of a run are left"),
        }
    }
}
