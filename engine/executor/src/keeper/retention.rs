//! Removing runs that nobody needs any more.

use std::collections::BTreeMap;
use std::time::Duration;

use yuanli_model::{Digest, RunId, Timestamp, WorkflowName};
use yuanli_ports::records::MAX_RUN_ARTIFACT_BYTES;
use yuanli_ports::store::{Batch, Range};

use super::Keeper;
use super::artifacts::put_tally;
use crate::executor::Error;
use crate::history::row;
use crate::record::v2::{Kept, Records, Tally};
use crate::record::{envelope, key};

/// Most runs that one commit removes: small, so that other commits do not wait.
const STEP_RUNS: usize = 256;
/// Entries after which it removes no further run: a run with many events has thousands.
const STEP_ENTRIES: usize = 4096;
/// Workflows that are looked at at once.
const PAGE: usize = 256;

/// How long the runs of a workflow are kept after they have ended. Whatever is exceeded first removes the oldest. Runs
/// that have ended just now are counted once some hundred of them wait for the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Counted from the start of a run. Default 90 days.
    pub age: Option<Duration>,
    /// The most runs of a workflow. Default 10,000.
    pub runs: Option<u64>,
    /// The most bytes of events and logs of a workflow's runs, before they are packed. Default 1 GiB.
    pub bytes: Option<u64>,
    /// The most bytes of artifacts of a workflow's runs. What is exceeded removes those of the oldest runs that have any, and
    /// leaves the runs. Default 4 GiB: the last four runs have theirs, however much each has put.
    pub artifact_bytes: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Some(Duration::from_secs(90 * 24 * 60 * 60)),
            runs: Some(10_000),
            bytes: Some(1024 * 1024 * 1024),
            artifact_bytes: Some(4 * MAX_RUN_ARTIFACT_BYTES),
        }
    }
}

impl Retention {
    /// Nothing is ever removed.
    #[must_use]
    pub fn forever() -> Self {
        Self { age: None, runs: None, bytes: None, artifact_bytes: None }
    }

    /// Whether the oldest of the runs that a workflow has is one too many.
    fn is_over(&self, tally: Tally, created: Timestamp, now: Timestamp) -> bool {
        let is_old = |age: Duration| created.as_millis() + age.as_millis() as u64 <= now.as_millis();
        self.age.is_some_and(is_old)
            || self.runs.is_some_and(|runs| tally.runs > runs)
            || self.bytes.is_some_and(|bytes| tally.bytes > bytes)
    }
}

impl Keeper {
    /// Removes some runs of one workflow that has too many. Says how many; none where no workflow has.
    pub(super) async fn remove_some(&self) -> Result<u64, Error> {
        let mut range = Range::prefix(&key::TALLIES, PAGE);
        loop {
            let page = self.shared.ports.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                let (workflow, tally) = (key::parse_tally(key)?, envelope::open(&entry.value)?);
                let removed = self.remove_some_of(&workflow, tally).await?;
                if removed > 0 {
                    return Ok(removed);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(0),
            }
        }
    }

    async fn remove_some_of(&self, workflow: &WorkflowName, mut tally: Tally) -> Result<u64, Error> {
        let (store, now) = (&self.shared.ports.store, self.shared.ports.clock.now());
        let retention = self.shared.options.retention;
        let oldest = store.scan(Range::prefix(&key::kept_of(workflow), STEP_RUNS)).await?;
        let mut batch = Batch::default();
        let mut dead: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut removed, mut with_files, mut blobs) = (0, Vec::new(), Vec::new());
        let mut versions: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut artifacts = None;
        for (kept_key, entry) in &oldest {
            let run = key::parse_kept(kept_key)?;
            if !retention.is_over(tally, run.created(), now) || batch.writes.len() >= STEP_ENTRIES {
                break;
            }
            let kept: Kept = envelope::open(&entry.value)?;
            tally =
                Tally { runs: tally.runs.saturating_sub(1), bytes: tally.bytes.saturating_sub(kept.bytes) };
            batch.delete(kept_key.clone());
            if let Some(entry) = store.get(&key::run(run)).await? {
                if let (summary, Some(place)) = row(run, &entry.value)? {
                    *dead.entry(place.segment).or_default() += 1;
                    *versions.entry(summary.version).or_default() += 1;
                }
                batch.delete(key::run(run));
            }
            if store.get(&key::pinned(run)).await?.is_some() {
                batch.delete(key::pinned(run));
            }
            blobs.extend(self.shared.records.remove_run(run, &mut batch).await?);
            self.uncount_artifacts(workflow, run, &mut artifacts, &mut batch).await?;
            for (blob, _) in self.shared.needs(run).await? {
                batch.delete(key::need(run, &blob));
                batch.delete(key::needed(&blob, run));
                blobs.push(blob);
            }
            removed += 1;
            with_files.extend(kept.has_files.then_some(run));
        }
        if removed == 0 {
            return Ok(0);
        }
        match tally.runs {
            0 => batch.delete(key::tally(workflow)),
            _ => batch.put(key::tally(workflow), envelope::seal(&tally)),
        };
        if let Some(tally) = artifacts {
            put_tally(workflow, tally, &mut batch);
        }
        for (segment, dead) in dead {
            let records: Records = self.value(&key::segment(segment)).await?;
            let records = Records { alive: records.alive.saturating_sub(dead), ..records };
            batch.put(key::segment(segment), envelope::seal(&records));
        }
        for (version, fewer) in versions {
            let uses: Tally = self.value(&key::uses(&version)).await?;
            let uses = Tally { runs: uses.runs.saturating_sub(fewer), ..uses };
            batch.put(key::uses(&version), envelope::seal(&uses));
        }
        store.commit(batch).await?;
        self.remove_files(&with_files).await;
        self.release(&blobs).await;
        tracing::debug!(%workflow, removed, "old runs were removed");
        Ok(removed)
    }

    async fn remove_files(&self, runs: &[RunId]) {
        for run in runs {
            if let Err(error) = self.shared.ports.logs.remove(*run).await {
                tracing::warn!(%run, %error, "the logs of a removed run are left; `yuanli admin check` finds them");
            }
        }
    }
}
