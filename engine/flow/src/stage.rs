//! The life of a stage and that of one of its instances, each as one total function.

use yuanli_model::run::Then;
use yuanli_model::{AttemptOutcome, Failure, SkipReason, Timestamp};

/// Where a stage of a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum StageStatus {
    /// Waits for this many of its needs.
    Waiting {
        /// Needs that have not ended.
        missing: usize,
    },
    /// Waits for a person.
    Held,
    /// Its instances are known, and have not all ended.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly, which it may: what needs it goes on.
    Allowed(Failure),
    /// It ended badly.
    Failed(Failure),
    /// It was stopped because the run is to end.
    Cancelled,
    /// It will not run.
    Skipped(SkipReason),
}

/// What can happen to a stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StageEvent<'a> {
    /// One of its needs ended, however.
    NeedEnded,
    /// A person is asked.
    Asked,
    /// The answer is yes, and there is more to do.
    Approved,
    /// Its instances are known.
    Expanded,
    /// An attempt began.
    Started,
    /// All of it ended, as this final status.
    Ended(StageStatus),
    /// It was skipped.
    Skipped(&'a SkipReason),
}

impl StageStatus {
    /// Whether it will not change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Waiting { .. } | Self::Held | Self::Running => false,
            Self::Succeeded | Self::Allowed(_) | Self::Failed(_) | Self::Cancelled | Self::Skipped(_) => true,
        }
    }

    /// Whether what needs it can go on.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self {
            Self::Succeeded | Self::Allowed(_) => true,
            Self::Waiting { .. }
            | Self::Held
            | Self::Running
            | Self::Failed(_)
            | Self::Cancelled
            | Self::Skipped(_) => false,
        }
    }

    /// The word for it in output, and, when it is final, what expressions see as its `result`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Held => "held",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Allowed(_) | Self::Failed(_) => "failed",
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
            // A stage that was skipped while it waited does not care about its needs any more.
            (Self::Skipped(reason), StageEvent::NeedEnded) => Some(Self::Skipped(reason.clone())),
            // Waiting -> Held: every need is there, and a person has to agree.
            (Self::Waiting { missing: 0 }, StageEvent::Asked) => Some(Self::Held),
            // Held -> Waiting: they do, and it is as if the last need had come just now.
            (Self::Held, StageEvent::Approved) => Some(Self::Waiting { missing: 0 }),
            // Waiting -> Running: every need is there. Running -> Running: one instance more, or one of them again.
            (Self::Waiting { missing: 0 }, StageEvent::Started | StageEvent::Expanded)
            | (Self::Running, StageEvent::Started) => Some(Self::Running),
            // Waiting -> Succeeded: another run did it. Held -> Succeeded, Failed: the answer is all there was to wait
            // for. Running -> Succeeded, Allowed, Failed, Cancelled: the last instance ended.
            (Self::Waiting { missing: 0 } | Self::Held | Self::Running, StageEvent::Ended(status))
                if status.is_final() =>
            {
                Some(status.clone())
            }
            // Waiting, Held -> Skipped: a need or the condition was not met, or the run is to end.
            (Self::Waiting { .. } | Self::Held, StageEvent::Skipped(reason)) => {
                Some(Self::Skipped((*reason).clone()))
            }
            (
                Self::Waiting { .. }
                | Self::Held
                | Self::Running
                | Self::Succeeded
                | Self::Allowed(_)
                | Self::Failed(_)
                | Self::Cancelled
                | Self::Skipped(_),
                StageEvent::NeedEnded
                | StageEvent::Asked
                | StageEvent::Approved
                | StageEvent::Expanded
                | StageEvent::Started
                | StageEvent::Ended(_)
                | StageEvent::Skipped(_),
            ) => None,
        }
    }
}

/// Where an instance of a stage is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InstanceStatus {
    /// Has not begun.
    #[default]
    Waiting,
    /// This attempt of it runs.
    Running {
        /// Its number, from 1.
        attempt: u32,
    },
    /// This attempt of it failed; the next one begins at a time.
    Resting {
        /// The number of the one that failed.
        attempt: u32,
        /// When.
        until: Timestamp,
    },
    /// It ended well.
    Succeeded,
    /// It ended badly, which it may.
    Allowed,
    /// It ended badly.
    Failed,
    /// It was stopped, or never began, because the run is to end.
    Cancelled,
}

/// What can happen to an instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum InstanceEvent<'a> {
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
        /// What comes after it.
        then: Then,
    },
    /// The run is to end.
    Stopped,
}

impl InstanceStatus {
    /// Whether it will not change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Running { .. } | Self::Resting { .. } => false,
            Self::Succeeded | Self::Allowed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// What comes after `event`; `None` when it cannot happen in this status.
    pub(crate) fn next(self, event: InstanceEvent<'_>) -> Option<Self> {
        match (self, event) {
            // Waiting -> Running: the first attempt. Resting -> Running: the next one.
            (Self::Waiting, InstanceEvent::Started { attempt: attempt @ 1 }) => {
                Some(Self::Running { attempt })
            }
            (Self::Resting { attempt: before, .. }, InstanceEvent::Started { attempt })
                if attempt == before + 1 =>
            {
                Some(Self::Running { attempt })
            }
            // Running -> Succeeded, Failed, Allowed, Resting, Cancelled: the attempt that runs came to its end.
            (Self::Running { attempt: running }, InstanceEvent::Ended { attempt, outcome, then })
                if running == attempt =>
            {
                match (outcome, then) {
                    (AttemptOutcome::Succeeded { .. }, Then::End) => Some(Self::Succeeded),
                    (AttemptOutcome::Failed(_), Then::End) => Some(Self::Failed),
                    (AttemptOutcome::Failed(_), Then::Allow) => Some(Self::Allowed),
                    (AttemptOutcome::Failed(_), Then::Retry(until)) => Some(Self::Resting { attempt, until }),
                    (AttemptOutcome::Cancelled, Then::End) => Some(Self::Cancelled),
                    (
                        AttemptOutcome::Succeeded { .. } | AttemptOutcome::Cancelled,
                        Then::Allow | Then::Retry(_),
                    ) => None,
                }
            }
            // Waiting, Resting -> Cancelled: nothing runs that could report its end.
            (Self::Waiting | Self::Resting { .. }, InstanceEvent::Stopped) => Some(Self::Cancelled),
            (
                Self::Waiting
                | Self::Running { .. }
                | Self::Resting { .. }
                | Self::Succeeded
                | Self::Allowed
                | Self::Failed
                | Self::Cancelled,
                InstanceEvent::Started { .. } | InstanceEvent::Ended { .. } | InstanceEvent::Stopped,
            ) => None,
        }
    }
}
