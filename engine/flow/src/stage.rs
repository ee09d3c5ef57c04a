//! The life of one stage instance, as one total function.

use yuanli_model::{AttemptOutcome, Failure, SkipReason};

/// Where a stage of a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum StageStatus {
    /// Waits for this many of its needs.
    Waiting {
        /// Needs that have not ended.
        missing: usize,
    },
    /// This attempt of it runs.
    Running {
        /// Its number, from 1.
        attempt: u32,
    },
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed(Failure),
    /// It was stopped because the run was cancelled.
    Cancelled,
    /// It will not run.
    Skipped(SkipReason),
}

/// What can happen to a stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StageEvent<'a> {
    /// One of its needs ended, however.
    NeedEnded,
    /// An attempt began.
    Started {
        /// Its number.
        attempt: u32,
    },
    /// An attempt ended.
    Ended {
        /// Its number.
        attempt: u32,
        /// How.
        outcome: &'a AttemptOutcome,
    },
    /// It was skipped.
    Skipped(&'a SkipReason),
}

impl StageStatus {
    /// Whether it will not change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Waiting { .. } | Self::Running { .. } => false,
            Self::Succeeded | Self::Failed(_) | Self::Cancelled | Self::Skipped(_) => true,
        }
    }

    /// The word for it in output.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Running { .. } => "running",
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped(_) => "skipped",
        }
    }

    /// What comes after `event`; `None` when it cannot happen in this status.
    pub(crate) fn next(&self, event: &StageEvent<'_>) -> Option<Self> {
        match (self, event) {
            // Waiting -> Waiting: one need less to wait for.
            (Self::Waiting { missing: missing @ 1.. }, StageEvent::NeedEnded) => {
                Some(Self::Waiting { missing: missing - 1 })
            }
            // A stage that was cancelled while it waited does not care about its needs any more.
            (Self::Skipped(reason), StageEvent::NeedEnded) => Some(Self::Skipped(reason.clone())),
            // Waiting -> Running: every need is there.
            (Self::Waiting { missing: 0 }, StageEvent::Started { attempt }) => {
                Some(Self::Running { attempt: *attempt })
            }
            // Waiting -> Skipped: a need was not met, or the run is being cancelled.
            (Self::Waiting { .. }, StageEvent::Skipped(reason)) => Some(Self::Skipped((*reason).clone())),
            // Running -> Succeeded, Failed, Cancelled: the attempt that runs came to its end.
            (Self::Running { attempt: running }, StageEvent::Ended { attempt, outcome })
                if running == attempt =>
            {
                Some(match outcome {
                    AttemptOutcome::Succeeded { .. } => Self::Succeeded,
                    AttemptOutcome::Failed(failure) => Self::Failed(failure.clone()),
                    AttemptOutcome::Cancelled => Self::Cancelled,
                })
            }
            (
                Self::Waiting { .. }
                | Self::Running { .. }
                | Self::Succeeded
                | Self::Failed(_)
                | Self::Cancelled
                | Self::Skipped(_),
                StageEvent::NeedEnded
                | StageEvent::Started { .. }
                | StageEvent::Ended { .. }
                | StageEvent::Skipped(_),
            ) => None,
        }
    }
}
