//! What plugins keep with the engine: artifacts of their attempts, values from one run to the next, events that they emit.
//!
//! Reading answers at once. What changes something decides, and gives a [`Staged`] change beside its answer: it happens
//! when the attempt's journal records the call, in the same commit.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_model::{Digest, StageName, Timestamp};

use crate::blobs::Hold;
use crate::journal::{AttemptJournal, JournalError, Recorded, Staged};

/// Longest value of a state key in bytes: what a store keeps in one piece.
pub const MAX_STATE_VALUE_BYTES: usize = 8 * 1024;
/// Longest state key in bytes.
pub const MAX_STATE_KEY_BYTES: usize = 256;
/// Most state keys of one plugin in one workflow: a list of them stays readable, and 8 MiB is the most that they come to.
pub const MAX_STATE_KEYS: u32 = 1_000;
/// Most state keys that are listed at once.
pub const MAX_STATE_PAGE: usize = 100;

/// Longest name of an artifact in bytes: fits a file name everywhere.
pub const MAX_ARTIFACT_NAME_BYTES: usize = 200;
/// Longest media type in bytes.
pub const MAX_MEDIA_TYPE_BYTES: usize = 128;
/// Artifacts are kept in parts of this size, so that a part of one can be read without the rest.
pub const ARTIFACT_PART_BYTES: usize = 4 * 1024 * 1024;
/// Largest artifact in bytes.
pub const MAX_ARTIFACT_BYTES: u64 = 256 * 1024 * 1024;
/// Most bytes of the artifacts that were put in a run, replaced ones counted: their bytes stay as long as the run.
pub const MAX_RUN_ARTIFACT_BYTES: u64 = yuanli_model::stage::MAX_ARTIFACTS_BYTES;
/// Most artifacts that are put in a run, replaced ones counted.
pub const MAX_RUN_ARTIFACTS: u32 = 1_000;

/// Largest data of an event in bytes: what a store keeps in one piece.
pub const MAX_EVENT_BYTES: usize = 8 * 1024;
/// Longest type of an event in bytes.
pub const MAX_EVENT_TYPE_BYTES: usize = 128;
/// Longest subject of an event in bytes.
pub const MAX_SUBJECT_BYTES: usize = 256;
/// Most events of an attempt: more is a log.
pub const MAX_ATTEMPT_EVENTS: u32 = 1_000;
/// Most bytes of the events of a run, as they are stored: all of them are shown with it.
pub const MAX_RUN_EVENT_BYTES: u64 = 16 * 1024 * 1024;

/// Why it was not done; nothing was changed. Messages are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The request is wrong and will stay so.
    #[error("{0}")]
    Invalid(String),
    /// It is over a limit, which the message names.
    #[error("{0}")]
    TooLarge(String),
    /// There are as many as there may be; the message names the limit.
    #[error("{0}")]
    TooMany(String),
    /// It is not what it was expected to be.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be read or kept for now.
    #[error("{0}")]
    Unavailable(String),
}

/// A value that a plugin keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// Its key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Grows with every change of any key of the plugin in the workflow.
    pub revision: u64,
    /// When it was set.
    pub changed: Timestamp,
}

/// What is known of a state key by whoever changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: whatever it has.
    Anything,
    /// That it is not there.
    Absent,
    /// That it has this revision.
    Revision(u64),
}

/// A part of an artifact: all but the last have [`ARTIFACT_PART_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// The content of an artifact that is about to be put, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArtifact {
    /// Its name within the attempt.
    pub name: String,
    /// What it is.
    pub media_type: String,
    /// The digest of the whole.
    pub digest: Digest,
    /// The content; never empty: what has no bytes has an empty part.
    pub parts: Vec<Part>,
}

impl NewArtifact {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }
}

/// An artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The stage that put it.
    pub stage: StageName,
    /// Which of its instances.
    pub instance: u32,
    /// Which attempt of that.
    pub attempt: u32,
    /// When.
    pub created: Timestamp,
    /// Name and content.
    pub content: NewArtifact,
}

/// Something that a plugin tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened, such as `shop.tested`.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// JSON.
    pub data: String,
}

