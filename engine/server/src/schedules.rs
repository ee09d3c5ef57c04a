//! Starts what is due, when it is.
//!
//! What a schedule remembers of its runs (a `Line`) is stored before anybody goes by it, and each run has an id of its cause:
//! so a crash between the two starts nothing twice, and nothing that waits is forgotten. What cannot be started for now is
//! tried again, and keeps nothing else waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::json;
use yuanli_executor::Started;
use yuanli_model::run::Cause;
use yuanli_model::trigger::Missed;
use yuanli_model::{RunId, Schedule, Timestamp, WorkflowName};
use yuanli_points::{Point, pass};
use yuanli_triggers::{Ending, Firing, StartId, Turn};

use crate::body::rfc3339;
use crate::document::Given;
use crate::figures::{Came, Trigger};
use crate::kept::{Kept, Mark, Timing};
use crate::service::{Refusal, Shared, inputs_from};

/// Wait after a start that failed for a reason outside of it.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait between two looks at the clock: it may be put forward.
const LOOK: Duration = Duration::from_secs(30);

/// What could not be done for now, with what was told of it.
type Failed = Vec<(Firing, String)>;

/// Follows all schedules until the service ends.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut failed = Failed::new();
    let (mut ends, mut awaited) = (FuturesUnordered::new(), BTreeSet::new());
    loop {
        failed = shared.take_in(failed).await;
        let (runs, is_pressing) = shared.go_on_with_lines().await;
        let new = runs.into_iter().filter(|run| awaited.insert(*run));
        ends.extend(new.map(|run| shared.end_of(run)));
        let next = shared.registry.next().map_or(LOOK, |next| next.since(shared.clock.now()).min(LOOK));
        let wait = if failed.is_empty() && !is_pressing { next } else { next.min(RETRY) };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.registry.changed() => {}
            Some(run) = ends.next() => {
                awaited.remove(&run);
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Shared {
    /// Does what is due, and what could not be done before; returns what cannot be done now.
    async fn take_in(&self, mut due: Failed) -> Failed {
        for firing in self.registry.due(self.clock.now()) {
            if self.policy(&firing).is_some_and(|(_, policy)| policy.missed == Missed::Once) {
                // Of its times that could not be kept the latest stands for all.
                due.retain(|(other, _)| other.slot != firing.slot);
            }
            due.push((firing, String::new()));
        }
        let mut failed = Failed::new();
        for (firing, told) in due {
            let Err(error) = self.come(&firing).await else { continue };
            let error = format!("{error:#}");
            if error != told {
                let workflow = &firing.slot.workflow;
                tracing::error!(%workflow, error, "cannot be started by its schedule; it is tried again");
            }
            failed.push((firing, error));
        }
        failed
    }

    fn policy(&self, firing: &Firing) -> Option<Timing> {
        self.registry.get(&firing.slot.workflow)?.timing_of(firing).cloned()
    }

    /// A due time has come. An error is what this machine fails at, which is to be tried again.
    async fn come(&self, firing: &Firing) -> anyhow::Result<()> {
        let (name, due) = (&firing.slot.workflow, firing.due);
        let Some(kept) = self.registry.get(name) else { return Ok(()) };
        if kept.paused.is_some() {
            self.figures.came(Trigger::Schedule, Came::Paused);
            return Ok(());
        }
        let Some(timing @ (schedule, policy)) = kept.timing_of(firing) else { return Ok(()) };
        let mut mark = self.registry.mark_of(name, schedule);
        self.notice_end(&mut mark).await?;
        match mark.line.come(policy.overlap, due) {
            Turn::Known => return Ok(()),
            Turn::Start => {
                if !mark.line.waiting.is_empty() {
                    mark.seen = mark.seen.max(due);
                    self.registry.note(name, schedule, mark.clone()).await?;
                }
                return self.start_due(&kept, timing, due, mark).await;
            }
            Turn::Wait { replaced } => {
                self.figures.came(Trigger::Schedule, Came::Waiting);
                let run = mark.line.running;
                tracing::info!(workflow = %name, due = rfc3339(due), run = run.map(tracing::field::display), replaced,
                    "waits for the run that its schedule has started");
            }
            Turn::Skip => {
                self.figures.came(Trigger::Schedule, Came::Overlap);
                let run = mark.line.running;
                tracing::info!(workflow = %name, due = rfc3339(due), run = run.map(tracing::field::display),
                    "is skipped: the run that its schedule has started goes on");
            }
        }
        mark.seen = mark.seen.max(due);
        self.registry.note(name, schedule, mark).await
    }

    /// Starts the run of a due time. What is wrong with the workflow is told, and the time is over.
    async fn start_due(
        &self,
        kept: &Kept,
        (schedule, policy): &Timing,
        due: Timestamp,
        mut mark: Mark,
    ) -> anyhow::Result<()> {
        if self.registry.get(&kept.name).is_none_or(|now| now.paused.is_some()) {
            return Ok(());
        }
        let started = self.start_by_schedule(kept, schedule, due).await;
        self.figures.came(Trigger::Schedule, Came::of(&started));
        match started {
            Ok(started) => {
                pass(Point::ScheduleStarted);
                tracing::info!(workflow = %kept.name, run = %started.run, "started by its schedule");
                mark.line.started(policy.overlap, due, started.run);
            }
            Err(Refusal::Internal(error)) => return Err(error),
            Err(refusal) => {
                let why = refusal.in_words();
                tracing::error!(workflow = %kept.name, "cannot be started by its schedule: {why}");
                mark.line.waiting.retain(|waiting| *waiting != due);
            }
        }
        mark.seen = mark.seen.max(due);
        if let Err(error) = self.registry.note(&kept.name, schedule, mark).await {
            // The cause of the run is stored with it: it will not be started again.
            tracing::warn!(workflow = %kept.name, error = format!("{error:#}"), "the start is not noted");
        }
        pass(Point::ScheduleNoted);
        Ok(())
    }

    async fn start_by_schedule(
        &self,
        kept: &Kept,
        schedule: &Schedule,
        due: Timestamp,
    ) -> Result<Started, Refusal> {
        let document = self.compile(kept.as_file()).await?;
        let triggers = document.workflow().map(|workflow| workflow.triggers());
        let trigger = triggers.and_then(|all| all.schedules.iter().find(|own| own.schedule == *schedule));
        let template = trigger.and_then(|trigger| trigger.inputs.as_ref());
        let inputs = inputs_from(template, json!({ "due": rfc3339(due) }))?;
        let id = StartId::of_schedule(&kept.name, schedule, due);
        let by = Cause::Schedule { due };
        self.start_document(document, Given::Values(inputs), Some(id.to_string()), by).await
    }

    /// Starts what has waited for a run that has ended, and ends runs that are in the way. Returns the runs that something
    /// waits for, and whether something is to be looked at again soon.
    async fn go_on_with_lines(&self) -> (Vec<RunId>, bool) {
        let (mut runs, mut is_pressing) = (Vec::new(), false);
        for (name, schedule) in self.registry.waiting() {
            match self.go_on_with(&name, &schedule).await {
                Ok(None) => {}
                Ok(Some((run, presses))) => {
                    runs.push(run);
                    is_pressing |= presses;
                }
                Err(error) => {
                    tracing::error!(workflow = %name, error = format!("{error:#}"), "what waits for a run is tried again");
                    is_pressing = true;
                }
            }
        }
        (runs, is_pressing)
    }

    async fn go_on_with(
        &self,
        name: &WorkflowName,
        schedule: &Schedule,
    ) -> anyhow::Result<Option<(RunId, bool)>> {
        let kept = self.registry.get(name).filter(|kept| kept.paused.is_none());
        let Some(kept) = kept else { return Ok(None) };
        let Some(timing) = kept.schedules.iter().find(|(own, _)| own == schedule) else { return Ok(None) };
        let mut mark = self.registry.mark_of(name, schedule);
        self.notice_end(&mut mark).await?;
        if let Some(due) = mark.line.next() {
            self.start_due(&kept, timing, due, mark.clone()).await?;
            mark = self.registry.mark_of(name, schedule);
        }
        let Some(run) = mark.line.running.filter(|_| !mark.line.waiting.is_empty()) else { return Ok(None) };
        let is_pressing = match mark.line.in_the_way(timing.1.overlap) {
            None => false,
            Some((run, ending)) => self.end(run, ending).await?,
        };
        Ok(Some((run, is_pressing)))
    }

    /// Asks a run to end that is in the way; whether it is to be asked again.
    async fn end(&self, run: RunId, ending: Ending) -> anyhow::Result<bool> {
        let stored = self.engine.executor().history().run(run).await?;
        let is_asked = stored.is_some_and(|(run, _)| run.is_cancelling());
        // To ask once more ends its `finally` part too.
        if !is_asked || ending == Ending::Terminate {
            self.engine.cancel(run, "its schedule is due again");
        }
        Ok(ending == Ending::Terminate)
    }

    /// Forgets the run of a line when it has ended.
    async fn notice_end(&self, mark: &mut Mark) -> anyhow::Result<()> {
        if let Some(run) = mark.line.running
            && self.has_ended(run).await?
        {
            mark.line.running = None;
        }
        Ok(())
    }

    /// Whether a run has ended; of one that retention has removed it is known.
    async fn has_ended(&self, run: RunId) -> anyhow::Result<bool> {
        let summary = self.engine.executor().history().summary(run).await?;
        Ok(summary.is_none_or(|summary| summary.ended.is_some()))
    }

    /// Returns the run when it has ended, or cannot be followed any more.
    pub(crate) fn end_of(&self, run: RunId) -> BoxFuture<'_, RunId> {
        Box::pin(async move {
            let mut updates = self.engine.follow(run);
            while let Ok(Some(_)) = updates.next().await {}
            run
        })
    }
}
