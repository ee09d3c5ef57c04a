//! Workflows in one line, runs that tell what they do.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Value, json};
use yuanli_flow::{Command, Creation, Effect, Illegal, Run, create, effects, step};
use yuanli_model::run::{Answer, Provenance, StageResult, Then, Verdict};
use yuanli_model::stage::{Approval, Expiry, FanOut, Growth, Matrix, Retry};
use yuanli_model::workflow::{Concurrency, Older, Settings};
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Expression, Failure, PluginReference, RunEvent, RunId, Section,
    SkipReason, Stage, StageName, Template, Timestamp, Work, Workflow,
};

pub(crate) const RUN: RunId = RunId::from_u128(7);

/// A workflow from lines such as `d: b c | if failure() = inputs.tag`: stage `d` needs `b` and `c`. What stands behind
/// each `|` is a part of the stage (see [`part`]), what stands behind `=` an expression that its config holds.
pub(crate) fn workflow(lines: &[&str]) -> Arc<Workflow> {
    workflow_with(lines, Settings::default())
}

pub(crate) fn workflow_with(lines: &[&str], settings: Settings) -> Arc<Workflow> {
    let mut stages: Vec<Stage> = lines.iter().map(|line| stage(line)).collect();
    stages.sort_by_key(|stage| stage.section);
    Arc::new(
        Workflow::new("w".parse().unwrap(), None, IndexMap::new(), stages).unwrap().with_settings(settings),
    )
}

fn stage(line: &str) -> Stage {
    let (line, expression) = match line.split_once(" = ") {
        Some((line, expression)) => (line, Some(expression)),
        None => (line, None),
    };
    let mut parts = line.split('|').map(str::trim);
    let head = parts.next().unwrap();
    let (name, needs) = head.split_once(':').unwrap_or((head, ""));
    let needs = needs.split_whitespace().map(|need| need.parse().unwrap()).collect();
    let config = expression.map(|expression| ("value".to_owned(), self::expression(expression)));
    let uses = PluginReference::Named("p".to_owned());
    let stage = Stage::new(name.trim().parse().unwrap(), uses)
        .with(Template::Map(config.into_iter().collect()))
        .after(needs);
    parts.fold(stage, part)
}

/// Adds a part: `if CEL`, `each CEL`, `matrix AXIS CEL`, `max N`, `retry N`, `allow`, `gate N`, `approval N`, `finally`,
/// `on_failure`.
fn part(mut stage: Stage, text: &str) -> Stage {
    let (key, value) = text.split_once(' ').unwrap_or((text, ""));
    let number = || NonZeroU32::new(value.parse().unwrap()).unwrap();
    match key {
        "if" => stage.condition = Some(Expression::new(value)),
        "each" => stage.fan_out = Some(FanOut::ForEach(expression(value))),
        "matrix" => {
            let (axis, values) = value.split_once(' ').unwrap();
            let axes = IndexMap::from([(axis.to_owned(), expression(values))]);
            stage.fan_out = Some(FanOut::Matrix(Matrix { axes, include: None, exclude: None }));
        }
        "max" => stage.max_parallel = Some(number()),
        "retry" => {
            stage.retry = Retry { attempts: number(), ..Retry::default() };
            stage.retry.backoff.growth = Growth::Fixed;
            stage.retry.backoff.initial = Duration::from_secs(10);
            stage.retry.backoff.jitter = 0.0;
        }
        "allow" => stage.allow_failure = true,
        "gate" | "approval" => {
            if key == "gate" {
                stage.work = Work::Gate;
            }
            stage.approval = Some(Approval {
                message: None,
                by: Vec::new(),
                count: number(),
                deadline: Some(Duration::from_secs(60)),
                on_expiry: Expiry::Reject,
                inputs: IndexMap::new(),
            });
        }
        "finally" => stage.section = Section::Finally,
        "on_failure" => stage.section = Section::OnFailure,
        other => panic!("no part of a stage: {other}"),
    }
    stage
}

pub(crate) fn expression(text: &str) -> Template {
    Template::Expression(Expression::new(text.trim()))
}

/// When stories begin.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_000_000);

