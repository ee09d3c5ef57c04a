//! The apps of a case: they are as it says, answer as it says, and what is asked of them is seen.
//!
//! Documents are read by the same code as those of the engine. Nothing runs: a roll-out ends as the case says, at once, and
//! the clock is as late as that would have taken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use yuanli_model::app::{App, ReleaseNumber};
use yuanli_model::{AppName, VolumeName};
use yuanli_ports::apps::{
    AppError, AppMeasure, AppStatus, Asker, Deployed, GrayPlan, Happening, ReleaseMeasure, RolloutOutcome,
    Settled, Verdict, VolumeSnapshot, Wish,
};
use yuanli_ports::backups::Restored;
use yuanli_ports::{Apps, Cancellation};

use crate::backups::{VolumeOfCase, Volumes};
use crate::world::Time;

/// An app that is there, or what becomes of one that the plugin deploys.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AppOfCase {
    /// What its document says beside its name; image `NAME:1` and port 80 are as good as said.
    document: Map<String, Value>,
    /// The release that serves; 1 when nothing is said.
    release: Option<u32>,
    /// How many replicas serve; as many as there are to be when nothing is said.
    ready: Option<u32>,
    image_id: Option<String>,
    /// How roll-outs end; well and at once when nothing is said.
    rollout: Option<Rollout>,
    /// What happens to a gray release; all steps and that it is promoted when nothing is said.
    gray: Option<Vec<Step>>,
    /// What is measured, one for each question; the last one goes on.
    metrics: Vec<Metrics>,
    /// Why nothing can be done with it.
    fails: Option<String>,
    /// Whether it is not there yet.
    absent: bool,
}

/// How a roll-out ends.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollout {
    outcome: Outcome,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    duration_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Healthy,
    Failed,
    Superseded,
    TimedOut,
}

/// What happens to a gray release.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    weight: u32,
    #[serde(default)]
    message: String,
    /// Said of the last one.
    #[serde(default)]
    promoted: Option<bool>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    evidence: Value,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Metrics {
    in_flight: u64,
    cpu_percent: Option<u32>,
    releases: Vec<Counts>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    release: u32,
    #[serde(default)]
    weight: u32,
    #[serde(default)]
    ready: u32,
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    errors: u64,
    /// Times within which 50, 95 and 99 of 100 answers came.
    #[serde(default)]
    percentiles_us: Option<[u64; 3]>,
}

impl AppOfCase {
    /// The app that it is, if its document is one.
    ///
    /// # Errors
    /// What is wrong with the document, for a person.
    pub(crate) fn app(&self, name: &str) -> Result<App, String> {
        let mut document = self.document.clone();
        document.insert("app".to_owned(), name.into());
        document.entry("image").or_insert_with(|| format!("{name}:1").into());
        document.entry("port").or_insert_with(|| 80.into());
        yuanli_lang::app_from_json(&Value::Object(document)).map_err(|mistakes| mistakes.join("; "))
    }
}

/// An app as it stands.
#[derive(Debug)]
struct Kept {
    app: App,
    case: AppOfCase,
    stable: Option<u32>,
    target: Option<u32>,
    wished: Option<u32>,
    /// How often it was measured.
    measured: usize,
    plan: Option<GrayPlan>,
}

impl Kept {
    fn desired(&self) -> u32 {
        self.wished.unwrap_or(self.app.replicas)
    }

    fn ready(&self) -> u32 {
        self.case.ready.unwrap_or_else(|| self.desired())
    }
}

#[derive(Debug, Default)]
struct State {
    kept: BTreeMap<AppName, Kept>,
    /// What the case says of those that are not there yet.
    coming: BTreeMap<String, AppOfCase>,
    volumes: Volumes,
    calls: Vec<String>,
}

/// All apps of a case.
#[derive(Debug)]
pub(crate) struct CaseApps {
    time: Arc<Time>,
    state: Mutex<State>,
}

