//! Runs that take over from others: what became of stages, their artifacts, and what they left of their workspaces.
//!
//! Nothing of the other run is moved: it stays as it was, also when it is taken over from again. The keeper does nothing
//! meanwhile, so that nothing goes that was found.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use indexmap::IndexSet;
use yuanli_flow::{Run, Wanted, reuse};
use yuanli_model::run::{Again, Cause, StartingPoint};
use yuanli_model::{AttemptId, Digest, InputName, RunEvent, RunId, StageName, Workflow};
use yuanli_ports::AttemptWorkspace;
use yuanli_ports::store::{Batch, StoreError};

use crate::executor::{Error, Executor};
use crate::submission::{Started, Submission};

/// A run to be started that takes over from another one.
#[derive(Debug, Clone)]
pub struct Retry {
    /// What it runs: the workflow of the other one or a later version of it, with its inputs or others.
    pub submission: Submission,
    /// The other one.
    pub run: RunId,
    /// Where to begin; with what did not succeed when empty.
    pub from: Vec<StartingPoint>,
}

/// What a run begins with, beside what is submitted.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) id: RunId,
    pub(crate) by: Cause,
    pub(crate) again: Option<Again>,
    /// What it takes over.
    pub(crate) taken: Vec<RunEvent>,
    /// What is committed with its first events.
    pub(crate) batch: Batch,
}

impl Beginning {
    pub(crate) fn new(id: RunId, by: Cause) -> Self {
        Self { id, by, again: None, taken: Vec::new(), batch: Batch::default() }
    }
}

impl Executor {
    /// Starts a run that takes over from another one, which has ended. It is durable when this returns. Of one cause there is
    /// one run, as with [`Self::start`].
    ///
    /// # Errors
    /// [`Error::NotReusable`] and [`Error::Unkept`] say why it cannot; nothing was started.
    pub async fn retry(&self, retry: Retry, by: Cause) -> Result<Started, Error> {
        let Retry { submission, run, from } = retry;
        // Held until the new run is durable: what it shares with the old one is needed by it from then on.
        let _alone = self.shared.doorbell.tidying.lock().await;
        if let Some(run) = self.started(submission.cause.as_deref()).await? {
            return Ok(Started { run, is_new: false });
        }
        let (old, events) = self.shared.history.run(run).await?.ok_or(Error::NotStored(run))?;
        let changed = changed(&old, &submission);
        let workflow = &submission.definition.workflow;
        let taken = reuse(&old, workflow, Wanted { from: &from, changed: &changed })?;
        let mut beginning = Beginning::new(self.shared.ports.clock.new_run_id(), by);
        let shared = self.share(&old, &taken, beginning.id, workflow).await;
        let started = match shared {
            Ok(()) => {
                self.shared.records.share(&events, &taken, beginning.id, &mut beginning.batch).await?;
                beginning.again = Some(Again { run, from, changed });
                beginning.taken = taken;
                let id = beginning.id;
                self.begin(submission, beginning).await.map_err(|error| (id, error))
            }
            Err(error) => Err((beginning.id, error)),
        };
        match started {
            Ok(run) => Ok(Started { run, is_new: true }),
            Err((id, error)) => {
                if matches!(error, Error::Store(StoreError::Unavailable(_) | StoreError::Closed)) {
                    // Nobody knows whether it was committed; the next engine finds out, and then needs what it names.
                    self.shared.in_doubt.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                } else {
                    let _ = self.shared.ports.workspaces.remove(id).await;
                }
                Err(error)
            }
        }
    }

    /// The workspace of an attempt that has ended, as it was when it began. Whoever asks for it discards it. `None`: its run is
    /// not stored.
    ///
    /// # Errors
    /// See [`Error`]: what the stages before it left is not kept any more.
    pub async fn begin_workspace_again(
        &self,
        attempt: &AttemptId,
    ) -> Result<Option<Arc<dyn AttemptWorkspace>>, Error> {
        let Some((run, _)) = self.shared.history.run(attempt.run).await? else { return Ok(None) };
        let Some(position) = run.workflow().position(&attempt.stage) else { return Ok(None) };
        let needs = run.workspaces(position);
        let workspaces = &self.shared.ports.workspaces;
        Ok(Some(workspaces.begin(attempt, &needs, run.workflow(), false).await?))
    }

