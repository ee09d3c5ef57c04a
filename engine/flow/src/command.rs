//! What may be asked of a run.

use yuanli_model::run::{Answer, CacheFinding};
use yuanli_model::{AttemptId, AttemptOutcome, StageName};

/// Something that was asked of a run, or reported to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Go on as far as the state allows. Comes first for a new run, and after every event.
    Advance,
    /// Begin: the run's concurrency group has a place for it.
    Admit,
    /// An attempt came to its end.
    EndAttempt {
        /// Which one.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
    },
    /// It was looked for an attempt, which runs, whether what an earlier run gave stands for it.
    NoteCache {
        /// Which one.
        attempt: AttemptId,
        /// What was found.
        finding: CacheFinding,
    },
    /// A person answered what a stage asked.
    Answer {
        /// Which stage.
        stage: StageName,
        /// Who and what.
        answer: Answer,
    },
    /// The time of [`crate::Run::next_timer`] has come.
    Wake,
    /// End the run: what has not begun is skipped, what runs is stopped. The `finally` part runs all the same, unless it
    /// is what is asked to end.
    Cancel {
        /// Who or why, for a person.
        reason: String,
    },
    /// The engine that ran the attempts is gone, and they with it; nobody goes on with the run.
    Interrupt,
}
