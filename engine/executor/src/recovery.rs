//! What becomes of runs that an engine before this one has left open.
//!
//! Either they are gone on with: what ran is run again, from its start and as the same attempt, so that it is told what it
//! was told before and finds what it has done by its journal. Or they are ended as interrupted.

use std::collections::HashSet;
use std::sync::Arc;

use yuanli_flow::{Command, Run, step};
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{AttemptId, Digest, RunEvent, RunId, Timestamp, Work, WorkflowName};
use yuanli_points::{Point, pass};
use yuanli_ports::plugins::Origin;
use yuanli_ports::store::Batch;

use crate::admission::Entrance;
use crate::child;
use crate::executor::{Error, Executor, Shared, put_events};
use crate::history::Recorded;
use crate::owner::{Family, Owner};
use crate::record::{Broken, envelope, key, v1, v3};
use crate::submission::{Definition, Definitions};

/// A run that was left open.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// The text that it came from; `None` when it is not stored any more.
    pub text: Option<String>,
    /// Where its file lies; `None` when it is not to be gone on with.
    pub origin: Option<Origin>,
    /// The stages' plugins as the workflow names them, with the components that they are pinned to.
    pub plugins: Vec<(String, Digest)>,
    /// The workflows that its stages may run, as they were when it was started.
    pub workflows: Vec<LeftWorkflow>,
    /// The attempts that ran, and that go on when the run does: what they left outside is theirs.
    pub attempts: Vec<AttemptId>,
    /// The runs that its stages have started and wait for.
    pub children: Vec<RunId>,
}

/// A workflow that stages of a run that was left may run.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftWorkflow {
    /// As stages call it.
    pub uses: WorkflowReference,
    /// Its text; `None` when it is not stored any more.
    pub text: Option<String>,
    /// Where its file lay.
    pub origin: Origin,
}

