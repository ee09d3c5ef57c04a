//! Moving ended runs to the archive.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use yuanli_model::{Digest, RunId, WorkflowName};
use yuanli_ports::archive::{MAX_RECORD_BYTES, Place};
use yuanli_ports::blobs::{Hold, MAX_BLOB_BYTES};
use yuanli_ports::logs::StoredLog;
use yuanli_ports::store::{Batch, Entry, Key, Revision, scan_all};

use super::{BATCH_RUNS, Keeper};
use crate::executor::Error;
use crate::history::{Summary, row};
use crate::record::envelope::Stored;
use crate::record::v2::{Archived, Entries, Kept, Packed, Records, Tally};
use crate::record::v4::KeptArtifacts;
use crate::record::{envelope, key, v1, v8};

/// Most entries that one commit takes away, unless a single run has more: bounds the size of a frame of the journal.
const BATCH_ENTRIES: usize = 4096;

/// An ended run as the store holds it.
struct Moving {
    summary: Summary,
    revision: Revision,
    record: Bytes,
    kept: Kept,
    /// Bytes of its artifacts.
    artifacts: u64,
    /// The keys of its events and logs.
    keys: Vec<Key>,
    /// The blobs of its record, until the entries are committed that name them.
    holds: Vec<Hold>,
}

impl Keeper {
    /// Moves a batch of ended runs to the archive when at least `enough` wait. Says whether it did.
    pub(super) async fn archive_batch(&self, enough: usize) -> Result<bool, Error> {
        let waiting = self.waiting(BATCH_RUNS).await?;
        self.shared.doorbell.waiting.store(waiting.len(), Ordering::Relaxed);
        if waiting.len() < enough.max(1) {
            return Ok(false);
        }
        let mut batch = Batch::default();
        let mut moving: Vec<Moving> = Vec::new();
        let mut entries = 0;
        for run in waiting {
            if let Some(run) = self.read(run, &mut batch).await? {
                entries += run.keys.len();
                moving.push(run);
            }
            if entries >= BATCH_ENTRIES {
                break;
            }
        }
        let records = moving.iter().map(|run| run.record.clone()).collect();
        let places = self.shared.ports.archive.append(records).await?;
        let mut workflows: BTreeMap<WorkflowName, Tally> = BTreeMap::new();
        let mut artifacts: BTreeMap<WorkflowName, Tally> = BTreeMap::new();
        let mut versions: BTreeMap<Digest, u64> = BTreeMap::new();
        for (run, place) in moving.iter().zip(&places) {
            put_moved(&mut batch, run, *place);
            *versions.entry(run.summary.version).or_default() += 1;
            let more = workflows.entry(run.summary.workflow.clone()).or_default();
            *more = Tally { runs: more.runs + 1, bytes: more.bytes + run.kept.bytes };
            if run.artifacts > 0 {
                let more = artifacts.entry(run.summary.workflow.clone()).or_default();
                *more = Tally { runs: more.runs + 1, bytes: more.bytes + run.artifacts };
            }
        }
        for (workflow, more) in workflows {
            self.count(key::tally(&workflow), more, &mut batch).await?;
        }
        for (workflow, more) in artifacts {
            self.count(key::artifact_tally(&workflow), more, &mut batch).await?;
        }
        for (version, more) in versions {
            let uses: Tally = self.value(&key::uses(&version)).await?;
            batch.put(key::uses(&version), envelope::seal(&Tally { runs: uses.runs + more, ..uses }));
        }
        self.put_written(&mut batch, &places).await?;
        let holds = moving.iter_mut().flat_map(|run| std::mem::take(&mut run.holds)).collect();
        self.shared.commit_held(batch, holds).await?;
        for run in moving.iter().filter(|run| run.kept.has_files) {
            let run = run.summary.id;
            if let Err(error) = self.shared.ports.logs.pack(run).await {
                tracing::warn!(%run, %error, "the logs of a run stay as large as they are");
            }
        }
        let moved = moving.len();
        tracing::debug!(moved, "runs were moved to the archive");
        Ok(true)
    }

    /// Adds to what is counted for a workflow. Only the keeper changes these counts.
    async fn count(&self, key: Key, more: Tally, batch: &mut Batch) -> Result<(), Error> {
        let tally: Tally = self.value(&key).await?;
        let tally = Tally { runs: tally.runs + more.runs, bytes: tally.bytes + more.bytes };
        batch.put(key, envelope::seal(&tally));
        Ok(())
    }

