//! What keeps a store small while it is used: writes memory to the index, makes exports, gives segments back.
//!
//! One thread. The index holds the state as of one commit and does not change between two flushes, so an export of
//! that commit is a walk over it, beside readers and the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use yuanli_ports::store::{Range, StoreError};

use super::checkpoint::Checkpoint;
use super::layout::Layout;
use super::open::{self, Home};
use super::options::Options;
use super::pressure::{Call, Pressure};
use super::table::{Layer, Lower, Table};
use crate::disk;
use crate::export;
use crate::fault::Fault;
use crate::journal::Files;

/// At the end of an engine, what is in memory is written to the index if it is more than this part of what a running
/// engine keeps there: less is read from the journal as fast.
const CLOSING_PART: usize = 4;
/// A layer is written to the index only where this many times its size is free: a changed row writes its whole block, and
/// sled does not bear a full disk.
const FREE_FACTOR: u64 = 4;
/// And not where less than this is free, in bytes: sled writes segments of 512 KiB, whatever is in them.
const FREE_LEAST: u64 = 2 * 1024 * 1024;

/// Keeps a store small.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) table: Arc<Table>,
    pub(crate) files: Arc<Files>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) layout: Layout,
    pub(crate) options: Options,
    /// The number of the index and the last commit that it holds.
    pub(crate) index: Option<(u64, u64)>,
    /// The newest export and its size.
    pub(crate) export: Option<(u64, u64)>,
    /// A layer that is to be written to the index, and its last commit.
    pub(crate) frozen: Option<(Arc<Layer>, u64)>,
}