/// What one attempt keeps, and what it may read. `plugin` is always the name that the plugin gives itself.
#[async_trait]
pub trait AttemptRecords: Send + Sync + Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn state(&self, plugin: &str, key: &str) -> Result<Option<StateEntry>, RecordError>;

    /// The keys that begin with `prefix` and come after `after`, sorted, at most [`MAX_STATE_PAGE`].
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn states(
        &self,
        plugin: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<StateEntry>, RecordError>;

    /// Gives a key a value, or takes it away. Returns the new revision, and whether the key was there.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn set_state(
        &self,
        plugin: &str,
        key: &str,
        value: Option<Bytes>,
        expected: Expected,
    ) -> Result<(u64, bool, Staged), RecordError>;

    /// Keeps the bytes of a part for as long as the hold is there.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn keep(&self, bytes: Bytes) -> Result<(Part, Hold), RecordError>;

    /// How many bytes of artifacts the attempt has put, replaced ones counted.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn artifact_bytes(&self) -> Result<u64, RecordError>;

    /// Says whether there is room for an artifact of this name and size, before it is kept.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn room_for(&self, name: &str, media_type: &str, size: u64) -> Result<(), RecordError>;

    /// Puts an artifact whose parts are held.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn put_artifact(&self, artifact: NewArtifact, holds: Vec<Hold>) -> Result<Staged, RecordError>;

    /// The artifacts of the stages that the attempt's stage comes after; of each instance those of its last attempt. Sorted by
    /// stage, instance, name.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn artifacts(&self) -> Result<Vec<Artifact>, RecordError>;

    /// The bytes of a part.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn part(&self, part: Part) -> Result<Bytes, RecordError>;

    /// Emits an event in the call of this number. Returns its id.
    ///
    /// # Errors
    /// See [`RecordError`].
    async fn emit(&self, index: u32, event: NewEvent) -> Result<(String, Staged), RecordError>;
}

/// Keeps nothing and reads nothing, for those who run a plugin without an engine.
#[derive(Debug, Clone, Copy)]
pub struct NoRecords(
    /// Why there is nothing, and what to do.
    pub &'static str,
);

impl NoRecords {
    fn refuse<T>(self) -> Result<T, RecordError> {
        Err(RecordError::Unavailable(self.0.to_owned()))
    }
}

#[async_trait]
impl AttemptRecords for NoRecords {
    async fn state(&self, _: &str, _: &str) -> Result<Option<StateEntry>, RecordError> {
        self.refuse()
    }

    async fn states(&self, _: &str, _: &str, _: Option<&str>) -> Result<Vec<StateEntry>, RecordError> {
        self.refuse()
    }

    async fn set_state(
        &self,
        _: &str,
        _: &str,
        _: Option<Bytes>,
        _: Expected,
    ) -> Result<(u64, bool, Staged), RecordError> {
        self.refuse()
    }

    async fn keep(&self, _: Bytes) -> Result<(Part, Hold), RecordError> {
        self.refuse()
    }

    async fn artifact_bytes(&self) -> Result<u64, RecordError> {
        self.refuse()
    }

    async fn room_for(&self, _: &str, _: &str, _: u64) -> Result<(), RecordError> {
        self.refuse()
    }

    async fn put_artifact(&self, _: NewArtifact, _: Vec<Hold>) -> Result<Staged, RecordError> {
        self.refuse()
    }

    async fn artifacts(&self) -> Result<Vec<Artifact>, RecordError> {
        self.refuse()
    }

    async fn part(&self, _: Part) -> Result<Bytes, RecordError> {
        self.refuse()
    }

    async fn emit(&self, _: u32, _: NewEvent) -> Result<(String, Staged), RecordError> {
        self.refuse()
    }
}

#[async_trait]
impl AttemptJournal for NoRecords {
    async fn recorded(&self) -> Result<Vec<Recorded>, JournalError> {
        Ok(Vec::new())
    }

    /// What it answers need not be remembered: it is the same each time.
    async fn record(&self, _: Vec<Recorded>, _: Staged) -> Result<(), JournalError> {
        Ok(())
    }
}
