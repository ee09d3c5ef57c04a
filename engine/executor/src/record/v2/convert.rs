//! Events of version 2 from the model, and back.

use std::time::Duration;

use serde_json::Value;
use yuanli_model::run::{self as of_run, PinnedStage};
use yuanli_model::{self as model, Digest, RunId, Timestamp};

use super::super::envelope::Broken;
use super::super::long::{Long, Text};
use super::super::v1::{Attempt, Class, Outcome, parse};
use super::event::{Answer, Created, End, Event, Failure, Pinned, Reason, Section, Then, Verdict};

impl Event {
    /// The event, where version 2 has all that is in it.
    pub(crate) fn of(event: &model::RunEvent, long: &mut Long) -> Option<Self> {
        let millis = |at: &Option<Timestamp>| at.map(Timestamp::as_millis);
        Some(match event {
            model::RunEvent::Created { .. }
            | model::RunEvent::CacheBypassed
            | model::RunEvent::CacheConsulted { .. }
            | model::RunEvent::StageReused { .. }
            | model::RunEvent::InstancesReused { .. }
            | model::RunEvent::StageExpanded { .. } => return None,
            model::RunEvent::Admitted { deadline } => Self::Admitted { deadline_ms: millis(deadline) },
            model::RunEvent::ApprovalRequested { stage, message, deadline } => Self::ApprovalRequested {
                stage: stage.to_string(),
                message: message.clone().map(|message| long.take(message)),
                deadline_ms: millis(deadline),
            },
            model::RunEvent::ApprovalAnswered { stage, answer } => {
                Self::ApprovalAnswered { stage: stage.to_string(), answer: Answer::of(answer, long) }
            }
            model::RunEvent::ApprovalEnded { stage, verdict } => {
                Self::ApprovalEnded { stage: stage.to_string(), verdict: Verdict::of(verdict) }
            }
            model::RunEvent::AttemptStarted { attempt, config } => {
                Self::AttemptStarted { attempt: Attempt::of(attempt), config: long.take(config.to_string()) }
            }
            model::RunEvent::AttemptEnded { attempt, outcome, then } => Self::AttemptEnded {
                attempt: Attempt::of(attempt),
                end: End::of(outcome, long),
                then: Then::of(*then),
            },
            model::RunEvent::StageSkipped { stage, reason } => {
                Self::StageSkipped { stage: stage.to_string(), reason: Reason::of(reason) }
            }
            model::RunEvent::CancelRequested { reason } => Self::CancelRequested { reason: reason.clone() },
            model::RunEvent::TimedOut => Self::TimedOut,
            model::RunEvent::Interrupted => Self::Interrupted,
            model::RunEvent::Finished { outcome, outputs, failure } => Self::Finished {
                outcome: Outcome::of(*outcome),
                outputs: outputs.as_ref().map(|outputs| long.take(outputs.to_string())),
                failure: failure.as_ref().map(Failure::of),
            },
        })
    }

    pub(crate) fn into_model(self, run: RunId, long: &Long) -> Result<model::RunEvent, Broken> {
        let timestamp = |millis: Option<u64>| millis.map(Timestamp::from_millis);
        Ok(match self {
            Self::Created(created) => created.into_model(long)?,
            Self::Admitted { deadline_ms } => model::RunEvent::Admitted { deadline: timestamp(deadline_ms) },
            Self::StageReused { stage, from, outputs, workspaces } => model::RunEvent::StageReused {
                stage: parse("event", &stage)?,
                from: RunId::from_u128(u128::from_be_bytes(from)),
                result: of_run::StageResult::Succeeded { outputs: json(&long.text(outputs)?)? },
                workspaces: workspaces.into_iter().map(Digest::from_bytes).collect(),
            },
            Self::StageExpanded { stage, instances, parallel } => model::RunEvent::StageExpanded {
                stage: parse("event", &stage)?,
                instances: match json(&long.text(instances)?)? {
                    Value::Array(instances) => instances,
                    _ => return Err(Broken::damaged("event", "its instances are no list")),
                },
                parallel,
                reused: Vec::new(),
            },
            Self::ApprovalRequested { stage, message, deadline_ms } => model::RunEvent::ApprovalRequested {
                stage: parse("event", &stage)?,
                message: message.map(|message| long.text(message)).transpose()?,
                deadline: timestamp(deadline_ms),
            },
            Self::ApprovalAnswered { stage, answer } => model::RunEvent::ApprovalAnswered {
                stage: parse("event", &stage)?,
                answer: answer.into_model(long)?,
            },
            Self::ApprovalEnded { stage, verdict } => model::RunEvent::ApprovalEnded {
                stage: parse("event", &stage)?,
                verdict: verdict.into_model(),
            },
            Self::AttemptStarted { attempt, config } => {
                let config = json(&long.text(config)?)?;
                model::RunEvent::AttemptStarted { attempt: attempt.into_model(run)?, config }
            }
            Self::AttemptEnded { attempt, end, then } => model::RunEvent::AttemptEnded {
                attempt: attempt.into_model(run)?,
                outcome: end.into_model(long)?,
                then: then.into_model(),
            },
            Self::StageSkipped { stage, reason } => {
                model::RunEvent::StageSkipped { stage: parse("event", &stage)?, reason: reason.into_model()? }
            }
            Self::CancelRequested { reason } => model::RunEvent::CancelRequested { reason },
            Self::TimedOut => model::RunEvent::TimedOut,
            Self::Interrupted => model::RunEvent::Interrupted,
            Self::Finished { outcome, outputs, failure } => model::RunEvent::Finished {
                outcome: outcome.into_model(),
                outputs: outputs.map(|outputs| json(&long.text(outputs)?)).transpose()?,
                failure: failure.map(Failure::into_model),
            },
        })
    }
}

