//! The journal of an attempt: what it called, so that the same attempt, begun again after a crash, is told the same and
//! does nothing twice.
//!
//! It holds what the attempt was told, and what it has done outside: of that first that it was intended, then what came of
//! it. Calls are numbered in the order in which the attempt makes them.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_model::{Digest, Stream, Timestamp};

use crate::blobs::Hold;
use crate::store::Batch;

/// A call of a host function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number among the calls of its attempt that are recorded, from 1. Calls without arguments that follow each other
    /// and only tell something (the time, for example) have one number together.
    pub index: u32,
    /// `package/interface@version#function`.
    pub function: String,
    /// The digest of its arguments.
    pub arguments: Digest,
    /// Its arguments for a person, in short, without the values of secrets.
    pub shown: String,
}

/// A call with what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The call.
    pub call: Call,
    /// When it was made.
    pub at: Timestamp,
    /// What came of it; `None` while it is only known that it was to be made.
    pub outcome: Option<Outcome>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it gave.
    pub value: Value,
    /// What it has said in the attempt's log, without the values of secrets. Whoever is told the outcome again says it again.
    pub lines: Vec<(Stream, String)>,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// This, as whoever made it wrote it down; of several calls one after the other.
    Told(Bytes),
    /// It is not kept, as it is too large or a secret is in it: whoever needs it asks again. The digest says whether it is
    /// still the same, where it may be known.
    Withheld(Option<Digest>),
}

/// Lets the next one decide once it is dropped: see [`Staged::turn`].
pub trait Turn: Send + Sync + Debug {}

/// What a call changes, decided on and not done yet.
#[derive(Debug, Default)]
pub struct Staged {
    /// The change. Its preconditions are what was decided on.
    pub batch: Batch,
    /// What keeps the blobs that it names until it is committed.
    pub holds: Vec<Hold>,
    /// Held from the decision to the commit, so that those who want to change the same thing wait instead of deciding
    /// in vain.
    pub turn: Option<Box<dyn Turn>>,
}

/// Why calls were not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// What was decided on has changed; nothing was done. Whoever decides again gets further.
    #[error("somebody else changed the data in between")]
    Overtaken,
    /// The store took nothing, or whether it did cannot be known before the engine is started again.
    #[error("{0}")]
    Unkept(String),
}

/// The journal of one attempt. Whoever runs the attempt is the only one to use it.
#[async_trait]
pub trait AttemptJournal: Send + Sync + Debug {
    /// All that was recorded so far of the attempt, also by an engine before this one, from the first call on.
    ///
    /// # Errors
    /// [`JournalError::Unkept`] when the journal cannot be read.
    async fn recorded(&self) -> Result<Vec<Recorded>, JournalError>;

    /// Records calls and makes what was staged durable, all in one commit. A call that is recorded already is replaced: that
    /// is how an outcome comes to what was intended. Dropping the future may leave it done or not done, never half.
    ///
    /// # Errors
    /// See [`JournalError`].
    async fn record(&self, calls: Vec<Recorded>, staged: Staged) -> Result<(), JournalError>;

    /// That the attempt has ended, what it was told last and nothing had to be recorded of, and whether the plugin itself came
    /// to its end: then the same calls lead to the same end. Nothing is written: whoever keeps the journal beyond the attempt
    /// does so with its end.
    fn end(&self, rest: Vec<Recorded>, is_whole: bool) {
        let _ = (rest, is_whole);
    }
}
