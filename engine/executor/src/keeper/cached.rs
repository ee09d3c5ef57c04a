//! Removing what is cached of runs that are gone.

use yuanli_ports::store::{Batch, StoreError, scan_all};

use super::Keeper;
use crate::executor::Error;
use crate::record::v7::Cached;
use crate::record::{envelope, key};

impl Keeper {
    /// Removes the entries whose runs are not stored any more.
    pub(super) async fn forget_cached(&self) -> Result<(), Error> {
        let store = &self.shared.ports.store;
        for (key, entry) in scan_all(&**store, &key::CACHED).await? {
            let cached: Cached = envelope::open(&entry.value)?;
            if self.shared.history.summary(cached.run()).await?.is_none() {
                let mut batch = Batch::default();
                batch.require_unchanged(key.clone(), entry.revision);
                batch.delete(key);
                match store.commit(batch).await {
                    // A later run has given the same meanwhile.
                    Ok(_) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
