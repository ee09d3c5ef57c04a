//! Writes what is in memory to the index.

use std::sync::Arc;

use yuanli_ports::store::{Entry, Key, StoreError};

use super::checkpoint::Known;
use super::layout::Layout;
use super::open::{self, Home};
use super::options::Options;
use super::table::{Layer, Lower, Table};
use crate::disk;
use crate::fault::Fault;

/// A layer is written to the index only where this many times its size is free: a changed row writes its whole block, and
/// sled does not bear a full disk.
const FREE_FACTOR: u64 = 4;
/// And not where less than this is free, in bytes: sled writes segments of 512 KiB, whatever is in them.
const FREE_LEAST: u64 = 2 * 1024 * 1024;

/// The one that changes the index.
#[derive(Debug)]
pub(crate) struct Flusher {
    pub(crate) table: Arc<Table>,
    pub(crate) layout: Layout,
    pub(crate) options: Options,
    /// The number of the index and the last commit that it holds.
    pub(crate) index: Option<(u64, u64)>,
    /// What was known of its files when it was opened.
    pub(crate) known: Known,
    /// A layer that is to be written to the index, and its last commit.
    frozen: Option<(Arc<Layer>, u64)>,
}

impl Flusher {
    /// Of a table that no index is under.
    pub(crate) fn new(table: Arc<Table>, layout: &Layout, options: &Options) -> Self {
        let (layout, options) = (layout.clone(), options.clone());
        Self { table, layout, options, index: None, known: Known::default(), frozen: None }
    }

    /// Takes an index that holds all up to a commit.
    pub(crate) fn adopt(&mut self, Home { index, number, known }: Home, revision: u64) {
        self.index = Some((number, revision));
        self.known = known;
        self.table.set_lower(Lower::Index(index));
    }

    /// Writes what is in memory to the index.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.frozen.is_none() {
            self.frozen = self.table.freeze();
        }
        let Some((layer, revision)) = self.frozen.clone() else { return Ok(()) };
        self.check_space(&layer)?;
        let home = match (self.table.lower(), self.index) {
            (Lower::Index(index), Some((number, _))) => Home::new(index, number),
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

    /// Whether a layer is frozen that could not be written yet.
    pub(crate) fn is_begun(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether the index is mostly waste, and there is room for another one beside it.
    pub(crate) fn is_worth_renewing(&self) -> Result<bool, StoreError> {
        match self.table.lower() {
            Lower::Index(index) if index.is_wasteful() => {
                Ok(self.free()? > index.used() + self.options.journal_bytes + FREE_LEAST)
            }
            _ => Ok(false),
        }
    }

    /// Makes the index anew: neither sled nor the heap gives space back.
    pub(crate) fn renew(&mut self) -> Result<(), StoreError> {
        let (Lower::Index(old), Some((number, revision))) = (self.table.lower(), self.index) else {
            return Ok(());
        };
        let home = open::copy(&self.layout, &self.options, &old, revision, number + 1)?;
        open::note(&self.layout, home.number, revision)?;
        self.index = Some((home.number, revision));
        drop(self.table.set_lower(Lower::Index(home.index)));
        open::keep_only(&self.layout, Some(home.number))
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

    /// Bytes that are free on the disk.
    fn free(&self) -> Result<u64, StoreError> {
        let free = disk::free(self.layout.folder());
        Ok(free.map_err(|e| Fault::io(self.layout.folder(), "read", &e))?)
    }

    fn check_space(&self, layer: &Layer) -> Result<(), StoreError> {
        let bytes = |(key, entry): (&Key, &Option<Entry>)| {
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
}
