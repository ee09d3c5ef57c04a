//! Blobs that runs need: kept before the commit that names them, counted by entries of the store.

use std::fmt::Display;
use std::mem::ManuallyDrop;

use bytes::Bytes;
use yuanli_model::{Digest, RunId};
use yuanli_ports::blobs::Hold;
use yuanli_ports::store::{Batch, Range, Revision, StoreError};
use yuanli_ports::{Blobs, Store};

use crate::executor::{Error, Shared};
use crate::patience::patiently;
use crate::record::long::Long;
use crate::record::v2::Need;
use crate::record::{envelope, key};

/// Needs that are read at once.
const PAGE: usize = 256;

/// The long texts of stored values.
pub(crate) async fn read(blobs: &dyn Blobs, digests: impl Iterator<Item = Digest>) -> Result<Long, Error> {
    let mut long = Long::default();
    for digest in digests {
        long.insert(digest, blobs.read(digest).await?);
    }
    Ok(long)
}

/// Commits a batch that names blobs.
pub(crate) async fn commit_held(store: &dyn Store, batch: Batch, holds: Vec<Hold>) -> Result<(), Error> {
    while_held(holds, async { Ok(store.commit(batch).await?) }).await
}

/// The same, however long the store takes nothing; `who` is held up then.
pub(crate) async fn commit_held_patiently(
    who: &(dyn Display + Sync),
    store: &dyn Store,
    batch: Batch,
    holds: Vec<Hold>,
) -> Result<(), Error> {
    let commit = patiently(who, || async { Ok(store.commit(batch.clone()).await?) });
    while_held(holds, commit).await
}

/// Holds blobs until they are committed. Where nobody can know whether they were, they stay held until the engine ends: the
/// next start may find that they were.
async fn while_held(
    holds: Vec<Hold>,
    commit: impl Future<Output = Result<Revision, Error>>,
) -> Result<(), Error> {
    // Also held when nobody waits for the outcome any more.
    let holds = ManuallyDrop::new(holds);
    let outcome = commit.await;
    if !matches!(outcome, Err(Error::Store(StoreError::Unavailable(_) | StoreError::Closed))) {
        drop(ManuallyDrop::into_inner(holds));
    }
    outcome.map(drop)
}

impl Shared {
    /// Commits a batch that names blobs.
    pub(crate) async fn commit_held(&self, batch: Batch, holds: Vec<Hold>) -> Result<(), Error> {
        commit_held(&*self.ports.store, batch, holds).await
    }

    /// Keeps long texts, and adds to a batch that the run needs them. What is returned goes to [`Self::commit_held`].
    pub(crate) async fn keep_long(
        &self,
        run: RunId,
        batch: &mut Batch,
        long: Long,
    ) -> Result<Vec<Hold>, Error> {
        let mut holds = Vec::new();
        for (_, bytes) in long {
            holds.push(self.keep_blob(run, batch, bytes).await?.1);
        }
        Ok(holds)
    }

    /// Keeps a blob, and adds to a batch that the run needs it.
    pub(crate) async fn keep_blob(
        &self,
        run: RunId,
        batch: &mut Batch,
        bytes: Bytes,
    ) -> Result<(Digest, Hold), Error> {
        let need = Need { bytes: bytes.len() as u64 };
        let (digest, hold) = self.ports.blobs.keep(bytes).await?;
        batch.put(key::need(run, &digest), envelope::seal(&need));
        batch.put(key::needed(&digest, run), Bytes::new());
        Ok((digest, hold))
    }

    /// The blobs that a run needs, with their bytes.
    pub(crate) async fn needs(&self, run: RunId) -> Result<Vec<(Digest, u64)>, Error> {
        let mut needs = Vec::new();
        let mut range = Range::prefix(key::needs(run).as_bytes(), PAGE);
        loop {
            let page = self.ports.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                needs.push((key::parse_need(key)?.1, envelope::open::<Need>(&entry.value)?.bytes));
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(needs),
            }
        }
    }

    /// Removes a blob, unless somebody needs it or is about to. Says whether it is gone.
    pub(crate) async fn release(&self, blob: Digest) -> Result<bool, Error> {
        release(&*self.ports.blobs, &*self.ports.store, blob).await
    }
}

/// One at a time: what one has condemned another one would remove, though it found somebody who needs it.
static RELEASE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// See [`Shared::release`].
pub(crate) async fn release(blobs: &dyn Blobs, store: &dyn Store, blob: Digest) -> Result<bool, Error> {
    let _one = RELEASE.lock().await;
    if !blobs.condemn(blob) {
        return Ok(false);
    }
    let needed = store.scan(Range::prefix(&key::needed_by(&blob), 1)).await?;
    Ok(needed.is_empty() && blobs.remove(blob).await?)
}
