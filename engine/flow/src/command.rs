//! What may be asked of a run.

use yuanli_model::{AttemptId, AttemptOutcome};

/// Something that was asked of a run, or reported to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Go on as far as the state allows. Comes first for a new run, and after every event.
    Advance,
    /// An attempt came to its end.
    EndAttempt {
        /// Which one.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
    },
    /// End the run: what has not begun is skipped, what runs is stopped.
    Cancel {
        /// Who or why, for a person.
        reason: String,
    },
    /// The engine that ran the attempts is gone, and they with it.
    Interrupt,
}