impl CaseApps {
    pub(crate) fn new(time: Arc<Time>) -> Self {
        Self { time, state: Mutex::default() }
    }

    /// Makes them what a case says.
    ///
    /// # Errors
    /// When one cannot be so, for a person.
    pub(crate) fn prepare(
        &self,
        apps: &BTreeMap<String, AppOfCase>,
        volumes: &BTreeMap<String, VolumeOfCase>,
    ) -> Result<(), String> {
        let mut state = State { volumes: Volumes::of(volumes), ..State::default() };
        for (name, case) in apps {
            if case.absent {
                state.coming.insert(name.clone(), case.clone());
                continue;
            }
            let app = case.app(name)?;
            let stable = Some(case.release.unwrap_or(1));
            let case = case.clone();
            let kept = Kept { case, stable, target: None, wished: None, measured: 0, plan: None, app };
            state.kept.insert(kept.app.name.clone(), kept);
        }
        *self.state() = state;
        Ok(())
    }

    /// What was asked of apps, and of backups.
    pub(crate) fn take(&self) -> (Vec<String>, Vec<String>) {
        let mut state = self.state();
        (std::mem::take(&mut state.calls), state.volumes.take_calls())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, name: &AppName) -> Result<&mut Kept, AppError> {
        let none = || AppError::NotFound(format!("the case has no app `{name}`"));
        let kept = self.kept.get_mut(name).ok_or_else(none)?;
        match &kept.case.fails {
            Some(why) => Err(AppError::Unavailable(why.clone())),
            None => Ok(kept),
        }
    }
}

fn rollout_outcome(outcome: Outcome) -> (RolloutOutcome, &'static str) {
    match outcome {
        Outcome::Healthy => (RolloutOutcome::Healthy, "every replica serves"),
        Outcome::Failed => (RolloutOutcome::Failed, "a replica cannot be brought to serve"),
        Outcome::Superseded => (RolloutOutcome::Superseded, "something else was deployed in between"),
        Outcome::TimedOut => (RolloutOutcome::TimedOut, "it was not over in time"),
    }
}

fn in_words(plan: &GrayPlan) -> String {
    let step = |step: &yuanli_ports::apps::GrayStep| format!("{}% for {:?}", step.weight, step.duration);
    let steps: Vec<String> = plan.steps.iter().map(step).collect();
    format!("{}{}", steps.join(", "), if plan.has_analysis { ", judged" } else { "" })
}

#[async_trait]
impl Apps for CaseApps {
    fn parse(&self, document: &Value) -> Result<App, AppError> {
        yuanli_lang::app_from_json(document).map_err(|mistakes| AppError::Invalid(mistakes.join("; ")))
    }

    async fn deploy(&self, _: &Asker, app: App) -> Result<Deployed, AppError> {
        let mut state = self.state();
        state.calls.push(format!("deploy {} {}", app.name, app.image));
        let name = app.name.clone();
        if !state.kept.contains_key(&name) {
            let case = state.coming.remove(name.as_str()).unwrap_or_default();
            let kept = Kept {
                case,
                stable: None,
                target: None,
                wished: None,
                measured: 0,
                plan: None,
                app: app.clone(),
            };
            state.kept.insert(name.clone(), kept);
        }
        let kept = state.find(&name)?;
        let is_same = (&kept.app.image, &kept.app.spec) == (&app.image, &app.spec);
        kept.app = app;
        let release = match kept.stable {
            Some(stable) if is_same => stable,
            stable => stable.unwrap_or(0) + 1,
        };
        let previous = kept.stable.filter(|stable| *stable != release).map(ReleaseNumber);
        kept.target = Some(release).filter(|release| kept.stable != Some(*release));
        Ok(Deployed { app: name, release: ReleaseNumber(release), previous })
    }

