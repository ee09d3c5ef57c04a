//! What keeps a store small while it is used: writes memory to the index, makes exports, gives segments back.
//!
//! One thread. The index holds the state as of one commit and does not change between two flushes, so an export of
//! that commit is a walk over it, beside readers and the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use yuanli_ports::store::StoreError;

use super::checkpoint::Checkpoint;
use super::flusher::Flusher;
use super::pressure::{Call, Pressure};
use super::table::Lower;
use crate::export;
use crate::fault::Fault;
use crate::journal::Files;

/// At the end of an engine, what is in memory is written to the index if it is more than this, in bytes: less is read from the
/// journal in a millisecond.
const CLOSING_BYTES: usize = 256 * 1024;
/// The same where there is no index yet, which takes as long to be opened as this to be read.
const FIRST_BYTES: usize = 1024 * 1024;
/// How much longer than it is to be the journal may grow while commits come faster than they can be written to the index,
/// as a multiple. A start after a crash reads all of it, 300 MiB in a second.
const LONGEST: u64 = 4;

/// Keeps a store small.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) flusher: Flusher,
    pub(crate) files: Arc<Files>,
    pub(crate) pressure: Arc<Pressure>,
    /// The newest export and its size.
    pub(crate) export: Option<(u64, u64)>,
}

impl Upkeep {
    /// Works until the store is closed.
    pub(crate) fn work(mut self) {
        loop {
            match self.pressure.wait(self.flusher.options.retry) {
                Call::Close => return self.close(),
                Call::Work { wants_segment, is_compaction } => {
                    // sled panics where it meets what it does not expect.
                    let round = AssertUnwindSafe(|| self.round(wants_segment, is_compaction));
                    let outcome = catch_unwind(round).unwrap_or_else(|_| {
                        Err(StoreError::Unavailable("the index failed with a panic".to_owned()))
                    });
                    if let Err(error) = &outcome {
                        tracing::warn!(%error, "the store's upkeep will be tried again");
                    }
                    self.pressure.done(is_compaction, outcome.map_err(|error| error.to_string()));
                }
            }
        }
    }

    /// Does what is due. Returns whether an export waits until commits do not come fast any more.
    fn round(&mut self, wants_segment: bool, is_compaction: bool) -> Result<bool, StoreError> {
        if wants_segment {
            // The writer does it itself when this fails, and says so.
            let _ = self.files.prepare();
        }
        let export_bytes = self.export.map_or(0, |(_, size)| size);
        let (bytes, most) = (self.files.bytes(), self.flusher.options.journal_bytes.max(export_bytes * 2));
        let is_long = bytes > most;
        if is_long || is_compaction || self.flusher.is_begun() || self.pressure.is_due(&self.flusher.table) {
            self.flusher.flush()?;
        }
        // While it is made, memory fills, and then commits wait.
        let is_hurried =
            self.pressure.is_rising(&self.flusher.table) && bytes <= most.saturating_mul(LONGEST);
        if is_compaction || (is_long && !is_hurried) {
            self.export()?;
        }
        if is_compaction {
            self.files.remove_spare().map_err(|e| Fault::io(self.files.folder(), "written", &e))?;
            return self.flusher.renew().map(|()| false);
        }
        if self.flusher.is_worth_renewing()?
            && let Err(error) = self.flusher.renew()
        {
            // Nothing waits for it.
            tracing::warn!(%error, "the index stays larger than it need be");
        }
        Ok(is_long && is_hurried)
    }

    /// Makes an export of what the index holds, and gives back what it takes the place of.
    fn export(&mut self) -> Result<(), StoreError> {
        let Flusher { table, layout, options, index, .. } = &self.flusher;
        let (Lower::Index(lower), Some((_, revision))) = (table.lower(), *index) else { return Ok(()) };
        let (disk, folder) = (&*options.disk, layout.exports());
        if self.export.is_none_or(|(exported, _)| exported < revision) {
            let written = export::write(disk, &folder, revision, lower.entries());
            self.export = Some((revision, written?));
        }
        export::retire(disk, &folder, revision)?;
        fail::fail_point!("export-retired", |_| Ok(()));
        let retired = self.files.retire(revision);
        Ok(retired.map_err(|e| Fault::io(self.files.folder(), "written", &e))?)
    }

    fn close(mut self) {
        let most = if self.flusher.index.is_some() { CLOSING_BYTES } else { FIRST_BYTES };
        let is_much = self.flusher.table.active_bytes() > most.min(self.flusher.options.memory_bytes);
        if (self.flusher.is_begun() || is_much)
            && let Err(error) = self.flusher.flush()
        {
            tracing::warn!(%error, "the next start will read more of the journal");
        }
        let Lower::Index(index) = self.flusher.table.set_lower(Lower::Lost("the store is closed".to_owned()))
        else {
            return;
        };
        drop(index);
        if let Some((number, revision)) = self.flusher.index {
            let closed = Checkpoint::closed(&self.flusher.layout, number, revision, &self.flusher.known);
            if let Err(error) = closed.and_then(|closed| closed.write_synced(&self.flusher.layout)) {
                tracing::warn!(%error, "the next start will make the index again");
            }
        }
    }
}
