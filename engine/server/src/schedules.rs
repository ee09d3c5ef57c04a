//! Starts what is due, when it is.
//!
//! What a schedule remembers of its runs (a `Mark` with its `Line`) is stored before anybody goes by it, and each run has an id
//! of its cause: so a crash between the two starts nothing twice, and nothing that waits is forgotten. What cannot be started
//! for now is tried again, and keeps nothing else waiting. Who decides on the runs of a line has its turn (`Registry::turn`).
//! `backfill.rs` has what people ask for.

mod backfill;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::json;
use yuanli_executor::{Error, Started};
use yuanli_model::run::Cause;
use yuanli_model::trigger::Missed;
use yuanli_model::{RunId, Schedule, Timestamp, WorkflowName};
use yuanli_points::{Point, pass};
use yuanli_triggers::{Ending, Firing, StartId, Turn};

pub(crate) use self::backfill::{MAX_BACKFILL, Wanted};
use crate::announcements;
use crate::body::rfc3339;
use crate::document::Given;
use crate::figures::{Came, Trigger};
use crate::kept::{Fate, Kept, Mark, Paused, Timing, id_of};
use crate::refusal::Refusal;
use crate::service::{Shared, inputs_from};

/// Wait after a start that failed for a reason outside of it.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait between two looks at the clock: it may be put forward.
const LOOK: Duration = Duration::from_secs(30);

/// What could not be done for now, with what was told of it.
type Failed = Vec<(Firing, String)>;

/// What is left when all lines were looked at.
#[derive(Debug, Default)]
struct Left {
    /// The runs that something waits for.
    runs: Vec<RunId>,
    /// Whether something is to be looked at again soon.
    is_pressing: bool,
    /// Whether there is more that can be started now.
    has_more: bool,
}

/// What became of a due time.
#[derive(Debug)]
pub(crate) enum Became {
    Started(Started),
    /// It waits for the run before it.
    Waits,
    /// The run before it goes on.
    Skipped(Option<RunId>),
    /// There can be no run of it.
    Refused(String),
    /// Its workflow or its schedule was paused meanwhile.
    Paused,
}