    /// Removes what was begun by [`Self::begin_workspace_again`]. Of a run that has not ended, other attempts may be about to go on
    /// in their workspaces.
    ///
    /// # Errors
    /// See [`Error`]: what is left then goes with the run.
    pub async fn end_workspace(&self, run: RunId, workspace: &dyn AttemptWorkspace) -> Result<(), Error> {
        workspace.discard().await?;
        let summary = self.shared.history.summary(run).await?;
        if summary.is_some_and(|summary| summary.ended.is_some()) {
            self.shared.ports.workspaces.retire(run).await?;
        }
        Ok(())
    }

    /// Forgets what attempts have called that another engine has begun, as what that made outside is not this one's: they do
    /// it anew.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn forget_calls(&self, attempts: &[AttemptId]) -> Result<(), Error> {
        let (mut batch, mut blobs) = (Batch::default(), Vec::new());
        for attempt in attempts {
            blobs.extend(self.shared.records.forget_left(attempt, &mut batch).await?);
        }
        if !batch.writes.is_empty() {
            self.shared.ports.store.commit(batch).await?;
        }
        self.shared.records.release(&blobs).await;
        Ok(())
    }

    /// Keeps for the new run what stages left that are taken over.
    async fn share(
        &self,
        old: &Run,
        taken: &[RunEvent],
        id: RunId,
        workflow: &Workflow,
    ) -> Result<(), Error> {
        let left: Vec<(&StageName, Digest)> = taken.iter().flat_map(left).collect();
        if left.is_empty() {
            return Ok(());
        }
        let digests: IndexSet<Digest> = left.iter().map(|(_, digest)| *digest).collect();
        let digests: Vec<Digest> = digests.into_iter().collect();
        let missing = self.shared.ports.workspaces.share(old.id(), id, &digests).await?;
        let needed = needed(taken, workflow);
        let gone = left.iter().find(|(stage, digest)| missing.contains(digest) && needed.contains(stage));
        match gone {
            Some((stage, _)) => Err(Error::Unkept { run: old.id(), stage: (*stage).clone() }),
            None => Ok(()),
        }
    }
}

/// The inputs that have another value than in the old run, or are in one of them only.
fn changed(old: &Run, submission: &Submission) -> Vec<InputName> {
    let names: IndexSet<&InputName> = submission.inputs.keys().chain(old.inputs().keys()).collect();
    let is_other = |name: &&InputName| old.inputs().get(*name) != submission.inputs.get(*name);
    names.into_iter().filter(is_other).cloned().collect()
}

/// What a stage that is taken over left of its workspaces.
fn left(event: &RunEvent) -> Vec<(&StageName, Digest)> {
    match event {
        RunEvent::StageReused { stage, workspaces, .. } => {
            workspaces.iter().map(|digest| (stage, *digest)).collect()
        }
        RunEvent::InstancesReused { stage, instances, .. } => {
            instances.iter().filter_map(|instance| Some((stage, instance.workspace?))).collect()
        }
        _ => Vec::new(),
    }
}

/// The stages whose files others begin with that run again: those that are needed by them, and those that are among them in
/// part.
fn needed<'a>(taken: &'a [RunEvent], workflow: &'a Workflow) -> BTreeSet<&'a StageName> {
    let reused: BTreeSet<&StageName> = taken
        .iter()
        .filter_map(|event| match event {
            RunEvent::StageReused { stage, .. } => Some(stage),
            _ => None,
        })
        .collect();
    let again = workflow.stages().iter().filter(|stage| !reused.contains(&stage.name));
    again.flat_map(|stage| stage.needs.iter().chain([&stage.name])).collect()
}
