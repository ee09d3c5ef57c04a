//! Forgetting causes whose runs are gone.

use std::time::Duration;

use yuanli_model::Timestamp;
use yuanli_ports::store::{Batch, Range, StoreError};

use super::Keeper;
use crate::executor::Error;
use crate::record::{envelope, key, v2};

/// Causes that are looked at at once.
const PAGE: usize = 256;
/// Between two pages others have the processor.
const PAUSE: Duration = Duration::from_millis(1);
/// Removed runs after which it is looked for their causes,
const FEWEST: u64 = 4096;
/// and this part of all causes, so that each removed run costs the same however many there are.
const PART: u64 = 8;

/// How long an engine has to be up: what an engine before it has left is nothing that a command of a second should look for.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// When it is to be looked for causes whose runs are gone: a look goes through all causes.
#[derive(Debug)]
pub(super) struct Looks {
    /// From when on the engine is settled.
    settled: Timestamp,
    /// Runs that were removed since the last look.
    removed: u64,
    /// The causes that there were at the last look; `None` before the first.
    stored: Option<u64>,
}

impl Looks {
    /// Of an engine that begins now.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { settled: now.after(SETTLED_AFTER), removed: 0, stored: None }
    }

    /// That runs were removed.
    pub(super) fn removed(&mut self, runs: u64) {
        self.removed += runs;
    }

    /// Whether it is time.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        match self.stored {
            None => now >= self.settled,
            Some(stored) => self.removed >= FEWEST.max(stored / PART),
        }
    }

    pub(super) fn looked(&mut self, stored: u64) {
        (self.removed, self.stored) = (0, Some(stored));
    }
}

impl Keeper {
    /// Forgets the causes of runs that are not stored any more. It looks at all there are, which nobody is to wait for.
    /// Returns how many are left.
    pub(super) async fn forget_causes(&self) -> Result<u64, Error> {
        let store = &self.shared.ports.store;
        let mut range = Range::prefix(&key::STARTS, PAGE);
        let mut left = 0;
        loop {
            let page = store.scan(range.clone()).await?;
            let mut batch = Batch::default();
            for (key, entry) in &page {
                let start: v2::Start = envelope::open(&entry.value)?;
                if store.get(&key::run(start.run())).await?.is_none() {
                    batch.require_unchanged(key.clone(), entry.revision);
                    batch.delete(key.clone());
                } else {
                    left += 1;
                }
            }
            if !batch.writes.is_empty() {
                match store.commit(batch).await {
                    // The same cause has started another run meanwhile, or somebody else looks too. The next look has it.
                    Ok(_) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(left),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_waits_until_the_engine_is_settled_and_then_for_as_many_removed_runs_as_it_is_worth() {
        let begin = Timestamp::from_millis(1_000_000);
        let mut looks = Looks::new(begin);
        looks.removed(1_000_000);
        // However often it is asked before.
        assert!((0..60).all(|second| !looks.is_due(begin.after(Duration::from_secs(second)))));
        let now = begin.after(SETTLED_AFTER);
        assert!(looks.is_due(now));
        looks.looked(1_000_000);
        assert!(!looks.is_due(now));
        looks.removed(1_000_000 / PART - 1);
        assert!(!looks.is_due(now));
        looks.removed(1);
        assert!(looks.is_due(now));
        looks.looked(10);
        looks.removed(FEWEST - 1);
        assert!(!looks.is_due(now));
        looks.removed(1);
        assert!(looks.is_due(now));
    }
}
