//! Starts what follows from what happened: runs of workflows with `on.event`.
//!
//! What happened is a row of the store until all that follows from it was started, and each start has an id of its cause: so a
//! crash anywhere loses nothing and starts nothing twice. What cannot be started for now is tried again, beside all else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Map, Value, json};
use yuanli_model::run::Cause;
use yuanli_model::trigger::Happened;
use yuanli_model::{Outcome, RunEvent, RunId, Schedule, Timestamp, WorkflowName};
use yuanli_points::{Point, pass};
use yuanli_ports::Store as _;
use yuanli_ports::store::{Batch, Key, Range, Revision, Write};
use yuanli_triggers::StartId;

use crate::announcements::{self, ROWS};
use crate::document::Given;
use crate::figures::{Came, Trigger};
use crate::kept::Kept;
use crate::refusal::Refusal;
use crate::service::{Shared, inputs_from};

/// Wait after something that failed for a reason outside of it.
const RETRY: Duration = Duration::from_secs(1);
/// Rows that are read at once, and those of them that are seen to at once.
const PAGE: usize = 256;
const AT_ONCE: usize = 32;

/// What failed, by the row it is about: told once.
type Told = BTreeMap<Key, String>;

/// Follows what happens until the service ends.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut told = Told::new();
    loop {
        let pass = async {
            let seen = shared.engine.store().revision().await?;
            shared.see_to_all(&mut told).await?;
            anyhow::Ok(seen)
        };
        let next = match pass.await {
            Ok(seen) if told.is_empty() => shared.until_something_happens(seen).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        let wait = match next {
            Ok(()) if told.is_empty() => Duration::ZERO,
            Ok(()) => RETRY,
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "what happened cannot be read; it is tried again"
                );
                RETRY
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The end of a run that counts where failures in a row pause its workflow or its schedule.
struct Ended {
    at: Timestamp,
    workflow: WorkflowName,
    schedule: Option<Schedule>,
    outcome: Outcome,
}

impl Shared {
    /// Sees to everything that is there. What fails stays, and is in `told`.
    async fn see_to_all(&self, told: &mut Told) -> anyhow::Result<()> {
        let mut range = Range::prefix(&ROWS, PAGE);
        loop {
            let page = self.engine.store().scan(range.clone()).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            range = range.after(last.clone());
            let is_last = page.len() < PAGE;
            let seen = futures::stream::iter(page.into_iter().map(|(key, entry)| async move {
                let seen = self.see_to(&key, &entry.value).await;
                (key, seen)
            }));
            let seen: Vec<_> = seen.buffer_unordered(AT_ONCE).collect().await;
            let (mut done, mut ended) = (Batch::default(), Vec::new());
            for (key, seen) in seen {
                match seen {
                    Ok(None) => {
                        told.remove(&key);
                        done.delete(key);
                    }
                    Ok(Some(end)) => ended.push((end, key)),
                    Err(error) => tell_once(told, key, &error),
                }
            }
            // Of failures in a row the order counts: that in which runs have ended, not that of their ids.
            ended.sort_by_key(|(end, _)| end.at);
            for (end, key) in ended {
                match self.count_end(&key, &end).await {
                    Ok(()) => {
                        told.remove(&key);
                        done.delete(key);
                    }
                    Err(error) => tell_once(told, key, &error),
                }
            }
            if !done.writes.is_empty() {
                self.engine.store().commit(done).await?;
                pass(Point::EventRemoved);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Starts what follows from one thing. The end of a run that counts is returned, and is to be counted. An error is what this
    /// machine fails at, which is to be tried again.
    async fn see_to(&self, key: &Key, value: &[u8]) -> anyhow::Result<Option<Ended>> {
        let (name, happened) = announcements::read(key, value)?;
        let mut failed = None;
        for kept in self.registry.list() {
            let is_wanted = kept.events.iter().any(|event| event.fits(&happened));
            if is_wanted && kept.paused.is_some() {
                self.figures.came(Trigger::Event, Came::Paused);
            }
            if !is_wanted || kept.paused.is_some() {
                continue;
            }
            let started = self.start_by_event(&kept, &name, &happened).await;
            self.figures.came(Trigger::Event, Came::of(&started));
            match started {
                Ok(started) if !started.is_new => {}
                Ok(started) => {
                    pass(Point::EventStarted);
                    tracing::info!(workflow = %kept.name, run = %started.run, because = name, "started by an event");
                }
                // The others do not wait for it.
                Err(Refusal::Internal(error)) => failed = failed.or(Some(error)),
                Err(refusal) => {
                    let why = refusal.in_words();
                    tracing::error!(workflow = %kept.name, because = name, "cannot be started by an event: {why}");
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        match happened {
            Happened::RunEnded { workflow, run, outcome } => {
                let kept = self.registry.get(&workflow).filter(|kept| kept.counts_failures());
                let Some(kept) = kept else { return Ok(None) };
                let summary = self.engine.executor().history().summary(run).await?;
                let at = summary.and_then(|summary| summary.ended).map(|(at, _)| at);
                let schedule = self.schedule_of(&kept, run).await?;
                Ok(Some(Ended { at: at.unwrap_or(Timestamp::from_millis(0)), workflow, schedule, outcome }))
            }
            Happened::ImagePushed { .. } | Happened::AppChanged { .. } => Ok(None),
        }
    }

    /// Counts the end of a run where so many failures in a row pause its workflow or its schedule. The row goes with that.
    async fn count_end(&self, row: &Key, end: &Ended) -> anyhow::Result<()> {
        let Ended { workflow, schedule, outcome, .. } = end;
        let now = self.clock.now();
        let paused = self.registry.count_end(workflow, schedule.as_ref(), *outcome, row, now).await?;
        self.tell_paused(workflow, &paused).await;
        Ok(())
    }

    /// The schedule that has started a run.
    pub(crate) async fn schedule_of(&self, kept: &Kept, run: RunId) -> anyhow::Result<Option<Schedule>> {
        let events = self.engine.executor().history().events(run, 0).await?;
        let due = events.iter().find_map(|recorded| match &recorded.event {
            RunEvent::Created { provenance, .. } => match provenance.cause {
                Cause::Schedule { due } => Some(due),
                _ => None,
            },
            _ => None,
        });
        let Some(due) = due else { return Ok(None) };
        for (schedule, _) in &kept.schedules {
            let id = StartId::of_schedule(&kept.name, schedule, due).to_string();
            if self.engine.executor().started(Some(&id)).await? == Some(run) {
                return Ok(Some(schedule.clone()));
            }
        }
        Ok(None)
    }

    async fn start_by_event(
        &self,
        kept: &Kept,
        name: &str,
        happened: &Happened,
    ) -> Result<yuanli_executor::Started, Refusal> {
        let document = self.compile(kept.as_file()).await?;
        let triggers = document.workflow().map(|workflow| workflow.triggers());
        // Of several that fit the first counts: one thing starts one run.
        let trigger = triggers.and_then(|all| all.events.iter().find(|own| own.event.fits(happened)));
        let template = trigger.and_then(|trigger| trigger.inputs.as_ref());
        // Not read for nobody: a run can have many events.
        let body = match template {
            Some(_) => self.body_of(happened).await?,
            None => Value::Null,
        };
        let inputs = inputs_from(template, body)?;
        let id = StartId::of_event(&kept.name, name);
        self.start_document(document, Given::Values(inputs), Some(id.to_string()), Cause::Event).await
    }

    /// What is `trigger.body` then.
    async fn body_of(&self, happened: &Happened) -> anyhow::Result<Value> {
        let outputs = match happened {
            Happened::RunEnded { run, .. } => {
                let events = self.engine.executor().history().events(*run, 0).await?;
                events.into_iter().rev().find_map(|recorded| match recorded.event {
                    RunEvent::Finished { outputs, .. } => outputs,
                    _ => None,
                })
            }
            Happened::ImagePushed { .. } | Happened::AppChanged { .. } => None,
        };
        Ok(body_of(happened, outputs))
    }

    /// Returns when something has happened after a commit of the store.
    async fn until_something_happens(&self, after: Revision) -> anyhow::Result<()> {
        let work = async {
            let mut watch = self.engine.store().watch(&ROWS, after).await?;
            loop {
                let change = watch.next().await?;
                if change.writes.iter().any(|write| matches!(write, Write::Put(..))) {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            done = work => done,
        }
    }
}

/// What is `trigger.body` when this has happened; a run that ended gave these outputs.
pub(crate) fn body_of(happened: &Happened, outputs: Option<Value>) -> Value {
    match happened {
        Happened::RunEnded { workflow, run, outcome } => json!({
            "workflow": workflow.as_str(),
            "run": run.to_string(),
            "outcome": outcome.name(),
            "outputs": outputs.unwrap_or_else(|| Value::Object(Map::new())),
        }),
        Happened::ImagePushed { image, digest, .. } => json!({ "image": image, "digest": digest }),
        Happened::AppChanged { app, release, state, .. } => {
            json!({ "app": app.as_str(), "release": release.0, "state": state.name() })
        }
    }
}

fn tell_once(told: &mut Told, key: Key, error: &anyhow::Error) {
    let error = format!("{error:#}");
    if told.get(&key) != Some(&error) {
        let what = String::from_utf8_lossy(key.as_bytes().get(1..).unwrap_or_default()).into_owned();
        tracing::error!(
            because = what,
            error,
            "what follows from an event cannot be started; it is tried again"
        );
    }
    told.insert(key, error);
}
