//! The journal of an attempt, as entries of the store: one for each call, in the commit that does what the call changes.
//!
//! Entries go with the commit that ends the attempt. They are read only by an attempt that is begun again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokio::sync::OnceCell;
use yuanli_model::AttemptId;
use yuanli_ports::journal::{AttemptJournal, JournalError, Recorded, Staged};
use yuanli_ports::store::{Batch, StoreError};

use super::Records;
use crate::blobs::commit_held;
use crate::executor::Error;
use crate::record::v4::Call;
use crate::record::{envelope, key};

/// See [`AttemptJournal`].
#[derive(Debug)]
pub(crate) struct Journal {
    records: Records,
    attempt: AttemptId,
    /// Whether an engine before this one has begun the attempt, so that there can be calls.
    is_again: bool,
    /// What it has called then, read when it is first asked for.
    before: OnceCell<BTreeMap<u32, Recorded>>,
    /// The last call that there may be an entry of.
    last: AtomicU32,
}

impl Journal {
    pub(crate) fn new(records: Records, attempt: AttemptId, is_again: bool) -> Arc<Self> {
        let (before, last) = (OnceCell::new(), AtomicU32::new(0));
        Arc::new(Self { records, attempt, is_again, before, last })
    }

    /// The last call that there may be an entry of, once the attempt has ended.
    pub(crate) async fn last(&self) -> u32 {
        if let Err(error) = self.before().await {
            tracing::warn!(attempt = %self.attempt, %error, "calls of an attempt are left; `yuanli admin check` finds them");
        }
        self.last.load(Ordering::Acquire)
    }

    async fn before(&self) -> Result<&BTreeMap<u32, Recorded>, Error> {
        let read = async {
            if !self.is_again {
                return Ok(BTreeMap::new());
            }
            let mut before = BTreeMap::new();
            for (key, entry) in self.records.all(key::calls(&self.attempt).as_bytes()).await? {
                let (_, index) = key::parse_call(&key)?;
                before.insert(index, envelope::open::<Call>(&entry.value)?.into_port(index));
                self.last.fetch_max(index, Ordering::AcqRel);
            }
            Ok(before)
        };
        self.before.get_or_try_init(|| read).await
    }
}

#[async_trait]
impl AttemptJournal for Journal {
    async fn recorded(&self, index: u32) -> Result<Option<Recorded>, JournalError> {
        let unread =
            |error: Error| JournalError::Unkept(format!("what it has called cannot be read: {error}"));
        Ok(self.before().await.map_err(unread)?.get(&index).cloned())
    }

    async fn record(&self, calls: Vec<Recorded>, staged: Staged) -> Result<(), JournalError> {
        let Staged { mut batch, holds, turn } = staged;
        for recorded in &calls {
            batch.put(key::call(&self.attempt, recorded.call.index), envelope::seal(&Call::of(recorded)));
            // Before the commit: one that nobody waits for any more can still be done.
            self.last.fetch_max(recorded.call.index, Ordering::AcqRel);
        }
        let outcome = commit_held(&*self.records.store, batch, holds).await;
        drop(turn);
        outcome.map_err(|error| match error {
            StoreError::Conflict { .. } => JournalError::Overtaken,
            other => JournalError::Unkept(other.to_string()),
        })
    }
}

/// Takes the calls of an attempt away up to a number.
pub(crate) fn forget(batch: &mut Batch, attempt: &AttemptId, last: u32) {
    for index in 1..=last {
        batch.delete(key::call(attempt, index));
    }
}
