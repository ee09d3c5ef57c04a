//! What plugins keep: artifacts and events of their runs, values from one run to the next, and the calls by which they do
//! it.
//!
//! [`Records`] is the handle. For each attempt it makes an [`OfAttempt`], which decides what a call changes, and a
//! [`Journal`], which records the call and makes the change durable in one commit. What was decided on is a precondition
//! of that commit, so that nothing depends on who waits for whom; [`Turns`] only saves those who want to change the same
//! thing from deciding in vain.

mod artifact;
mod attempt;
mod check;
mod event;
mod journal;
mod kept;
mod removal;
mod share;
mod state;

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use yuanli_model::{AttemptId, RunId, Timestamp, Workflow};
use yuanli_ports::journal::Turn;
use yuanli_ports::records::RecordError;
use yuanli_ports::store::{Entry, Key, Precondition, Range, scan_all};
use yuanli_ports::{AttemptJournal, AttemptRecords, Blobs, Clock, Store};

pub use artifact::RunArtifact;
pub use event::{Event, KeptEvent};
pub use kept::{JournalBounds, Journals, KeptCalls};
pub use state::{StateOwner, StateScope};

pub(crate) use attempt::OfAttempt;
pub(crate) use journal::{Entries, Journal, Keep, forget};

use crate::executor::Error;
use crate::history::History;
use crate::record::envelope::{self, Stored};
use crate::record::v4::Gathered;
use crate::record::v5::Calls;
use crate::record::{Broken, key};

/// Those who want to change different things rarely wait for each other.
const TURNS: usize = 64;

/// What plugins keep. Clones share everything.
#[derive(Debug, Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    history: History,
    turns: Arc<Turns>,
}

/// Whose turn it is to change something.
#[derive(Debug)]
struct Turns([Arc<Mutex<()>>; TURNS]);

/// Turns, until they are dropped.
#[derive(Debug)]
struct Held {
    _guards: Vec<OwnedMutexGuard<()>>,
}

impl Turn for Held {}

impl Turns {
    async fn of(&self, what: impl Hash) -> Box<dyn Turn> {
        Box::new(Held { _guards: vec![self.lock(Self::place(what)).await] })
    }

    /// The turns of two things, for what changes both. All take them in the same order, so that no two wait for each other.
    async fn of_both(&self, one: impl Hash, other: impl Hash) -> Box<dyn Turn> {
        let places = BTreeSet::from([Self::place(one), Self::place(other)]);
        let mut guards = Vec::with_capacity(places.len());
        for place in places {
            guards.push(self.lock(place).await);
        }
        Box::new(Held { _guards: guards })
    }

    fn place(what: impl Hash) -> usize {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(what) as usize % TURNS
    }

    async fn lock(&self, place: usize) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0[place]).lock_owned().await
    }
}

/// A call of an attempt, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The host function.
    pub function: String,
    /// Its arguments in short, without secrets.
    pub shown: String,
    /// When it was made.
    pub at: Timestamp,
    /// Whether what came of it is known.
    pub is_done: bool,
}

/// What all attempts together have put, emitted and kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Artifacts, replaced ones counted.
    pub artifacts: u64,
    /// Their bytes, before they are packed.
    pub artifact_bytes: u64,
    /// Events.
    pub events: u64,
    /// Their bytes.
    pub event_bytes: u64,
    /// State keys of all plugins in all workflows.
    pub state_keys: u64,
    /// Bytes of keys and values.
    pub state_bytes: u64,
}

impl Records {
    /// What is kept in a store and its blobs.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        blobs: Arc<dyn Blobs>,
        clock: Arc<dyn Clock>,
        history: History,
    ) -> Self {
        let turns = Arc::new(Turns(std::array::from_fn(|_| Arc::default())));
        Self { store, blobs, clock, history, turns }
    }

    /// What one attempt calls and keeps. `is_again` says whether it has been begun before, so that its calls are looked up.
    #[must_use]
    pub fn of_attempt(
        &self,
        attempt: &AttemptId,
        workflow: &Arc<Workflow>,
        is_again: bool,
    ) -> (Arc<dyn AttemptJournal>, Arc<dyn AttemptRecords>) {
        let records = OfAttempt::new(self.clone(), attempt.clone(), Arc::clone(workflow));
        (Journal::new(self.clone(), attempt.clone(), is_again), records)
    }

    /// How much there is of everything.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn amounts(&self) -> Result<Amounts, Error> {
        let mut amounts = Amounts::default();
        for (_, entry) in self.all(&key::GATHERED).await? {
            let of_run: Gathered = envelope::open(&entry.value)?;
            amounts.artifacts += u64::from(of_run.artifacts);
            amounts.artifact_bytes += of_run.artifact_bytes;
            amounts.events += u64::from(of_run.events);
            amounts.event_bytes += of_run.event_bytes;
        }
        for scope in self.scopes().await? {
            amounts.state_keys += u64::from(scope.keys);
            amounts.state_bytes += scope.bytes;
        }
        Ok(amounts)
    }

    /// The call that an attempt which runs has recorded last; `None` when it has recorded none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn last_call(&self, attempt: &AttemptId) -> Result<Option<Call>, Error> {
        let last = Range::prefix(key::calls(attempt).as_bytes(), 1).reversed();
        let found = self.store.scan(last).await?;
        let Some((_, entry)) = found.first() else { return Ok(None) };
        let Calls(mut calls) = envelope::open(&entry.value)?;
        Ok(calls.pop().map(|call| call.into_shown()))
    }

    /// What the attempts of a run have put and emitted.
    pub(crate) async fn gathered(&self, run: RunId) -> Result<Gathered, Error> {
        Ok(self.counted(&key::gathered(run)).await?.0)
    }

    /// A value that counts something, nothing where there is none, and that it is as it was read.
    async fn counted<T: Stored + Default>(&self, key: &Key) -> Result<(T, Precondition), Error> {
        Ok(match self.store.get(key).await? {
            Some(entry) => {
                (envelope::open(&entry.value)?, Precondition::Unchanged(key.clone(), entry.revision))
            }
            None => (T::default(), Precondition::Absent(key.clone())),
        })
    }

    /// All entries of a prefix.
    async fn all(&self, prefix: &[u8]) -> Result<Vec<(Key, Entry)>, Error> {
        Ok(scan_all(&*self.store, prefix).await?)
    }
}

fn unavailable(error: impl Into<Error>) -> RecordError {
    RecordError::Unavailable(format!("what plugins keep cannot be read or kept: {}", error.into()))
}

/// A text of a guest that goes into a key or is shown on one line.
fn check_text(what: &str, text: &str, max_bytes: usize) -> Result<(), RecordError> {
    if text.is_empty() || text.len() > max_bytes {
        let length = text.len();
        return Err(RecordError::Invalid(format!("{what} has {length} bytes; 1 to {max_bytes} are allowed")));
    }
    match text.chars().find(|letter| letter.is_control()) {
        Some(letter) => Err(RecordError::Invalid(format!(
            "{what} {text:?} has the control character {letter:?}, which cannot be shown"
        ))),
        None => Ok(()),
    }
}

impl From<Broken> for RecordError {
    fn from(broken: Broken) -> Self {
        unavailable(broken)
    }
}
