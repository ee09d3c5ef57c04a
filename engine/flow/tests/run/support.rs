//! Workflows in one line, runs that tell what they do.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Value, json};
use yuanli_flow::{Command, Effect, Illegal, Run, effects, step};
use yuanli_model::run::PinnedStage;
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Expression, Failure, PluginReference, RunEvent, RunId, Stage,
    Template, Workflow,
};

pub(crate) const RUN: RunId = RunId::from_u128(7);

/// A workflow from lines such as `d: b c`: stage `d` needs `b` and `c`. What stands after `=` is an expression that
/// the stage's config holds.
pub(crate) fn workflow(lines: &[&str]) -> Arc<Workflow> {
    let stage = |line: &&str| {
        let (line, expression) = line.split_once('=').unwrap_or((line, ""));
        let (name, needs) = line.split_once(':').unwrap_or((line, ""));
        let config = (!expression.trim().is_empty())
            .then(|| ("value".to_owned(), Template::Expression(Expression::new(expression.trim()))));
        Stage {
            name: name.trim().parse().unwrap(),
            uses: PluginReference::Named("p".to_owned()),
            with: Template::Map(config.into_iter().collect()),
            needs: needs.split_whitespace().map(|need| need.parse().unwrap()).collect(),
            grants: Vec::new(),
            timeout: None,
        }
    };
    let stages = lines.iter().map(stage).collect();
    Arc::new(Workflow::new("w".parse().unwrap(), None, IndexMap::new(), stages).unwrap())
}

pub(crate) fn created(workflow: &Workflow) -> RunEvent {
    let pinned = |stage: &Stage| PinnedStage {
        name: stage.name.clone(),
        plugin: "p".to_owned(),
        component: Digest::of(stage.name.as_str().as_bytes()),
        needs: stage.needs.clone(),
    };
    RunEvent::Created {
        workflow: workflow.name().clone(),
        version: Digest::of(b""),
        inputs: IndexMap::from([("tag".parse().unwrap(), json!("v1"))]),
        stages: workflow.stages().iter().map(pinned).collect(),
    }
}

pub(crate) fn attempt(stage: &str) -> AttemptId {
    AttemptId { run: RUN, stage: stage.parse().unwrap(), instance: 0, attempt: 1 }
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
}

impl Story {
    pub(crate) fn begin(workflow: Arc<Workflow>) -> (Self, Vec<String>) {
        let created = created(&workflow);
        let run = Run::new(RUN, workflow, &created).unwrap();
        let mut story = Self { run, events: vec![created] };
        let told = story.tell(Command::Advance).unwrap();
        (story, told)
    }

    pub(crate) fn step(&mut self, command: Command) -> Result<Vec<RunEvent>, Illegal> {
        let decided = step(&mut self.run, command)?;
        self.events.extend(decided.clone());
        Ok(decided)
    }

    /// What follows from a command, in words: `start a`, `a succeeded`, `skip b (a)`, `cancel`, `end failed`, and
    /// effects behind `!` where they are not those of the events one by one.
    pub(crate) fn tell(&mut self, command: Command) -> Result<Vec<String>, Illegal> {
        Ok(self.step(command)?.iter().map(in_words).collect())
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
}

fn in_words(event: &RunEvent) -> String {
    match event {
        RunEvent::Created { .. } => "created".to_owned(),
        RunEvent::AttemptStarted { attempt, .. } => format!("start {}", attempt.stage),
        RunEvent::AttemptEnded { attempt, outcome } => {
            let how = match outcome {
                AttemptOutcome::Succeeded { .. } => "succeeded".to_owned(),
                AttemptOutcome::Failed(failure) => format!("failed ({})", failure.kind),
                AttemptOutcome::Cancelled => "cancelled".to_owned(),
            };
            format!("{} {how}", attempt.stage)
        }
        RunEvent::StageSkipped { stage, reason } => match reason {
            yuanli_model::SkipReason::NeedNotMet(need) => format!("skip {stage} ({need})"),
            yuanli_model::SkipReason::RunCancelled => format!("skip {stage} (cancelled)"),
        },
        RunEvent::CancelRequested { .. } => "cancel".to_owned(),
        RunEvent::Finished { outcome } => format!("end {}", outcome.name()),
    }
}

/// The stages whose attempts these events start.
pub(crate) fn starts(events: &[RunEvent]) -> Vec<String> {
    let start = |effect: Effect| match effect {
        Effect::StartAttempt { attempt, .. } => Some(attempt.stage.to_string()),
        Effect::StopAttempts | Effect::Release { .. } => None,
    };
    effects(events).into_iter().filter_map(start).collect()
}