pub(crate) fn created(workflow: &Workflow) -> RunEvent {
    let components: Vec<Digest> =
        workflow.stages().iter().map(|stage| Digest::of(stage.name.as_str().as_bytes())).collect();
    let inputs = IndexMap::from([("tag".parse().unwrap(), json!("v1"))]);
    let (version, provenance) = (Digest::of(b""), Provenance::default());
    let creation =
        Creation { workflow, version, inputs, components: &components, priority: None, provenance };
    create(RUN, creation, BEGIN).unwrap()
}

/// Settings with the concurrency group `text`, which may hold an expression.
pub(crate) fn grouped(text: &str) -> Settings {
    let group = yuanli_expr::template(yuanli_expr::split(text).unwrap());
    let concurrency = Concurrency { group, limit: NonZeroU32::MIN, older: Older::Finish, priority: None };
    Settings { concurrency: Some(concurrency), ..Settings::default() }
}

pub(crate) fn name(stage: &str) -> StageName {
    stage.parse().unwrap()
}

/// The attempt that `a`, `a[1]`, `a#2` or `a[1]#2` is.
pub(crate) fn attempt(text: &str) -> AttemptId {
    let (text, attempt) = text.split_once('#').unwrap_or((text, "1"));
    let (stage, instance) = text.trim_end_matches(']').split_once('[').unwrap_or((text, "0"));
    AttemptId {
        run: RUN,
        stage: name(stage),
        instance: instance.parse().unwrap(),
        attempt: attempt.parse().unwrap(),
    }
}

pub(crate) fn succeeded(outputs: Value) -> AttemptOutcome {
    AttemptOutcome::Succeeded { outputs, workspace: None }
}

pub(crate) fn failed() -> AttemptOutcome {
    AttemptOutcome::Failed(Failure::permanent("k", "m"))
}

/// A run that was begun, with everything that happened in it.
pub(crate) struct Story {
    pub(crate) run: Run,
    pub(crate) events: Vec<RunEvent>,
    pub(crate) now: Timestamp,
}

impl Story {
    pub(crate) fn begin(workflow: Arc<Workflow>) -> (Self, Vec<String>) {
        let created = created(&workflow);
        let run = Run::new(RUN, workflow, &created).unwrap();
        let mut story = Self { run, events: vec![created], now: BEGIN };
        let told = story.tell(Command::Advance).unwrap();
        (story, told)
    }

    pub(crate) fn step(&mut self, command: Command) -> Result<Vec<RunEvent>, Illegal> {
        let decided = step(&mut self.run, command, self.now)?;
        self.events.extend(decided.clone());
        Ok(decided)
    }

    /// What follows from a command, in words: `start a`, `a succeeded`, `skip b (a)`, `cancel`, `end failed`.
    pub(crate) fn tell(&mut self, command: Command) -> Result<Vec<String>, Illegal> {
        let now = self.now;
        Ok(self.step(command)?.iter().map(|event| in_words(event, now)).collect())
    }

    pub(crate) fn ends(&mut self, stage: &str, outcome: AttemptOutcome) -> Vec<String> {
        self.tell(Command::EndAttempt { attempt: attempt(stage), outcome }).unwrap()
    }

    pub(crate) fn succeeds(&mut self, stage: &str) -> Vec<String> {
        self.ends(stage, succeeded(json!({})))
    }

    pub(crate) fn fails(&mut self, stage: &str) -> Vec<String> {
        self.ends(stage, failed())
    }

    pub(crate) fn cancel(&mut self) -> Result<Vec<String>, Illegal> {
        self.tell(Command::Cancel { reason: "test".to_owned() })
    }

    pub(crate) fn answers(
        &mut self,
        stage: &str,
        by: &str,
        is_approved: bool,
    ) -> Result<Vec<String>, Illegal> {
        let answer = Answer { by: by.to_owned(), is_approved, comment: None, inputs: json!({}) };
        self.tell(Command::Answer { stage: name(stage), answer })
    }

    /// What the timers bring after so many seconds.
    pub(crate) fn wakes_after(&mut self, seconds: u64) -> Vec<String> {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.tell(Command::Wake).unwrap()
    }
}