    async fn settle(&self, deployed: &Deployed, timeout: Duration) -> Result<Settled, AppError> {
        let mut state = self.state();
        let kept = state.find(&deployed.app)?;
        let (outcome, usual) =
            rollout_outcome(kept.case.rollout.as_ref().map_or(Outcome::Healthy, |r| r.outcome));
        let message = kept.case.rollout.as_ref().and_then(|rollout| rollout.message.clone());
        let duration = match (outcome, &kept.case.rollout) {
            (RolloutOutcome::TimedOut, _) => timeout,
            (_, said) => Duration::from_millis(said.as_ref().map_or(0, |rollout| rollout.duration_ms)),
        };
        if outcome == RolloutOutcome::Healthy {
            (kept.stable, kept.target) = (Some(deployed.release.0), None);
        }
        self.time.pass(duration);
        Ok(Settled { outcome, message: message.unwrap_or_else(|| usual.to_owned()), duration })
    }

    async fn undo(&self, _: &Asker, deployed: &Deployed, reason: &str) -> Result<(), AppError> {
        let mut state = self.state();
        let (app, release) = (&deployed.app, deployed.release);
        state.calls.push(format!("undo {app} {release}: {reason}"));
        let kept = state.find(app)?;
        let none = || AppError::Invalid(format!("`{app}` has no release before {release}"));
        (kept.stable, kept.target) = (Some(deployed.previous.ok_or_else(none)?.0), None);
        Ok(())
    }

    async fn scale(&self, _: &Asker, app: &AppName, wish: Wish) -> Result<u32, AppError> {
        let mut state = self.state();
        state.calls.push(match wish {
            Wish::Set(count) => format!("scale {app} {count}"),
            Wish::Add(more) => format!("scale {app} {more:+}"),
            Wish::Clear => format!("scale {app} clear"),
        });
        let kept = state.find(app)?;
        kept.wished = match wish {
            Wish::Set(count) => Some(count),
            Wish::Add(more) => Some(kept.desired().saturating_add_signed(more)),
            Wish::Clear => None,
        };
        Ok(kept.desired())
    }

    async fn wait_scaled(&self, app: &AppName, timeout: Duration) -> Result<u32, AppError> {
        let mut state = self.state();
        let kept = state.find(app)?;
        let ready = kept.ready();
        if ready != kept.desired() {
            self.time.pass(timeout);
        }
        Ok(ready)
    }

    async fn inspect(&self, name: &AppName) -> Result<AppStatus, AppError> {
        let mut state = self.state();
        let kept = state.find(name)?;
        Ok(AppStatus {
            app: kept.app.clone(),
            stable: kept.stable.map(ReleaseNumber),
            target: kept.target.map(ReleaseNumber),
            image_id: kept.case.image_id.clone(),
            desired: kept.desired(),
            ready: kept.ready(),
            route: kept.app.route.clone(),
        })
    }

    async fn begin_release(&self, _: &Asker, app: App, plan: GrayPlan) -> Result<ReleaseNumber, AppError> {
        let mut state = self.state();
        state.calls.push(format!("release {} {}: {}", app.name, app.image, in_words(&plan)));
        let kept = state.find(&app.name)?;
        let release = kept.stable.unwrap_or(0) + 1;
        (kept.app, kept.target, kept.plan) = (app, Some(release), Some(plan));
        Ok(ReleaseNumber(release))
    }

    async fn happening(
        &self,
        app: &AppName,
        release: ReleaseNumber,
        seen: u32,
    ) -> Result<Option<Happening>, AppError> {
        let (next, wait) = {
            let mut state = self.state();
            let kept = state.find(app)?;
            let Some(plan) = kept.plan.clone() else {
                return Err(AppError::NotFound(format!("`{app}` has no gray release")));
            };
            let steps = kept.case.gray.clone().unwrap_or_else(|| as_planned(&plan));
            let is_over = |count: usize| steps[..count].iter().any(|step| step.promoted.is_some());
            let seen = seen as usize;
            if is_over(seen.min(steps.len())) || kept.target.is_none() {
                return Ok(None);
            }
            let held = seen.checked_sub(1).and_then(|before| plan.steps.get(before));
            let next = steps.get(seen).cloned();
            match next.as_ref().and_then(|step| step.promoted) {
                Some(true) => (kept.stable, kept.target) = (Some(release.0), None),
                Some(false) => kept.target = None,
                None => {}
            }
            (next, held.map(|step| step.duration).unwrap_or_default())
        };
        // The case says no end: there is none until somebody cancels.
        let Some(step) = next else { return std::future::pending().await };
        self.time.pass(wait);
        let Step { weight, message, promoted, reason, evidence } = step;
        let end = promoted.map(|is_promoted| Verdict { is_promoted, reason, evidence });
        Ok(Some(Happening { time: self.time.now(), weight, message, end }))
    }

