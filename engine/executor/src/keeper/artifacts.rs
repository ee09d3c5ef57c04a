//! The artifacts of ended runs: a bound of their own, so that a run with large ones costs no other its history.
//!
//! Where a workflow has too many bytes of them, those of its oldest runs go; the runs stay, with their events and logs.
//! Their parts are blobs like long texts, and a blob can be both: what a text needs is never taken for one of an artifact.

use std::collections::HashSet;

use yuanli_model::{Digest, RunId, WorkflowName};
use yuanli_ports::store::{Batch, Range};

use super::Keeper;
use crate::executor::Error;
use crate::history::row;
use crate::record::v2::{Archived, Entries, Tally};
use crate::record::v4::KeptArtifacts;
use crate::record::v8::Transition;
use crate::record::{Broken, envelope, key};

/// Most runs whose artifacts one commit removes: each can have a thousand.
const STEP_RUNS: usize = 16;
/// Entries after which it takes no further run.
const STEP_ENTRIES: usize = 4096;
/// Workflows that are looked at at once.
const PAGE: usize = 256;

impl Keeper {
    /// The bytes of the blobs that the texts of a run need, and of those that only its artifacts need.
    pub(super) async fn needed_bytes(
        &self,
        run: RunId,
        entries: &Entries,
        has_artifacts: bool,
    ) -> Result<(u64, u64), Error> {
        let needs = self.shared.needs(run).await?;
        if !has_artifacts {
            return Ok((needs.iter().map(|(_, bytes)| bytes).sum(), 0));
        }
        let texts = texts(entries)?;
        let sum = |is_text: bool| {
            let of_kind = needs.iter().filter(|(blob, _)| texts.contains(blob) == is_text);
            of_kind.map(|(_, bytes)| bytes).sum()
        };
        Ok((sum(true), sum(false)))
    }

    /// Removes the artifacts of some runs of one workflow that has too many bytes of them. Says whether there was one.
    pub(super) async fn remove_some_artifacts(&self) -> Result<bool, Error> {
        let Some(most) = self.shared.options.retention.artifact_bytes else { return Ok(false) };
        let mut range = Range::prefix(&key::ARTIFACT_TALLIES, PAGE);
        loop {
            let page = self.shared.ports.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                let (workflow, tally) = (key::parse_tally(key)?, envelope::open(&entry.value)?);
                if self.remove_artifacts_of(&workflow, tally, most).await? {
                    return Ok(true);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(false),
            }
        }
    }

    async fn remove_artifacts_of(
        &self,
        workflow: &WorkflowName,
        mut tally: Tally,
        most: u64,
    ) -> Result<bool, Error> {
        let store = &self.shared.ports.store;
        let (mut batch, mut blobs, mut removed) = (Batch::default(), Vec::new(), 0);
        for (kept_key, entry) in
            store.scan(Range::prefix(&key::kept_artifacts_of(workflow), STEP_RUNS)).await?
        {
            if tally.bytes <= most || batch.writes.len() >= STEP_ENTRIES {
                break;
            }
            let kept: KeptArtifacts = envelope::open(&entry.value)?;
            tally = without(tally, kept);
            batch.delete(kept_key.clone());
            blobs.extend(self.forget_artifacts(key::parse_kept(&kept_key)?, &mut batch).await?);
            removed += 1;
        }
        if removed == 0 {
            return Ok(false);
        }
        put_tally(workflow, tally, &mut batch);
        store.commit(batch).await?;
        self.release(&blobs).await;
        tracing::debug!(%workflow, removed, "artifacts of old runs were removed");
        Ok(true)
    }

    /// Adds to a batch that an archived run has no artifacts any more. Returns the blobs that only they needed.
    async fn forget_artifacts(&self, run: RunId, batch: &mut Batch) -> Result<Vec<Digest>, Error> {
        self.shared.records.remove_artifacts_of(run, batch).await?;
        let texts = self.texts_of(run).await?;
        let mut blobs = Vec::new();
        for (blob, _) in self.shared.needs(run).await? {
            if !texts.contains(&blob) {
                batch.delete(key::need(run, &blob));
                batch.delete(key::needed(&blob, run));
                blobs.push(blob);
            }
        }
        Ok(blobs)
    }

    /// The blobs that an archived run needs besides its artifacts.
    async fn texts_of(&self, run: RunId) -> Result<HashSet<Digest>, Error> {
        let Some(entry) = self.shared.ports.store.get(&key::run(run)).await? else {
            return Ok(HashSet::new());
        };
        let Some(place) = row(run, &entry.value)?.1 else { return Ok(HashSet::new()) };
        let archived: Archived = envelope::open(&self.shared.ports.archive.read(place).await?)?;
        let parts: Vec<Digest> =
            archived.elsewhere.iter().map(|digest| Digest::from_bytes(*digest)).collect();
        let mut texts = texts(&self.shared.history.entries(archived).await?)?;
        texts.extend(parts);
        Ok(texts)
    }

    /// Adds to a batch that a run which goes has no artifacts to be counted.
    pub(super) async fn uncount_artifacts(
        &self,
        workflow: &WorkflowName,
        run: RunId,
        tally: &mut Option<Tally>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let key = key::kept_artifacts(workflow, run);
        let Some(entry) = self.shared.ports.store.get(&key).await? else { return Ok(()) };
        let counted = match *tally {
            Some(counted) => counted,
            None => self.value(&key::artifact_tally(workflow)).await?,
        };
        *tally = Some(without(counted, envelope::open(&entry.value)?));
        batch.delete(key);
        Ok(())
    }
}

/// Adds to a batch what the artifacts of a workflow come to.
pub(super) fn put_tally(workflow: &WorkflowName, tally: Tally, batch: &mut Batch) {
    match tally.runs {
        0 => batch.delete(key::artifact_tally(workflow)),
        _ => batch.put(key::artifact_tally(workflow), envelope::seal(&tally)),
    };
}

fn without(tally: Tally, kept: KeptArtifacts) -> Tally {
    Tally { runs: tally.runs.saturating_sub(1), bytes: tally.bytes.saturating_sub(kept.bytes) }
}

/// The blobs that hold long texts of events.
fn texts(entries: &Entries) -> Result<HashSet<Digest>, Broken> {
    let mut texts = HashSet::new();
    for (_, value) in &entries.events {
        texts.extend(envelope::open::<Transition>(&value.0)?.blobs());
    }
    Ok(texts)
}
