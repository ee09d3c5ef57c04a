//! Forgetting causes whose runs are gone.

use yuanli_ports::store::{Batch, Range};

use super::Keeper;
use crate::executor::Error;
use crate::record::{envelope, key, v2};

/// Causes that are looked at at once.
const PAGE: usize = 256;

impl Keeper {
    /// Forgets the causes of runs that are not stored any more. It looks at all there are, which nobody is to wait for.
    pub(super) async fn forget_causes(&self) -> Result<(), Error> {
        let store = &self.shared.ports.store;
        let mut range = Range::prefix(&key::STARTS, PAGE);
        loop {
            let page = store.scan(range.clone()).await?;
            let mut batch = Batch::default();
            for (key, entry) in &page {
                let start: v2::Start = envelope::open(&entry.value)?;
                if store.get(&key::run(start.run())).await?.is_none() {
                    batch.delete(key.clone());
                }
            }
            if !batch.writes.is_empty() {
                store.commit(batch).await?;
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(()),
            }
            // Whoever shares the thread goes first.
            tokio::task::yield_now().await;
        }
    }
}
