//! What came of a run: its events and its state, asked as expectations ask.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use yuanli_executor::Recorded;
use yuanli_flow::{Run, StageStatus};
use yuanli_model::run::StartingPoint;
use yuanli_model::{AttemptOutcome, Failure, RunEvent, StageName, Timestamp, Work, Workflow};

/// A run that was made for a case.
pub(crate) struct Observed<'a> {
    pub(crate) workflow: &'a Workflow,
    pub(crate) begin: Timestamp,
    pub(crate) events: &'a [Recorded],
    pub(crate) run: &'a Run,
}

/// An attempt that began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun<'a> {
    pub(crate) instance: u32,
    pub(crate) attempt: u32,
    pub(crate) at: Timestamp,
    pub(crate) config: &'a Value,
}

impl<'a> Observed<'a> {
    /// How long the run took, or has taken so far.
    pub(crate) fn took(&self) -> Duration {
        self.events.last().map_or(Duration::ZERO, |last| last.at.since(self.begin))
    }

    /// What it gave, and why it failed where no stage did.
    pub(crate) fn finish(&self) -> (Option<&'a Value>, Option<&'a Failure>) {
        self.events
            .iter()
            .rev()
            .find_map(|recorded| match &recorded.event {
                RunEvent::Finished { outputs, failure, .. } => Some((outputs.as_ref(), failure.as_ref())),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// The attempts of a stage, or of one instance of it, in the order in which they began.
    pub(crate) fn attempts(&self, point: &StartingPoint) -> impl Iterator<Item = Begun<'a>> {
        self.events.iter().filter_map(move |recorded| match &recorded.event {
            RunEvent::AttemptStarted { attempt, config }
                if attempt.stage == point.stage
                    && point.instance.is_none_or(|number| number == attempt.instance) =>
            {
                let (instance, attempt) = (attempt.instance, attempt.attempt);
                Some(Begun { instance, attempt, at: recorded.at, config })
            }
            _ => None,
        })
    }

    /// The ends of its attempts, in their order.
    pub(crate) fn ends(
        &self,
        point: &StartingPoint,
    ) -> impl Iterator<Item = (Timestamp, &'a AttemptOutcome)> {
        self.events.iter().filter_map(move |recorded| match &recorded.event {
            RunEvent::AttemptEnded { attempt, outcome, .. }
                if attempt.stage == point.stage
                    && point.instance.is_none_or(|number| number == attempt.instance) =>
            {
                Some((recorded.at, outcome))
            }
            _ => None,
        })
    }

    /// The stages that began, in their order: with their first attempt, or, of those that run nothing, with their question.
    pub(crate) fn began(&self) -> Vec<&'a StageName> {
        let is_gate = |stage: &StageName| {
            self.workflow.stage(stage).is_some_and(|stage| matches!(stage.work, Work::Gate))
        };
        let mut began = Vec::new();
        for recorded in self.events {
            let stage = match &recorded.event {
                RunEvent::AttemptStarted { attempt, .. } => &attempt.stage,
                RunEvent::ApprovalRequested { stage, .. } if is_gate(stage) => stage,
                _ => continue,
            };
            if !began.contains(&stage) {
                began.push(stage);
            }
        }
        began
    }

    /// What was asked of a person.
    pub(crate) fn question(&self, stage: &StageName) -> Option<&'a str> {
        self.events.iter().find_map(|recorded| match &recorded.event {
            RunEvent::ApprovalRequested { stage: asked, message, .. } if asked == stage => {
                Some(message.as_deref().unwrap_or_default())
            }
            _ => None,
        })
    }

    pub(crate) fn status(&self, stage: &StageName) -> Option<&'a StageStatus> {
        self.workflow.position(stage).map(|position| self.run.status(position))
    }

    /// How many instances a stage has, when they are known.
    pub(crate) fn instances(&self, stage: &StageName) -> usize {
        let known = self.events.iter().find_map(|recorded| match &recorded.event {
            RunEvent::StageExpanded { stage: expanded, instances, .. } if expanded == stage => {
                Some(instances.len())
            }
            _ => None,
        });
        let first = StartingPoint { stage: stage.clone(), instance: None };
        known.unwrap_or_else(|| self.attempts(&first).take(1).count())
    }

    /// The outputs of a stage, or of one instance of it.
    pub(crate) fn outputs(&self, point: &StartingPoint) -> Option<&'a Value> {
        let position = self.workflow.position(&point.stage)?;
        match point.instance {
            None => self.run.outputs(position),
            Some(_) => self.ends(point).find_map(|(_, outcome)| match outcome {
                AttemptOutcome::Succeeded { outputs, .. } => Some(outputs),
                _ => None,
            }),
        }
    }

    /// Why a stage, or an instance of it, failed.
    pub(crate) fn failure(&self, point: &StartingPoint) -> Option<&'a Failure> {
        match (point.instance, self.status(&point.stage)) {
            (None, Some(StageStatus::Failed(failure) | StageStatus::Allowed(failure))) => Some(failure),
            (None, _) => None,
            (Some(_), _) => match self.ends(point).last() {
                Some((_, AttemptOutcome::Failed(failure))) => Some(failure),
                _ => None,
            },
        }
    }

    /// Why the run failed: the failure of the first stage that did, in the order of the document, or its own.
    pub(crate) fn first_failure(&self) -> Option<(Option<&'a StageName>, &'a Failure)> {
        let failed = self.workflow.stages().iter().enumerate().find_map(|(position, stage)| {
            match self.run.status(position) {
                StageStatus::Failed(failure) => Some((Some(&stage.name), failure)),
                _ => None,
            }
        });
        failed.or_else(|| self.finish().1.map(|failure| (None, failure)))
    }

    /// Why nothing will ever happen in the run any more.
    pub(crate) fn waits_in_words(waiting: &BTreeSet<String>) -> String {
        let waiting: Vec<String> = waiting.iter().map(|stage| format!("`{stage}`")).collect();
        match waiting.is_empty() {
            true => "the run waits for ever".to_owned(),
            false => format!(
                "the run waits for ever for an answer to {}: give one under `approvals`, or the stage a `deadline`",
                waiting.join(" and ")
            ),
        }
    }
}