impl Created {
    fn into_model(self, long: &Long) -> Result<model::RunEvent, Broken> {
        let input = |(name, value): (String, Text)| {
            Ok((parse::<model::InputName>("event", &name)?, json(&long.text(value)?)?))
        };
        Ok(model::RunEvent::Created {
            workflow: parse("event", &self.workflow)?,
            version: Digest::from_bytes(self.version),
            inputs: self.inputs.into_iter().map(input).collect::<Result<_, Broken>>()?,
            stages: self.stages.into_iter().map(Pinned::into_model).collect::<Result<_, _>>()?,
            group: self.group,
            priority: yuanli_model::workflow::Priority::default(),
            deadline: self.deadline_ms.map(Timestamp::from_millis),
            provenance: Box::default(),
        })
    }
}

impl Pinned {
    pub(crate) fn of(stage: &PinnedStage) -> Self {
        Self {
            name: stage.name.to_string(),
            section: Section::of(stage.section),
            plugin: stage.plugin.clone(),
            component: *stage.component.as_bytes(),
            needs: stage.needs.iter().map(ToString::to_string).collect(),
            allow_failure: stage.allow_failure,
        }
    }

    pub(crate) fn into_model(self) -> Result<PinnedStage, Broken> {
        Ok(PinnedStage {
            name: parse("event", &self.name)?,
            section: self.section.into_model(),
            plugin: self.plugin,
            component: Digest::from_bytes(self.component),
            needs: self.needs.iter().map(|need| parse("event", need)).collect::<Result<_, _>>()?,
            allow_failure: self.allow_failure,
        })
    }
}

impl Section {
    fn of(section: model::Section) -> Self {
        match section {
            model::Section::Main => Self::Main,
            model::Section::OnFailure => Self::OnFailure,
            model::Section::Finally => Self::Finally,
        }
    }

    fn into_model(self) -> model::Section {
        match self {
            Self::Main => model::Section::Main,
            Self::OnFailure => model::Section::OnFailure,
            Self::Finally => model::Section::Finally,
        }
    }
}

impl Answer {
    fn of(answer: &of_run::Answer, long: &mut Long) -> Self {
        Self {
            by: answer.by.clone(),
            is_approved: answer.is_approved,
            comment: answer.comment.clone(),
            inputs: long.take(answer.inputs.to_string()),
        }
    }

    fn into_model(self, long: &Long) -> Result<of_run::Answer, Broken> {
        let inputs = json(&long.text(self.inputs)?)?;
        Ok(of_run::Answer { by: self.by, is_approved: self.is_approved, comment: self.comment, inputs })
    }
}

impl Verdict {
    fn of(verdict: &of_run::Verdict) -> Self {
        match verdict {
            of_run::Verdict::Approved => Self::Approved,
            of_run::Verdict::Rejected => Self::Rejected,
            of_run::Verdict::ExpiredApproved => Self::ExpiredApproved,
            of_run::Verdict::ExpiredRejected => Self::ExpiredRejected,
        }
    }

    fn into_model(self) -> of_run::Verdict {
        match self {
            Self::Approved => of_run::Verdict::Approved,
            Self::Rejected => of_run::Verdict::Rejected,
            Self::ExpiredApproved => of_run::Verdict::ExpiredApproved,
            Self::ExpiredRejected => of_run::Verdict::ExpiredRejected,
        }
    }
}

impl Then {
    fn of(then: of_run::Then) -> Self {
        match then {
            of_run::Then::End => Self::End,
            of_run::Then::Allow => Self::Allow,
            of_run::Then::Retry(at) => Self::Retry { at_ms: at.as_millis() },
        }
    }