    /// Reads all of a run. One that is in the archive already stops waiting.
    async fn read(&self, run: RunId, batch: &mut Batch) -> Result<Option<Moving>, Error> {
        let store = &self.shared.ports.store;
        let Some(entry) = store.get(&key::run(run)).await? else {
            batch.delete(key::ended(run));
            return Ok(None);
        };
        let (summary, place) = row(run, &entry.value)?;
        if place.is_some() {
            batch.delete(key::ended(run));
            return Ok(None);
        }
        let events = self.all(key::events(run).as_bytes()).await?;
        let logs = self.all(key::logs(run).as_bytes()).await?;
        let mut stored = Entries::default();
        let mut keys = Vec::with_capacity(events.len() + logs.len());
        for (key, entry) in events {
            stored.events.push((key::parse_event(&key)?, Packed(entry.value.to_vec())));
            keys.push(key);
        }
        let mut files = 0;
        for (key, entry) in logs {
            if let StoredLog::File { bytes } = envelope::open::<v1::Log>(&entry.value)?.into_port() {
                files += bytes;
            }
            stored.logs.push((Packed(key::in_run(&key).to_vec()), Packed(entry.value.to_vec())));
            keys.push(key);
        }
        let gathered = self.shared.records.gathered(run).await?;
        let (texts, artifacts) = self.needed_bytes(run, &stored, gathered.artifacts > 0).await?;
        let (record, bytes, holds) = self.record(run, stored, batch).await?;
        let kept = Kept { bytes: bytes + files + texts + gathered.event_bytes, has_files: files > 0 };
        Ok(Some(Moving { summary, revision: entry.revision, record, kept, artifacts, keys, holds }))
    }

    /// The record of a run, with its bytes. What is too long for one goes to blobs.
    async fn record(
        &self,
        run: RunId,
        entries: Entries,
        batch: &mut Batch,
    ) -> Result<(Bytes, u64, Vec<Hold>), Error> {
        let id = run.as_u128().to_be_bytes();
        let whole = Archived { run: id, entries, elsewhere: Vec::new() };
        let record = envelope::seal(&whole);
        let bytes = record.len() as u64;
        if record.len() <= MAX_RECORD_BYTES {
            return Ok((record, bytes, Vec::new()));
        }
        let sealed = envelope::seal(&whole.entries);
        let (mut elsewhere, mut holds) = (Vec::new(), Vec::new());
        for part in sealed.chunks(MAX_BLOB_BYTES) {
            let (digest, hold) = self.shared.keep_blob(run, batch, sealed.slice_ref(part)).await?;
            elsewhere.push(*digest.as_bytes());
            holds.push(hold);
        }
        let record = envelope::seal(&Archived { run: id, entries: Entries::default(), elsewhere });
        Ok((record, bytes, holds))
    }

    pub(super) async fn all(&self, prefix: &[u8]) -> Result<Vec<(Key, Entry)>, Error> {
        Ok(scan_all(&*self.shared.ports.store, prefix).await?)
    }

    /// Counts records that are new in their segments. Only the keeper changes these counts.
    pub(super) async fn put_written(&self, batch: &mut Batch, places: &[Place]) -> Result<(), Error> {
        let mut segments: BTreeMap<u64, u64> = BTreeMap::new();
        places.iter().for_each(|place| *segments.entry(place.segment).or_default() += 1);
        for (segment, more) in segments {
            let records: Records = self.value(&key::segment(segment)).await?;
            let records = Records { written: records.written + more, alive: records.alive + more };
            batch.put(key::segment(segment), envelope::seal(&records));
        }
        Ok(())
    }

    /// The value of a key; nothing counted where there is none.
    pub(super) async fn value<T: Stored + Default>(&self, key: &Key) -> Result<T, Error> {
        let entry = self.shared.ports.store.get(key).await?;
        Ok(entry.map(|entry| envelope::open(&entry.value)).transpose()?.unwrap_or_default())
    }
}

fn put_moved(batch: &mut Batch, run: &Moving, place: Place) {
    let id = run.summary.id;
    batch.require_unchanged(key::run(id), run.revision);
    batch.put(key::run(id), envelope::seal(&v8::Run::of(&run.summary, Some(place))));
    batch.put(key::kept(&run.summary.workflow, id), envelope::seal(&run.kept));
    if run.artifacts > 0 {
        let artifacts = KeptArtifacts { bytes: run.artifacts };
        batch.put(key::kept_artifacts(&run.summary.workflow, id), envelope::seal(&artifacts));
    }
    batch.delete(key::ended(id));
    run.keys.iter().for_each(|key| {
        batch.delete(key.clone());
    });
}