/// An attempt as [`attempt`] reads it, numbers that are the usual ones left out.
fn attempt_in_words(attempt: &AttemptId) -> String {
    let instance = if attempt.instance == 0 { String::new() } else { format!("[{}]", attempt.instance) };
    let number = if attempt.attempt == 1 { String::new() } else { format!("#{}", attempt.attempt) };
    format!("{}{instance}{number}", attempt.stage)
}

pub(crate) fn in_words(event: &RunEvent, now: Timestamp) -> String {
    match event {
        RunEvent::Created { .. } => "created".to_owned(),
        RunEvent::Admitted { .. } => "admitted".to_owned(),
        RunEvent::StageReused { stage, result, .. } => match result {
            StageResult::Succeeded { .. } => format!("reuse {stage}"),
            StageResult::Allowed { .. } => format!("reuse {stage} (failed, allowed)"),
            StageResult::Failed(_) => format!("reuse {stage} (failed)"),
            StageResult::Skipped(_) => format!("reuse {stage} (skipped)"),
        },
        RunEvent::InstancesReused { stage, instances, .. } => {
            let numbers: Vec<String> = instances.iter().map(|kept| kept.instance.to_string()).collect();
            format!("reuse {stage}[{}]", numbers.join(", "))
        }
        RunEvent::StageExpanded { stage, instances, .. } => format!("expand {stage} {}", instances.len()),
        RunEvent::ApprovalRequested { stage, .. } => format!("ask {stage}"),
        RunEvent::ApprovalAnswered { stage, answer } => {
            format!("{} says {} to {stage}", answer.by, if answer.is_approved { "yes" } else { "no" })
        }
        RunEvent::ApprovalEnded { stage, verdict } => match verdict {
            Verdict::Approved => format!("{stage} approved"),
            Verdict::Rejected => format!("{stage} rejected"),
            Verdict::ExpiredApproved => format!("{stage} approved by time"),
            Verdict::ExpiredRejected => format!("{stage} rejected by time"),
        },
        RunEvent::AttemptStarted { attempt, .. } => format!("start {}", attempt_in_words(attempt)),
        RunEvent::AttemptEnded { attempt, outcome, then } => {
            let how = match outcome {
                AttemptOutcome::Succeeded { .. } => "succeeded".to_owned(),
                AttemptOutcome::Failed(failure) => format!("failed ({})", failure.kind),
                AttemptOutcome::Cancelled => "cancelled".to_owned(),
            };
            let then = match then {
                Then::End => String::new(),
                Then::Allow => ", allowed".to_owned(),
                Then::Retry(at) => format!(", again in {} s", at.since(now).as_secs()),
            };
            format!("{} {how}{then}", attempt_in_words(attempt))
        }
        RunEvent::StageSkipped { stage, reason } => match reason {
            SkipReason::NeedNotMet(need) => format!("skip {stage} ({need})"),
            SkipReason::Condition { .. } => format!("skip {stage} (if)"),
            SkipReason::RunCancelled => format!("skip {stage} (cancelled)"),
            SkipReason::RunTimedOut => format!("skip {stage} (timed out)"),
            SkipReason::RunInterrupted => format!("skip {stage} (interrupted)"),
            SkipReason::NoFailure => format!("skip {stage} (no failure)"),
        },
        RunEvent::CacheBypassed => "no cache".to_owned(),
        RunEvent::CacheConsulted { attempt, .. } => format!("cache of {}", attempt_in_words(attempt)),
        RunEvent::CancelRequested { .. } => "cancel".to_owned(),
        RunEvent::TimedOut => "timed out".to_owned(),
        RunEvent::Interrupted => "interrupted".to_owned(),
        RunEvent::Finished { outcome, .. } => format!("end {}", outcome.name()),
    }
}

/// The stages whose attempts these events start.
pub(crate) fn starts(run: &Run, events: &[RunEvent]) -> Vec<String> {
    let start = |effect: Effect| match effect {
        Effect::StartAttempt { attempt, .. } | Effect::StartRun { attempt, .. } => {
            Some(attempt.stage.to_string())
        }
        Effect::StopAttempts | Effect::Release { .. } => None,
    };
    effects(run.workflow(), events).into_iter().filter_map(start).collect()
}