    fn into_model(self) -> of_run::Then {
        match self {
            Self::End => of_run::Then::End,
            Self::Allow => of_run::Then::Allow,
            Self::Retry { at_ms } => of_run::Then::Retry(Timestamp::from_millis(at_ms)),
        }
    }
}

impl Reason {
    pub(crate) fn of(reason: &model::SkipReason) -> Self {
        match reason {
            model::SkipReason::NeedNotMet(need) => Self::NeedNotMet(need.to_string()),
            model::SkipReason::Condition { expression, values } => {
                Self::Condition { expression: expression.clone(), values: values.clone() }
            }
            model::SkipReason::RunCancelled => Self::RunCancelled,
            model::SkipReason::RunTimedOut => Self::RunTimedOut,
            model::SkipReason::RunInterrupted => Self::RunInterrupted,
            model::SkipReason::NoFailure => Self::NoFailure,
        }
    }

    pub(crate) fn into_model(self) -> Result<model::SkipReason, Broken> {
        Ok(match self {
            Self::NeedNotMet(need) => model::SkipReason::NeedNotMet(parse("event", &need)?),
            Self::Condition { expression, values } => model::SkipReason::Condition { expression, values },
            Self::RunCancelled => model::SkipReason::RunCancelled,
            Self::RunTimedOut => model::SkipReason::RunTimedOut,
            Self::RunInterrupted => model::SkipReason::RunInterrupted,
            Self::NoFailure => model::SkipReason::NoFailure,
        })
    }
}

impl Attempt {
    pub(crate) fn of(id: &model::AttemptId) -> Self {
        Self { stage: id.stage.to_string(), instance: id.instance, attempt: id.attempt }
    }

    pub(crate) fn into_model(self, run: RunId) -> Result<model::AttemptId, Broken> {
        let stage = parse("event", &self.stage)?;
        Ok(model::AttemptId { run, stage, instance: self.instance, attempt: self.attempt })
    }
}

impl End {
    fn of(outcome: &model::AttemptOutcome, long: &mut Long) -> Self {
        match outcome {
            model::AttemptOutcome::Succeeded { outputs, workspace } => Self::Succeeded {
                outputs: long.take(outputs.to_string()),
                workspace: workspace.map(|digest| *digest.as_bytes()),
            },
            model::AttemptOutcome::Failed(failure) => Self::Failed(Failure::of(failure)),
            model::AttemptOutcome::Cancelled => Self::Cancelled,
        }
    }

    fn into_model(self, long: &Long) -> Result<model::AttemptOutcome, Broken> {
        Ok(match self {
            Self::Succeeded { outputs, workspace } => model::AttemptOutcome::Succeeded {
                outputs: json(&long.text(outputs)?)?,
                workspace: workspace.map(Digest::from_bytes),
            },
            Self::Failed(failure) => model::AttemptOutcome::Failed(failure.into_model()),
            Self::Cancelled => model::AttemptOutcome::Cancelled,
        })
    }
}

impl Failure {
    pub(crate) fn of(failure: &model::Failure) -> Self {
        Self {
            class: Class::of(&failure.class),
            kind: failure.kind.clone(),
            message: failure.message.clone(),
            details: failure.details.clone(),
        }
    }

    pub(crate) fn into_model(self) -> model::Failure {
        let Self { class, kind, message, details } = self;
        model::Failure { class: class.into_model(), kind, message, details }
    }
}

impl Class {
    fn of(class: &model::FailureClass) -> Self {
        match class {
            model::FailureClass::Permanent => Self::Permanent,
            model::FailureClass::Transient => Self::Transient,
            model::FailureClass::Throttled { retry_after } => {
                let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                Self::Throttled { retry_after_ms: retry_after.map(millis) }
            }
            model::FailureClass::Cancelled => Self::Cancelled,
            model::FailureClass::Interrupted => Self::Interrupted,
            model::FailureClass::Other(name) => Self::Other(name.clone()),
        }
    }

    fn into_model(self) -> model::FailureClass {
        match self {
            Self::Permanent => model::FailureClass::Permanent,
            Self::Transient => model::FailureClass::Transient,
            Self::Throttled { retry_after_ms } => {
                model::FailureClass::Throttled { retry_after: retry_after_ms.map(Duration::from_millis) }
            }
            Self::Cancelled => model::FailureClass::Cancelled,
            Self::Interrupted => model::FailureClass::Interrupted,
            Self::Other(name) => model::FailureClass::Other(name),
        }
    }
}

pub(crate) fn json(text: &str) -> Result<Value, Broken> {
    serde_json::from_str(text).map_err(|e| Broken::damaged("event", e))
}