/// Follows all schedules until the service ends.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut failed = Failed::new();
    let (mut ends, mut awaited) = (FuturesUnordered::new(), BTreeSet::new());
    loop {
        failed = shared.take_in(failed).await;
        let Left { runs, is_pressing, has_more } = shared.go_on_with_lines().await;
        let new = runs.into_iter().filter(|run| awaited.insert(*run));
        ends.extend(new.map(|run| shared.end_of(run)));
        let next = shared.registry.next().map_or(LOOK, |next| next.since(shared.clock.now()).min(LOOK));
        let wait = match (has_more, failed.is_empty() && !is_pressing) {
            (true, _) => Duration::ZERO,
            (false, true) => next,
            (false, false) => next.min(RETRY),
        };
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
        let kept = self.registry.get(&firing.slot.workflow);
        let Some(kept) = kept else { return Ok(()) };
        let Some(timing) = kept.timing_of(firing) else { return Ok(()) };
        self.decide(&kept, timing, firing.due, firing.due).await.map(drop)
    }

    /// Decides what becomes of a due time, and starts its run where that is what becomes of it. Times up to `seen` are behind
    /// then.
    pub(crate) async fn decide(
        &self,
        kept: &Kept,
        timing: &Timing,
        due: Timestamp,
        seen: Timestamp,
    ) -> anyhow::Result<Became> {
        let (name, (schedule, policy)) = (&kept.name, timing);
        let _turn = self.registry.turn().await;
        if self.is_paused(name, schedule) {
            self.figures.came(Trigger::Schedule, Came::Paused);
            return Ok(Became::Paused);
        }
        let Mark { mut line, .. } = self.current(kept, schedule).await?;
        if let Some(run) = self.started_for(name, schedule, due).await? {
            // It comes once more: it is not in the way of itself.
            let note = |mark: &mut Mark| {
                mark.line.waiting.retain(|waiting| *waiting != due);
                mark.backfill.remove(&due);
                mark.seen = mark.seen.max(seen);
            };
            self.registry.note(name, schedule, note).await?;
            return Ok(Became::Started(Started { run, is_new: false }));
        }
        let run = line.running;
        let shown = run.map(tracing::field::display);
        let (became, fate) = match line.come(policy.overlap, due) {
            Turn::Known => return Ok(Became::Waits),
            Turn::Start => {
                if !line.waiting.is_empty() {
                    let note = |mark: &mut Mark| {
                        mark.line = line;
                        mark.seen = mark.seen.max(seen);
                    };
                    self.registry.note(name, schedule, note).await?;
                }
                return self.start_due(kept, timing, due, seen).await;
            }
            Turn::Wait { replaced } => {
                self.figures.came(Trigger::Schedule, Came::Waiting);
                tracing::info!(workflow = %name, due = rfc3339(due), run = shown, replaced,
                    "waits for the run that its schedule has started");
                (Became::Waits, Fate::Waits)
            }
            Turn::Skip => {
                self.figures.came(Trigger::Schedule, Came::Overlap);
                tracing::info!(workflow = %name, due = rfc3339(due), run = shown,
                    "is skipped: the run that its schedule has started goes on");
                (Became::Skipped(run), Fate::Skipped)
            }
        };
        let note = |mark: &mut Mark| {
            mark.line = line;
            mark.seen = mark.seen.max(seen);
            mark.tell(due, fate);
        };
        self.registry.note(name, schedule, note).await?;
        Ok(became)
    }

    fn is_paused(&self, name: &WorkflowName, schedule: &Schedule) -> bool {
        let is_paused = self.registry.get(name).is_none_or(|now| now.paused.is_some());
        is_paused || self.registry.mark_of(name, schedule).paused.is_some()
    }

    /// What is remembered of a schedule; of a run that has ended nothing is. Where failures count, it has not ended before it was
    /// counted: what it pauses starts no other run meanwhile.
    async fn current(&self, kept: &Kept, schedule: &Schedule) -> anyhow::Result<Mark> {
        let mut mark = self.registry.mark_of(&kept.name, schedule);
        if let Some(run) = mark.line.running
            && self.has_ended(run).await?
            && !(kept.counts_failures() && announcements::is_pending(&**self.engine.store(), run).await?)
        {
            mark.line.running = None;
        }
        Ok(mark)
    }

    /// Starts the run of a due time. What is wrong with the workflow is told, and the time is over.
    async fn start_due(
        &self,
        kept: &Kept,
        (schedule, policy): &Timing,
        due: Timestamp,
        seen: Timestamp,
    ) -> anyhow::Result<Became> {
        let (name, now) = (&kept.name, self.clock.now());
        if self.is_paused(name, schedule) {
            return Ok(Became::Paused);
        }
        let mut paused = None;
        let started = self.start_by_schedule(kept, schedule, due).await;
        self.figures.came(Trigger::Schedule, Came::of(&started));
        let (became, noted) = match started {
            Ok(started) => {
                pass(Point::ScheduleStarted);
                if started.is_new {
                    tracing::info!(workflow = %name, run = %started.run, due = rfc3339(due), "started by its schedule");
                }
                let note = |mark: &mut Mark| {
                    mark.line.started(policy.overlap, due, started.run);
                    mark.backfill.remove(&due);
                    mark.seen = mark.seen.max(seen);
                    mark.tell(due, Fate::Started(started.run));
                };
                (Became::Started(started), self.registry.note(name, schedule, note).await)
            }
            Err(Refusal::Internal(error)) => return Err(error),
            Err(refusal) => {
                let why = refusal.told();
                tracing::error!(workflow = %name, "cannot be started by its schedule: {}", refusal.in_words());
                let note = |mark: &mut Mark| {
                    mark.line.waiting.retain(|waiting| *waiting != due);
                    mark.backfill.remove(&due);
                    mark.seen = mark.seen.max(seen);
                    mark.tell(due, Fate::Refused(why.clone()));
                    paused = mark.fail(policy, now).then_some(mark.failures);
                };
                let noted = self.registry.note(name, schedule, note).await;
                (Became::Refused(why), noted)
            }
        };
        if let Some(failures) = paused {
            self.tell_paused(name, &[Paused::Schedule(schedule.clone(), failures)]).await;
        }
        if noted.is_ok() {
            pass(Point::ScheduleNoted);
        }
        // The cause of the run is stored with it: tried again, it is not started again.
        noted.map(|()| became)
    }

    /// Tells of what was paused because of failures, also to the audit log: nobody has asked for it.
    pub(crate) async fn tell_paused(&self, name: &WorkflowName, paused: &[Paused]) {
        for paused in paused {
            let (path, what, failures) = match paused {
                Paused::Workflow(failures) => {
                    (format!("/api/v1/workflows/{name}/pause"), format!("workflow {name}"), failures)
                }
                Paused::Schedule(schedule, failures) => {
                    let id = id_of(schedule);
                    let what = format!("schedule {id} ({}) of workflow {name}", schedule.cron);
                    (format!("/api/v1/workflows/{name}/schedules/{id}/pause"), what, failures)
                }
            };
            let about = format!("{what} is paused: {failures} runs in a row have failed");
            tracing::warn!(workflow = %name, "{about}");
            self.audit.done_by_engine(self.clock.now(), path, about).await;
        }
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

    /// Starts what has waited for a run that has ended, and ends runs that are in the way.
    async fn go_on_with_lines(&self) -> Left {
        let mut left = Left::default();
        for (name, schedule) in self.registry.busy() {
            if let Err(error) = self.go_on_with(&name, &schedule, &mut left).await {
                tracing::error!(workflow = %name, error = format!("{error:#}"), "what waits for a run is tried again");
                left.is_pressing = true;
            }
        }
        left
    }

    async fn go_on_with(
        &self,
        name: &WorkflowName,
        schedule: &Schedule,
        left: &mut Left,
    ) -> anyhow::Result<()> {
        let Some(kept) = self.registry.get(name) else { return Ok(()) };
        let Some(timing) = kept.schedules.iter().find(|(own, _)| own == schedule) else { return Ok(()) };
        let _turn = self.registry.turn().await;
        if self.is_paused(name, schedule) {
            return Ok(());
        }
        let mark = self.current(&kept, schedule).await?;
        if let Some(due) = mark.line.next() {
            // It was noted when it came.
            self.start_due(&kept, timing, due, Timestamp::from_millis(0)).await?;
        } else {
            self.backfill_some(&kept, timing, &mark).await?;
        }
        let mark = self.current(&kept, schedule).await?;
        let Some(run) = mark.line.running.filter(|_| mark.is_busy()) else {
            left.has_more |= mark.is_busy() && !self.is_paused(name, schedule);
            return Ok(());
        };
        if self.has_ended(run).await? {
            // Its end is still to be counted: whoever does does not say when.
            left.is_pressing = true;
            return Ok(());
        }
        left.runs.push(run);
        if let Some((run, ending)) = mark.line.in_the_way(timing.1.overlap) {
            left.is_pressing |= self.end(run, ending).await?;
        }
        Ok(())
    }

    /// Asks a run to end that is in the way; whether it is to be asked again.
    async fn end(&self, run: RunId, ending: Ending) -> anyhow::Result<bool> {
        let stored = self.engine.executor().history().run(run).await?;
        let is_asked = stored.is_some_and(|(run, _)| run.is_cancelling());
        // To ask once more ends its `finally` part too.
        if !is_asked || ending == Ending::Terminate {
            // Durable before anybody looks again, so that it is not asked twice by mistake.
            match self.engine.cancel_durably(run, "its schedule is due again").await {
                // It has ended meanwhile.
                Ok(()) | Err(Error::NotActive(_) | Error::Illegal(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ending == Ending::Terminate)
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