    async fn abort(&self, app: &AppName, release: ReleaseNumber, reason: &str) -> Result<(), AppError> {
        let mut state = self.state();
        state.calls.push(format!("abort {app} {release}: {reason}"));
        state.find(app)?.target = None;
        Ok(())
    }

    async fn measure(&self, app: &AppName) -> Result<AppMeasure, AppError> {
        let time = self.time.now();
        let mut state = self.state();
        let kept = state.find(app)?;
        let position = kept.measured.min(kept.case.metrics.len().saturating_sub(1));
        kept.measured += 1;
        let measured = kept.case.metrics.get(position).cloned();
        let idle = || Counts {
            release: kept.stable.unwrap_or(0),
            weight: 100,
            ready: kept.ready(),
            requests: 0,
            errors: 0,
            percentiles_us: None,
        };
        let Metrics { in_flight, cpu_percent, releases } =
            measured.unwrap_or_else(|| Metrics { releases: vec![idle()], ..Metrics::default() });
        let releases = releases.into_iter().map(counts).collect();
        Ok(AppMeasure { time, incarnation: 1, in_flight, cpu_percent, releases })
    }

    async fn user_of(&self, volume: &VolumeName) -> Option<AppName> {
        let state = self.state();
        let uses = |kept: &&Kept| kept.app.spec.volumes.iter().any(|mount| mount.volume == *volume);
        state.kept.values().find(uses).map(|kept| kept.app.name.clone())
    }

    async fn back_up(
        &self,
        _: &Asker,
        volume: &VolumeName,
        repository: PathBuf,
        pause: Duration,
        _: &Cancellation,
    ) -> Result<VolumeSnapshot, AppError> {
        self.state().volumes.back_up(volume, &repository, pause, self.time.now())
    }

    async fn snapshots(&self, _: PathBuf, volume: &VolumeName) -> Result<Vec<VolumeSnapshot>, AppError> {
        self.state().volumes.snapshots(volume, self.time.now())
    }

    async fn verify(&self, _: PathBuf, snapshot: &str, _: &Cancellation) -> Result<Restored, AppError> {
        self.state().volumes.verify(snapshot)
    }

    async fn restore(
        &self,
        _: &Asker,
        _: PathBuf,
        snapshot: &str,
        volume: &VolumeName,
        _: &Cancellation,
    ) -> Result<Restored, AppError> {
        self.state().volumes.restore(snapshot, volume)
    }
}

/// What happens to a gray release with which all is well.
fn as_planned(plan: &GrayPlan) -> Vec<Step> {
    let step = |weight, message: String, promoted, reason: &str| Step {
        weight,
        message,
        promoted,
        reason: reason.to_owned(),
        evidence: json!({}),
    };
    let steps = plan.steps.iter().map(|held| step(held.weight, format!("{} %", held.weight), None, ""));
    steps.chain([step(100, "promoted".to_owned(), Some(true), "nothing speaks against it")]).collect()
}

fn counts(counts: Counts) -> ReleaseMeasure {
    let Counts { release, weight, ready, requests, errors, percentiles_us } = counts;
    let percentiles = percentiles_us.map(|percentiles| percentiles.map(Duration::from_micros));
    ReleaseMeasure { release: ReleaseNumber(release), weight, ready, requests, errors, percentiles }
}
