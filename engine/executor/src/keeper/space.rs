//! Giving the archive's space back: dead segments go, sparse ones are written again.

use yuanli_model::RunId;
use yuanli_ports::store::{Batch, Key, Revision};

use super::Keeper;
use crate::executor::Error;
use crate::history::{Summary, row};
use crate::record::v2::{Archived, Records};
use crate::record::{envelope, key, v8};

/// A segment is written again when less than one in this many of its records is alive: then it costs less to copy what
/// is alive than it gives back, twice over.
const SPARSE: u64 = 3;

/// A record that is alive.
struct Alive {
    summary: Summary,
    revision: Revision,
    record: bytes::Bytes,
}

impl Keeper {
    /// Removes one dead segment, or writes a sparse one again. Says whether there was one.
    pub(super) async fn free_some(&self) -> Result<bool, Error> {
        for segment in self.shared.ports.archive.segments().await? {
            if segment.is_open {
                continue;
            }
            let key = key::segment(segment.number);
            let records: Records = self.value(&key).await?;
            if records.alive == 0 {
                self.remove_segment(segment.number, &key).await?;
                return Ok(true);
            }
            let is_sparse = records.alive * SPARSE < records.written;
            if is_sparse && self.write_again(segment.number, records.alive).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn remove_segment(&self, segment: u64, key: &Key) -> Result<(), Error> {
        // First the entry, then the file: a segment without an entry is dead, whoever finds it.
        let mut batch = Batch::default();
        batch.delete(key.clone());
        self.shared.ports.store.commit(batch).await?;
        self.shared.ports.archive.remove(segment).await?;
        Ok(())
    }

    /// Writes the records of a segment that are alive to the end of the archive. Says whether all were found.
    async fn write_again(&self, segment: u64, expected: u64) -> Result<bool, Error> {
        let mut offset = None;
        let mut written = 0;
        while let Some((next, records)) = self.shared.ports.archive.block(segment, offset).await? {
            offset = Some(next);
            let mut alive = Vec::new();
            for (place, record) in records {
                let Ok(archived) = envelope::open::<Archived>(&record) else { continue };
                let run = RunId::from_u128(u128::from_be_bytes(archived.run));
                let Some(entry) = self.shared.ports.store.get(&key::run(run)).await? else { continue };
                let (summary, named) = row(run, &entry.value)?;
                if named == Some(place) {
                    alive.push(Alive { summary, revision: entry.revision, record });
                }
            }
            written += self.copy(segment, alive).await?;
        }
        if written < expected {
            tracing::warn!(segment, written, expected, "a segment of the archive cannot be read whole");
        }
        Ok(written > 0)
    }

    async fn copy(&self, from: u64, alive: Vec<Alive>) -> Result<u64, Error> {
        if alive.is_empty() {
            return Ok(0);
        }
        let places =
            self.shared.ports.archive.append(alive.iter().map(|run| run.record.clone()).collect()).await?;
        let mut batch = Batch::default();
        for (Alive { summary, revision, .. }, place) in alive.iter().zip(&places) {
            batch.require_unchanged(key::run(summary.id), *revision);
            batch.put(key::run(summary.id), envelope::seal(&v8::Run::of(summary, Some(*place))));
        }
        let moved = alive.len() as u64;
        let left: Records = self.value(&key::segment(from)).await?;
        let left = Records { alive: left.alive.saturating_sub(moved), ..left };
        batch.put(key::segment(from), envelope::seal(&left));
        self.put_written(&mut batch, &places).await?;
        self.shared.ports.store.commit(batch).await?;
        Ok(moved)
    }
}
