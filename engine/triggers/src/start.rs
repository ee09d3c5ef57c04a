//! Which start this is, the same whenever its cause is met again.

use std::fmt;

use yuanli_model::{Digest, Schedule, Timestamp, WorkflowName};

use crate::metric::RuleId;
use crate::webhook::Delivery;

/// Identifies one start of a workflow by its cause. As text, 64 hexadecimal digits: fit for a key of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StartId(Digest);

impl StartId {
    /// The start at a due time of a schedule.
    #[must_use]
    pub fn of_schedule(workflow: &WorkflowName, schedule: &Schedule, due: Timestamp) -> Self {
        Self::of("schedule", workflow, &[&schedule.cron, &schedule.timezone, &due.as_millis().to_string()])
    }

    /// The start by something that happened, which has this name wherever it is told.
    #[must_use]
    pub fn of_event(workflow: &WorkflowName, happened: &str) -> Self {
        Self::of("event", workflow, &[happened])
    }

    /// The start by a measured value that has been beyond a threshold since then.
    #[must_use]
    pub fn of_metric(workflow: &WorkflowName, rule: &RuleId, since: Timestamp) -> Self {
        Self::of("metric", workflow, &[&rule.to_string(), &since.as_millis().to_string()])
    }

    /// The start by a delivery of a webhook.
    #[must_use]
    pub fn of_delivery(workflow: &WorkflowName, delivery: &Delivery) -> Self {
        Self::of("webhook", workflow, &[delivery.as_str()])
    }

    /// Each part goes in with its length, so that no two lists of parts are one text.
    fn of(cause: &str, workflow: &WorkflowName, parts: &[&str]) -> Self {
        let parts = [cause, workflow.as_str()].into_iter().chain(parts.iter().copied());
        let text: String = parts.map(|part| format!("{}:{part}", part.len())).collect();
        Self(Digest::of(text.as_bytes()))
    }
}

impl fmt::Display for StartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.hex())
    }
}