impl Executor {
    /// The runs that have not ended and that nobody drives, oldest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn left_open(&self) -> Result<Vec<RunId>, Error> {
        let open = self.shared.history.open().await?;
        Ok(open.into_iter().filter(|run| !self.shared.is_active(*run)).collect())
    }

    /// What there is to know of a run that was left; `None` when it is driven, or has ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn left_run(&self, id: RunId) -> Result<Option<Left>, Error> {
        if self.shared.is_active(id) || !self.is_open(id).await? {
            return Ok(None);
        }
        let (run, events) = self.stored(id).await?;
        let summary = self.shared.history.summary(id).await?.ok_or_else(|| missing(id))?;
        let mark = self.mark(id).await?;
        let mut workflows = Vec::new();
        for (uses, version, origin) in mark.as_ref().map(v3::Open::workflows).transpose()?.unwrap_or_default()
        {
            let text = self.shared.history.workflow(&version).await?;
            workflows.push(LeftWorkflow { uses, text, origin });
        }
        let plugins = match events.first().map(|first| &first.event) {
            Some(RunEvent::Created { stages, .. }) => {
                stages.iter().map(|stage| (stage.plugin.clone(), stage.component)).collect()
            }
            _ => Vec::new(),
        };
        let mut children = Vec::new();
        for attempt in run.running() {
            children.extend(self.started(Some(&child::cause(&attempt))).await?);
        }
        Ok(Some(Left {
            children,
            run: id,
            workflow: summary.workflow,
            text: self.shared.history.workflow(&summary.version).await?,
            origin: mark.as_ref().and_then(v3::Open::origin),
            plugins,
            workflows,
            attempts: run.running().filter(|attempt| !run.is_stopped(&attempt.stage)).collect(),
        }))
    }

    /// All of them at once, with their texts in memory. Whoever goes on with them reads one after the other.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn left(&self) -> Result<Vec<Left>, Error> {
        let mut left = Vec::new();
        for run in self.left_open().await? {
            left.extend(self.left_run(run).await?);
        }
        Ok(left)
    }

    /// Ends the runs that were left and are not to be gone on with, and removes what others have left. Returns the runs
    /// that it ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn end_left(&self) -> Result<Vec<RunId>, Error> {
        let mut ended = Vec::new();
        for run in self.left_open().await? {
            if self.mark(run).await?.as_ref().and_then(v3::Open::origin).is_none() {
                self.interrupt(run).await?;
                ended.push(run);
            }
        }
        self.clear_ended().await?;
        Ok(ended)
    }

    /// Goes on with a run that was left, with its workflow and those that it runs compiled anew from the same texts. What
    /// attempts left outside that were being stopped has to be gone; see [`Left::attempts`].
    ///
    /// # Errors
    /// [`Error::Driven`] when somebody else does or has; else see [`Error`]. The run is as it was.
    pub async fn resume(
        &self,
        id: RunId,
        definition: Definition,
        workflows: Arc<Definitions>,
    ) -> Result<(), Error> {
        let Definition { workflow, origin, .. } = definition;
        let _claim = self.shared.claim(id)?;
        if !self.is_open(id).await? {
            return Err(Error::NotActive(id));
        }
        let (outline, events) = self.stored(id).await?;
        if outline.outcome().is_some() {
            self.interrupt_claimed(id).await?;
            return Ok(());
        }
        let summary = self.shared.history.summary(id).await?.ok_or_else(|| missing(id))?;
        let (first, rest) = events.split_first().ok_or_else(|| missing(id))?;
        let mut run = Run::new(id, workflow, &first.event)?;
        for recorded in rest {
            run.apply(&recorded.event)?;
        }
        // What was being stopped when it was lost has been; a run that it has started has not.
        let is_run = |attempt: &AttemptId| {
            let stage = run.workflow().stage(&attempt.stage);
            stage.is_some_and(|stage| matches!(stage.work, Work::Workflow { .. }))
        };
        let (stopped, running): (Vec<AttemptId>, Vec<AttemptId>) =
            run.running().partition(|attempt| run.is_stopped(&attempt.stage) && !is_run(attempt));
        // A run that is to be stopped is found first, and then asked again.
        let is_stopping = running.iter().any(|attempt| run.is_stopped(&attempt.stage));
        let is_again = |event: &RunEvent| match event {
            RunEvent::AttemptStarted { attempt, .. } => running.contains(attempt),
            RunEvent::CancelRequested { .. } | RunEvent::TimedOut => is_stopping,
            _ => false,
        };
        let told = events.iter().filter(|recorded| is_again(&recorded.event));
        let again: Vec<(Timestamp, RunEvent)> =
            told.map(|recorded| (recorded.at, recorded.event.clone())).collect();
        let next = events.last().map_or(0, |last| last.number + 1);
        tracing::info!(run = %id, attempts = running.len(), "gone on with");
        let (entrance, is_queued) = (Entrance::of(&run), run.is_queued());
        let family = Family { workflows, is_kept: true };
        let owner = Owner::new(Arc::clone(&self.shared), run, summary, origin, family);
        pass(Point::RunTaken);
        match entrance {
            None => owner.resume(next, &again, stopped).await,
            // It is let in by a message to its owner.
            Some(entrance) if is_queued => {
                owner.resume(next, &again, stopped).await?;
                self.shared.enter_left(id, entrance);
                Ok(())
            }
            // It can have ended as soon as its owner has begun.
            Some(entrance) => {
                self.shared.enter_again(id, &entrance);
                let resumed = owner.resume(next, &again, stopped).await;
                resumed.inspect_err(|_| self.shared.leave(id, entrance.group()))
            }
        }
    }

    /// Ends a run that was left: what ran in it is lost. Returns the runs that its stages have started: nobody waits for them
    /// any more.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn interrupt(&self, id: RunId) -> Result<Vec<RunId>, Error> {
        let _claim = self.shared.claim(id)?;
        self.interrupt_claimed(id).await
    }

    async fn interrupt_claimed(&self, id: RunId) -> Result<Vec<RunId>, Error> {
        let shared = &self.shared;
        let (mut run, events) = self.stored(id).await?;
        let mut children = Vec::new();
        for attempt in run.running() {
            children.extend(self.started(Some(&child::cause(&attempt))).await?);
        }
        let summary = shared.history.summary(id).await?.ok_or_else(|| missing(id))?;
        let next = events.last().map_or(0, |last| last.number + 1);
        let now = shared.ports.clock.now();
        let decided = match run.outcome() {
            None => step(&mut run, Command::Interrupt, now)?,
            Some(_) => Vec::new(),
        };
        let mut batch = Batch::default();
        for event in &decided {
            if let RunEvent::AttemptEnded { attempt, .. } = event {
                shared.put_left_log(&mut batch, attempt).await;
            }
        }
        let blobs = shared.records.forget_left_of(id, &mut batch).await?;
        let long = put_events(&mut batch, id, next, now, &decided);
        let holds = shared.keep_long(id, &mut batch, long).await?;
        shared.put_end(&mut batch, &summary, now, &run);
        shared.commit_held(batch, holds).await?;
        shared.records.release(&blobs).await;
        shared.awaited.tell(id);
        Ok(children)
    }

    /// Removes what an engine before this one could not remove of the workspaces of runs that have ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn clear_ended(&self) -> Result<(), Error> {
        let workspaces = &self.shared.ports.workspaces;
        let runs = workspaces.runs().await.inspect_err(|error| {
            tracing::warn!(%error, "workspaces that were left cannot be looked for");
        });
        // Read afterwards: whatever has begun in one of them meanwhile is among these.
        let open: HashSet<RunId> = self.shared.history.open().await?.into_iter().collect();
        for run in runs.unwrap_or_default() {
            if !open.contains(&run)
                && let Err(error) = workspaces.retire(run).await
            {
                tracing::warn!(%run, %error, "the workspaces of a run are left");
            }
        }
        Ok(())
    }

    async fn is_open(&self, id: RunId) -> Result<bool, Error> {
        Ok(self.shared.ports.store.get(&key::open(id)).await?.is_some())
    }

    /// What the engine that left a run has noted to go on with it.
    async fn mark(&self, id: RunId) -> Result<Option<v3::Open>, Error> {
        let mark = self.shared.ports.store.get(&key::open(id)).await?;
        let mark = mark.filter(|mark| !mark.value.is_empty());
        Ok(mark.map(|mark| envelope::open::<v3::Open>(&mark.value)).transpose()?)
    }

    async fn stored(&self, id: RunId) -> Result<(Run, Vec<Recorded>), Error> {
        self.shared.history.run(id).await?.ok_or_else(|| missing(id))
    }
}

impl Shared {
    /// Adds what is left of the log of an attempt that was lost.
    pub(crate) async fn put_left_log(&self, batch: &mut Batch, attempt: &AttemptId) {
        match self.ports.logs.adopt(attempt).await {
            Ok(Some(log)) => {
                batch.put(key::log(attempt), envelope::seal(&v1::Log::of(&log)));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%attempt, %error, "the log of an interrupted attempt is lost"),
        }
    }
}

fn missing(id: RunId) -> Error {
    Error::Broken(Broken::damaged("run", format!("{id} is open and has no events")))
}