impl Upkeep {
    /// Works until the store is closed.
    pub(crate) fn work(mut self) {
        loop {
            match self.pressure.wait(self.options.retry) {
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

    fn round(&mut self, wants_segment: bool, is_compaction: bool) -> Result<(), StoreError> {
        if wants_segment {
            // The writer does it itself when this fails, and says so.
            let _ = self.files.prepare();
        }
        let export_bytes = self.export.map_or(0, |(_, size)| size);
        let is_long = self.files.bytes() > self.options.journal_bytes.max(export_bytes * 2);
        if self.frozen.is_some() || is_long || is_compaction || self.pressure.is_due(&self.table) {
            self.flush()?;
        }
        if is_long || is_compaction {
            self.export()?;
        }
        if is_compaction {
            self.files.remove_spare().map_err(|e| Fault::io(self.files.folder(), "written", &e))?;
            return self.renew();
        }
        if self.is_worth_renewing()?
            && let Err(error) = self.renew()
        {
            // Nothing waits for it.
            tracing::warn!(%error, "the index stays larger than it need be");
        }
        Ok(())
    }

    /// Whether the index is mostly waste, and there is room for another one beside it.
    fn is_worth_renewing(&self) -> Result<bool, StoreError> {
        match self.table.lower() {
            Lower::Index(index) if index.is_wasteful() => {
                Ok(self.free()? > index.used() + self.options.journal_bytes + FREE_LEAST)
            }
            _ => Ok(false),
        }
    }

    /// Bytes that are free on the disk.
    fn free(&self) -> Result<u64, StoreError> {
        let free = disk::free(self.layout.folder());
        Ok(free.map_err(|e| Fault::io(self.layout.folder(), "read", &e))?)
    }

    /// Writes what is in memory to the index.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.frozen.is_none() {
            self.frozen = self.table.freeze();
        }
        let Some((layer, revision)) = self.frozen.clone() else { return Ok(()) };
        self.check_space(&layer)?;
        let home = match (self.table.lower(), self.index) {
            (Lower::Index(index), Some((number, _))) => Home { index, number },
            (_, index) => self.remade(index)?,
        };
        if let Err(error) = home.index.write(&layer, revision) {
            // After an error sled takes nothing any more. One that holds nothing is not missed.
            let lost = self.index.map_or(Lower::Nothing, |_| Lower::Lost(error.to_string()));
            self.table.set_lower(lost);
            return Err(error);
        }
        fail::fail_point!("index-written", |_| Ok(()));
        open::note(&self.layout, home.number, revision)?;
        fail::fail_point!("index-noted", |_| Ok(()));
        self.index = Some((home.number, revision));
        self.table.thaw(home.index);
        self.frozen = None;
        Ok(())
    }

    /// The first index, or one in place of one that failed: as of the last commit that it held.
    fn remade(&mut self, index: Option<(u64, u64)>) -> Result<Home, StoreError> {
        let Some((number, revision)) = index else {
            open::keep_only(&self.layout, None)?;
            return open::fill(&self.layout, &self.options, 0, 0);
        };
        // In a folder of its own: what failed may still be open in a scan.
        let home = open::fill_as_of(&self.layout, &self.options, revision, number + 1)?;
        open::note(&self.layout, home.number, revision)?;
        self.index = Some((home.number, revision));
        self.table.set_lower(Lower::Index(home.index.clone()));
        open::keep_only(&self.layout, Some(home.number))?;
        Ok(home)
    }

    /// Makes an export of what the index holds, and gives back what it takes the place of.
    fn export(&mut self) -> Result<(), StoreError> {
        let (Lower::Index(index), Some((_, revision))) = (self.table.lower(), self.index) else {
            return Ok(());
        };
        let (disk, folder) = (&*self.options.disk, self.layout.exports());
        if self.export.is_none_or(|(exported, _)| exported < revision) {
            let written = export::write(disk, &folder, revision, index.scan(Range::prefix(&[], usize::MAX)));
            self.export = Some((revision, written?));
        }
        export::retire(disk, &folder, revision)?;
        fail::fail_point!("export-retired", |_| Ok(()));
        let retired = self.files.retire(revision);
        Ok(retired.map_err(|e| Fault::io(self.files.folder(), "written", &e))?)
    }

    /// Makes the index anew: neither sled nor the heap gives space back.
    fn renew(&mut self) -> Result<(), StoreError> {
        let (Lower::Index(old), Some((number, revision))) = (self.table.lower(), self.index) else {
            return Ok(());
        };
        let home = open::copy(&self.layout, &self.options, &old, revision, number + 1)?;
        open::note(&self.layout, home.number, revision)?;
        self.index = Some((home.number, revision));
        drop(self.table.set_lower(Lower::Index(home.index)));
        open::keep_only(&self.layout, Some(home.number))
    }

    fn check_space(&self, layer: &Layer) -> Result<(), StoreError> {
        let bytes = |(key, entry): (&yuanli_ports::store::Key, &Option<yuanli_ports::store::Entry>)| {
            key.as_bytes().len() + entry.as_ref().map_or(0, |entry| entry.value.len())
        };
        let needed = layer.iter().map(bytes).sum::<usize>() as u64 * FREE_FACTOR;
        let needed = needed.max(FREE_LEAST);
        let free = self.free()?;
        if free < needed {
            let text = format!(
                "the disk of {} is full: {free} bytes are free, {needed} are needed to go on",
                self.layout.folder().display()
            );
            return Err(StoreError::Exhausted(text));
        }
        Ok(())
    }

    fn close(mut self) {
        let is_much = self.table.active_bytes() * CLOSING_PART > self.options.memory_bytes;
        if (self.frozen.is_some() || is_much)
            && let Err(error) = self.flush()
        {
            tracing::warn!(%error, "the next start will read more of the journal");
        }
        let Lower::Index(index) = self.table.set_lower(Lower::Lost("the store is closed".to_owned())) else {
            return;
        };
        drop(index);
        if let Some((number, revision)) = self.index {
            let closed = Checkpoint::closed(&self.layout, number, revision);
            if let Err(error) = closed.and_then(|closed| closed.write_synced(&self.layout)) {
                tracing::warn!(%error, "the next start will make the index again");
            }
        }
    }
}
